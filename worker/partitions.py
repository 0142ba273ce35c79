"""One owned partition: what came from it, what is under way, and what waits to be put into the books."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from scheduler.clock import rfc3339
from worker.attempts import after_losses, losses_allowed
from worker.offsets import SPAN, WINDOW, Position, Progress
from worker.runs import Poison, Run, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.job import Job
    from worker.runner import Finished

Key = tuple[str, int]
"""Topic and partition."""

PAUSE_AT = WINDOW // 2
"""How many of a partition's attempts may be made side by side, if there were slots, before it is paused; what is on its
way still fits the window. A crowd of one job counts once: what is behind it has to be read to have its turn."""
MOST_AHEAD = 5_000
MOST_BYTES_AHEAD = 16 * 2**20
"""A crowd beyond these holds up what is behind it in its partition: it is kept in memory."""


class Partition:
    """From its assignment to its end; a partition that comes back is a new one.

    It is paused until it is known what an earlier owner did; `start` is then where to begin to read.
    """

    def __init__(self, cluster: str, accept: Callable[[Job], Job], add: Callable[[Run], None], clock: Clock) -> None:
        self._cluster = cluster
        self._accept = accept
        self._add = add
        self._clock = clock
        self._progress: Progress | None = None
        self._runs: dict[Run, int] = {}
        self._bytes = 0
        self._apart: Counter[str | Run] = Counter()  # what may be made side by side, each with its number of runs
        self._suspects_end: int | None = None
        self._suspects: Counter[str] = Counter()
        self.notes: list[Run] = []
        """Begun, or about to begin, and not yet in the books as such."""
        self.note_undone = False
        """A note in the books is to be taken back."""
        self.finished: list[Finished | Poison] = []
        """Ended, and not yet in the books."""
        self.paused = True
        self.start: int | None = None
        """An offset to go to before reading; None once that is done."""

    @property
    def restored(self) -> bool:
        """Whether it is known what an earlier owner did."""
        return self._progress is not None

    def restore(self, committed: Position | None) -> None:
        """Take over where the group stands."""
        self._progress = Progress(committed)
        self.start = OFFSET_BEGINNING if committed is None else committed.offset

    def receive(self, message: Message, end: Callable[[], int]) -> None:
        """The next message.

        Args:
            message: of this partition.
            end: tells where the partition's end is now.
        """
        if self._progress is None or self.start is not None:
            return  # read before the pause took hold; it comes again
        offset = message.offset() or 0
        if self._suspects_end is None:
            self._suspects_end = end()
        if not self._progress.take_in(offset):
            return
        found = read(message, self._cluster, self._accept)
        if isinstance(found, Poison):
            self.finished.append(found)
            return
        run = self._with_its_past(found, self._progress.begun(offset))
        self._runs[run] = len(message)
        self._bytes += len(message)
        self._apart[_apart(run)] += 1
        self._add(run)

    def _with_its_past(self, run: Run, lost: int) -> Run:
        suspect = self._is_suspect(run)
        if not (suspect or lost or run.job.delivery == "at-most-once"):
            return run
        if not lost:
            return replace(run, careful=True)
        job = after_losses(run.job, lost, rfc3339(self._clock.now_ms()))
        return replace(run, job=job, lost=lost, given_up=lost >= losses_allowed(run.job), careful=True)

    def _is_suspect(self, run: Run) -> bool:
        # what was there when the partition came here may have been begun by an earlier owner, who had no more than a
        # window of jobs under way, and of each no more than a window of attempts that had not got into the books
        if run.source.offset >= (self._suspects_end or 0):
            return False
        if run.lane not in self._suspects and len(self._suspects) >= WINDOW:
            return False
        self._suspects[run.lane] += 1
        return self._suspects[run.lane] <= WINDOW

    def has(self, run: Run) -> bool:
        """Whether the run is this partition's: taken in since its assignment."""
        return run in self._runs

    def ended(self, finished: Finished) -> None:
        """An attempt has ended; one that was stopped is not done, whoever owns the partition next makes it again."""
        run = finished.run
        self._bytes -= self._runs.pop(run)
        kind = _apart(run)
        self._apart[kind] -= 1
        if not self._apart[kind]:
            del self._apart[kind]
        if not finished.ended.stopped:
            self.finished.append(finished)
            return
        progress, offset = self._known(), run.source.offset
        if progress.begun(offset) > run.lost:
            progress.note(offset, run.lost)
            self.note_undone = True

    def note(self, run: Run) -> None:
        """The run has begun, or is about to: the books are to say so."""
        self._known().note(run.source.offset, run.lost + 1)
        self.notes.append(run)

    @property
    def has_news(self) -> bool:
        """Whether something is to be put into the books."""
        return bool(self.finished or self.notes or self.note_undone)

    def position(self, entries: Sequence[Finished | Poison]) -> Position:
        """What to commit with those entries."""
        return self._known().position({offset_of(entry) for entry in entries})

    def booked(self, entries: Sequence[Finished | Poison], notes: Sequence[Run]) -> None:
        """Those entries and notes are in the books."""
        self._known().finish({offset_of(entry) for entry in entries})
        # they were the oldest, and others came behind them meanwhile
        del self.finished[: len(entries)]
        del self.notes[: len(notes)]

    def wants_pause(self) -> bool:
        """Whether it should be paused now; between the two marks it stays as it is."""
        if self._progress is None:
            return True
        share = 2 if self.paused else 1
        if len(self._progress) * share <= PAUSE_AT:
            return False
        if (len(self._apart) + len(self.finished)) * share > PAUSE_AT:
            return True
        return (
            len(self._progress) * share > MOST_AHEAD
            or self._progress.span * share > SPAN
            or self._bytes * share > MOST_BYTES_AHEAD
        )

    def _known(self) -> Progress:
        if self._progress is None:
            raise RuntimeError("the partition is not restored")
        return self._progress


def _apart(run: Run) -> str | Run:
    return run if run.job.overlap == "allow" else run.lane


def offset_of(entry: Finished | Poison) -> int:
    """Where the entry's message stands."""
    return (entry if isinstance(entry, Poison) else entry.run).source.offset


def key_of(entry: Finished | Poison) -> Key:
    """The partition of the entry's message."""
    source = (entry if isinstance(entry, Poison) else entry.run).source
    return source.topic, source.partition
