"""One owned partition: what came from it, what is under way, and what waits to be put into the books."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from worker.offsets import WINDOW, Position, Progress
from worker.runs import Poison, Run, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

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

    def __init__(self, cluster: str, add: Callable[[Run], None]) -> None:
        self._cluster = cluster
        self._add = add
        self._progress: Progress | None = None
        self._runs: set[Run] = set()
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

    def receive(self, message: Message) -> None:
        """The next message."""
        if self._progress is None or self.start is not None:
            return  # read before the pause took hold; it comes again
        if not self._progress.take_in(message.offset() or 0):
            return
        found = read(message, self._cluster)
        if isinstance(found, Poison):
            self.finished.append(found)
        else:
            self._runs.add(found)
            self._add(found)

    def has(self, run: Run) -> bool:
        """Whether the run is this partition's: taken in since its assignment."""
        return run in self._runs

    def ended(self, finished: Finished) -> None:
        """An attempt has ended; one that was stopped is not done, whoever owns the partition next makes it again."""
        self._runs.remove(finished.run)
        if not finished.ended.stopped:
            self.finished.append(finished)

    def position(self, entries: Sequence[Finished | Poison]) -> Position:
        """What to commit with those entries."""
        return self._known().position({offset_of(entry) for entry in entries})

    def booked(self, entries: Sequence[Finished | Poison]) -> None:
        """Those entries are in the books."""
        self._known().finish({offset_of(entry) for entry in entries})
        self.finished = [entry for entry in self.finished if entry not in entries]

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
