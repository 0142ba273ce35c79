"""How far a partition is done, where attempts end in any order. Pure.

What is committed is the contiguous prefix: the offset of the oldest attempt that is not done. Attempts beyond it that
are done already stand in the commit's metadata, in the same transaction as their results; so neither a long job
holds back the results and retries of those behind it, nor does the next owner run them again.

The metadata is `1;<high>;<d1>,<d2>,..`: all below `high` is done except the committed offset and, each counted from
the one before, the offsets d1, d2 and so on. Empty metadata, or another program's, says that nothing beyond is done.

With notes it is `2;<high>;<d1>,..;<o1>:<n1>,<o2>:<n2>,..`: the attempt o1 offsets behind the committed one has been
begun n1 times, as far as anybody knows. An attempt that ends takes its note with it, and one that is given back has it
undone; so what the next owner finds noted was lost with its worker.

Where many are not done it is `3;<high>;<bits>;<d1>,..;<o1>:<n1>,..`: bit n of the bits (base64, the lowest bit of each
byte first) says whether the attempt n offsets behind the committed one is open; the differences go on from the last.

With `;open` at its end, the owner may have begun attempts without a note. It says so before it begins the first, and
takes it back when it leaves with nothing under way: whoever finds it there takes over from one that died.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

WINDOW = 200
"""How many attempts may be under way, wherever they stand. 200 differences whose sum is below 2**63 have at most 17
digits on average, so the metadata stays under the 4096 bytes that a broker takes (offset.metadata.max.bytes)."""

SPAN = 15_000
"""More may be under way where all but the last few stand so close together: their bits take 2,500 characters, and 64
differences at most 1,216."""

LONGEST_METADATA = 4000
"""Of what a broker takes, with a little room for `;open`; notes that do not fit are left out."""

_NUMBERS = "(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?"
_NOTES = "[0-9]{1,19}:[0-9]{1,5}(?:,[0-9]{1,19}:[0-9]{1,5})*"
_METADATA = re.compile(
    rf"(?:1;(?P<high1>[0-9]{{1,19}});(?P<undone1>{_NUMBERS})"
    rf"|2;(?P<high2>[0-9]{{1,19}});(?P<undone2>{_NUMBERS});(?P<notes2>{_NOTES})"
    rf"|3;(?P<high3>[0-9]{{1,19}});(?P<bits>(?:[A-Za-z0-9+/]{{4}})+);(?P<undone3>{_NUMBERS});(?P<notes3>(?:{_NOTES})?))"
    r"(?P<open>;open)?",
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
                told = {name.rstrip("123"): text for name, text in found.groupdict().items() if text}
                self.open = "open" in told
                self._high = int(told["high"])
                undone = _of_bits(committed.offset, told["bits"]) if "bits" in told else [committed.offset]
                self._expected = dict.fromkeys(_and_further(undone, told.get("undone", "")))
                for note in told["notes"].split(",") if "notes" in told else ():
                    behind, times = note.split(":")
                    self._notes[committed.offset + int(behind)] = int(times)

    def __len__(self) -> int:
        """How many attempts are under way."""
        return len(self._under_way)

    @property
    def span(self) -> int:
        """How many offsets lie between the oldest and the newest attempt under way."""
        return self._next - next(iter(self._under_way)) if self._under_way else 0

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
        needed = not self.done(offset)
        if self._expected:
            # records come in order: what was expected before this one has been deleted by retention
            for gone in list(takewhile(lambda expected: expected <= offset, self._expected)):
                del self._expected[gone]
        if offset >= self._next:
            self._next = offset + 1
        if needed:
            self._under_way[offset] = None
        return needed

    def position(self, finished: Collection[int]) -> Position:
        """What to commit once the given attempts are done too; of no use with more than `LONGEST_METADATA`."""
        high = max(self._high, max(finished, default=-1) + 1)
        undone: list[int] = []
        for offset in chain(self._under_way, self._expected):
            if offset not in finished:
                undone.append(offset)
                if offset >= high:
                    break  # thousands may wait behind the last that is finished
        first = undone[0] if undone else max(self._next, high)
        notes = self._notes_of(finished, max(first, self._next)) if self._notes else {}
        if first >= high and not notes and not self.open:
            return Position(first)
        beyond = [first, *(offset for offset in undone[1:] if offset < high)]
        end = ";open" if self.open else ""
        return Position(first, _metadata(beyond, max(first, high), notes) + end)

    def tellable(self, finished: Collection[int]) -> set[int]:
        """Those of the given attempts that a position surely has room for."""
        undone = [offset for offset in (*self._under_way, *self._expected) if offset not in finished]
        return {offset for offset in finished if len(undone) <= WINDOW or offset < undone[WINDOW]}

    def _notes_of(self, finished: Collection[int], unread: int) -> dict[int, int]:
        # of what was not read yet too: this owner may get no further
        return {
            offset: times
            for offset, times in sorted(self._notes.items())
            if offset >= unread or (offset not in finished and (offset in self._under_way or offset in self._expected))
        }

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


def _metadata(undone: Sequence[int], high: int, notes: Mapping[int, int]) -> str:
    first = undone[0]
    told = ",".join(f"{offset - first}:{times}" for offset, times in notes.items())
    if len(undone) > WINDOW:
        near = [offset for offset in undone if offset < first + SPAN]
        bits = bytearray(((near[-1] - first) // 24 + 1) * 3)  # whole groups of four characters
        for offset in near:
            bits[(offset - first) // 8] |= 1 << (offset - first) % 8
        packed = base64.b64encode(bits).decode()
        without_notes = f"3;{high};{packed};{_differences(undone[len(near) - 1 :])};"
        with_notes = without_notes + told
    else:
        differences = _differences(undone)
        without_notes = f"1;{high};{differences}"
        with_notes = f"2;{high};{differences};{told}" if told else without_notes
    return with_notes if len(with_notes) <= LONGEST_METADATA else without_notes


def _differences(offsets: Sequence[int]) -> str:
    return ",".join(str(later - earlier) for earlier, later in pairwise(offsets))


def _of_bits(first: int, packed: str) -> list[int]:
    bits = base64.b64decode(packed)
    return [first + 8 * place + bit for place, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1]


def _and_further(offsets: list[int], differences: str) -> list[int]:
    for difference in differences.split(",") if differences else ():
        offsets.append(offsets[-1] + int(difference))
    return offsets
