"""How far a partition is done, where attempts end in any order. Pure.

What is committed is the contiguous prefix: the offset of the oldest attempt that is not done. Attempts beyond it that
are done already stand in the commit's metadata, in the same transaction as their results; so neither a long job
holds back the results and retries of those behind it, nor does the next owner run them again.

The metadata is `1;<high>;<d1>,<d2>,..`: all below `high` is done except the committed offset and, each counted from
the one before, the offsets d1, d2 and so on; `d*n` is the same difference n times, as a job's backlog has it. Empty
metadata, or another program's, says that nothing beyond is done.

With notes it is `2;<high>;<d1>,..;<o1>:<n1>,<o2>:<n2>,..`: the attempt o1 offsets behind the committed one has been
begun n1 times, as far as anybody knows. An attempt that ends takes its note with it, and one that is given back has it
undone; so what the next owner finds noted was lost with its worker.

With `;open` at its end, the owner may have begun attempts without a note. It says so before it begins the first, and
takes it back when it leaves with nothing under way: whoever finds it there takes over from one that died.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SURE = 200
"""So many attempts that are not done can be told of, wherever they stand: 200 differences whose sum is below 2**63
have at most 17 digits on average, so the metadata stays under the 4096 bytes that a broker takes
(offset.metadata.max.bytes). Of attempts that stand close to one another there is room for far more."""

LONGEST_METADATA = 4000
"""Of what a broker takes; notes that do not fit are left out."""

_DIFFERENCES = r"(?:[0-9]{1,19}(?:\*[0-9]{1,5})?(?:,[0-9]{1,19}(?:\*[0-9]{1,5})?)*)?"
_METADATA = re.compile(
    rf"(?:1;(?P<high>[0-9]{{1,19}});(?P<undone>{_DIFFERENCES})"
    rf"|2;(?P<high2>[0-9]{{1,19}});(?P<undone2>{_DIFFERENCES})"
    r";(?P<notes>[0-9]{1,19}:[0-9]{1,5}(?:,[0-9]{1,19}:[0-9]{1,5})*))(?P<open>;open)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Position:
    """What is committed for a partition."""

    offset: int
    metadata: str = ""


class Progress:
    """One partition's attempts: taken in, in the order of their offsets, and done in any order."""

    def __init__(self, committed: Position | None = None) -> None:
        self._under_way: dict[int, None] = {}  # in ascending order: records arrive so
        self._expected: dict[int, None] = {}  # not done according to the last owner, and not seen here yet
        self._next = self._high = 0
        self._notes: dict[int, int] = {}
        self.open = False
        """Whether attempts may be begun without a note; the next position says so."""
        if committed is not None:
            self._next = self._high = committed.offset
            found = _METADATA.fullmatch(committed.metadata)
            if found:
                self.open = bool(found["open"])
                self._high = int(found["high"] or found["high2"])
                self._expected = dict.fromkeys(_undone(committed.offset, found["undone"] or found["undone2"] or ""))
                for note in (found["notes"] or "").split(",") if found["notes"] else ():
                    behind, times = note.split(":")
                    self._notes[committed.offset + int(behind)] = int(times)

    def __len__(self) -> int:
        """How many attempts are under way."""
        return len(self._under_way)

    def done(self, offset: int) -> bool:
        """Whether the attempt is done, here or by an earlier owner."""
        return offset < self._high and offset not in self._under_way and offset not in self._expected

    def begun(self, offset: int) -> int:
        """How often the attempt has been begun, as far as anybody knows."""
        return self._notes.get(offset, 0)

    def note(self, offset: int, times: int) -> None:
        """It has been begun so often; the next position says so."""
        if times:
            self._notes[offset] = times
        else:
            self._notes.pop(offset, None)

    def take_in(self, offset: int) -> bool:
        """A record has arrived; tell whether there is something to do."""
        if offset in self._under_way:
            return False
        # records come in order: what was expected before this one has been deleted by retention
        for gone in [expected for expected in self._expected if expected < offset]:
            del self._expected[gone]
        needed = not self.done(offset)
        self._expected.pop(offset, None)
        self._next = max(self._next, offset + 1)
        if needed:
            self._under_way[offset] = None
        return needed

    def position(self, finished: Collection[int]) -> Position:
        """What to commit once the given attempts are done too; of no use with more than `LONGEST_METADATA`."""
        undone = [offset for offset in (*self._under_way, *self._expected) if offset not in finished]
        high = max(self._high, *(offset + 1 for offset in finished)) if finished else self._high
        first = undone[0] if undone else max(self._next, high)
        notes = self._notes_of(undone, max(first, self._next)) if self._notes else {}
        if first >= high and not notes and not self.open:
            return Position(first)
        beyond = [first, *(offset for offset in undone[1:] if offset < high)]
        differences = _differences(beyond)
        end = ";open" if self.open else ""
        return Position(first, _metadata(first, max(first, high), differences, notes) + end)

    def tellable(self, finished: Collection[int]) -> set[int]:
        """Those of the given attempts that a position surely has room for."""
        undone = [offset for offset in (*self._under_way, *self._expected) if offset not in finished]
        return {offset for offset in finished if len(undone) <= SURE or offset < undone[SURE]}

    def _notes_of(self, undone: Collection[int], unread: int) -> dict[int, int]:
        # of what was not read yet too: this owner may get no further
        known = {*undone, *(offset for offset in self._notes if offset >= unread)}
        return {offset: times for offset, times in sorted(self._notes.items()) if offset in known}

    def finish(self, finished: Collection[int]) -> None:
        """The given attempts are done, and a committed transaction says so."""
        for offset in finished:
            del self._under_way[offset]
            self._notes.pop(offset, None)
            self._high = max(self._high, offset + 1)


def corrected(committed: Position, done: Collection[int]) -> Position:
    """The position with more known to be done than was committed.

    Offsets between them that hold no record are counted as not done; that ends when a later record arrives.
    """
    progress = Progress(committed)
    beyond = {offset for offset in done if offset >= committed.offset}
    high = max((offset + 1 for offset in beyond), default=committed.offset)
    for offset in range(committed.offset, high):
        progress.take_in(offset)
    return progress.position({offset for offset in beyond if not progress.done(offset)})


def _differences(offsets: Collection[int]) -> str:
    told = []
    for difference, same in groupby(later - earlier for earlier, later in pairwise(offsets)):
        times = sum(1 for _ in same)
        told.append(f"{difference}*{times}" if times > 1 else str(difference))
    return ",".join(told)


def _metadata(first: int, high: int, differences: str, notes: Mapping[int, int]) -> str:
    if notes:
        told = ",".join(f"{offset - first}:{times}" for offset, times in notes.items())
        with_notes = f"2;{high};{differences};{told}"
        if len(with_notes) <= LONGEST_METADATA:
            return with_notes
    return f"1;{high};{differences}"


def _undone(first: int, differences: str) -> list[int]:
    offsets = [first]
    for told in differences.split(",") if differences else ():
        difference, _, times = told.partition("*")
        for _ in range(int(times or 1)):
            offsets.append(offsets[-1] + int(difference))
    return offsets
