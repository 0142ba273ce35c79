"""One owned partition: what came from it, what is under way, and what waits to be put into the books."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from scheduler.clock import rfc3339
from worker.attempts import after_losses, losses_allowed
from worker.offsets import WINDOW, Position, Progress
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
"""Attempts of a partition, waiting ones included, from which it is paused; what is on its way still fits the window."""
RESUME_AT = PAUSE_AT // 2


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
        self._runs: set[Run] = set()
        self._suspects_end: int | None = None
        self._suspects_left = WINDOW
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
        self._runs.add(run)
        self._add(run)

    def _with_its_past(self, run: Run, lost: int) -> Run:
        # what was there when the partition came here may have been begun by an earlier owner, who had no more than
        # a window of attempts under way
        suspect = run.source.offset < (self._suspects_end or 0) and self._suspects_left > 0
        self._suspects_left -= suspect
        if not (suspect or lost or run.job.delivery == "at-most-once"):
            return run
        if not lost:
            return replace(run, careful=True)
        job = after_losses(run.job, lost, rfc3339(self._clock.now_ms()))
        return replace(run, job=job, lost=lost, given_up=lost >= losses_allowed(run.job), careful=True)

    def has(self, run: Run) -> bool:
        """Whether the run is this partition's: taken in since its assignment."""
        return run in self._runs

    def ended(self, finished: Finished) -> None:
        """An attempt has ended; one that was stopped is not done, whoever owns the partition next makes it again."""
        run = finished.run
        self._runs.remove(run)
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
        return len(self._progress) > (RESUME_AT if self.paused else PAUSE_AT)

    def _known(self) -> Progress:
        if self._progress is None:
            raise RuntimeError("the partition is not restored")
        return self._progress


def offset_of(entry: Finished | Poison) -> int:
    """Where the entry's message stands."""
    return (entry if isinstance(entry, Poison) else entry.run).source.offset


def key_of(entry: Finished | Poison) -> Key:
    """The partition of the entry's message."""
    source = (entry if isinstance(entry, Poison) else entry.run).source
    return source.topic, source.partition
