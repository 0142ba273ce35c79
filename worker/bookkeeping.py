"""Keeps the books while the poll loop goes on: books what has ended, and books it again where that failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scheduler.runtime.logs import fields
from worker.attempts import DeadLetter, RetryAt
from worker.clerk import Clerk
from worker.ledger import Booking, BookkeepingError, fences
from worker.runs import Poison, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from scheduler.clock import Clock
    from worker.ledger import Ledger
    from worker.metrics import Metrics
    from worker.offsets import Position
    from worker.partitions import Key, Partition
    from worker.runner import Finished
    from worker.runs import Run

log = logging.getLogger("worker")

HUNG_SECONDS = 60.0
"""A task that takes longer hangs: its calls' own limits (15 s each) add up to less. librdkafka's may be ignored while
the group coordinator is away (librdkafka 5456)."""
APART_SECONDS = 0.1
"""From the beginning of a transaction to that of the next, unless a run waits for it: of short jobs, each would cost
Kafka more than the job costs this machine. What ends after a while of silence is booked at once."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class Bookkeeper:
    """Has one task under way at most; `tend` is called again and again, and never blocks.

    Args:
        open_ledger: opens the next ledger; told whether the one before was left in the middle.
        metrics: what to count in.
        clock: for limits and pauses.
        go: gets the runs that stand in the books as begun.
    """

    def __init__(
        self,
        open_ledger: Callable[[bool], Ledger],
        metrics: Metrics,
        clock: Clock,
        go: Callable[[Sequence[Run]], None],
    ) -> None:
        self._open_ledger = open_ledger
        self._go = go
        self._metrics = metrics
        self._clock = clock
        self._ledger = open_ledger(False)  # noqa: FBT003 - a first ledger leaves nothing uncertain
        self._clerk = Clerk()
        self._task: Future[Any] | None = None
        self._on_done: Callable[[Any], None] = lambda _: None
        self._on_failed: Callable[[], None] = lambda: None
        self._hangs_at = self._not_before = self._not_again_before = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    @property
    def busy(self) -> bool:
        """Whether a task is under way."""
        return self._task is not None

    def tend(self, partitions: Mapping[Key, Partition], group_metadata: bytes) -> None:
        """Take the result of the task under way, and begin the next where there is something to do."""
        if self._task is not None and not self._finish_task(self._task):
            return
        if self._clock.monotonic() < self._not_before:
            return
        unknown = {key: partition for key, partition in partitions.items() if not partition.restored}
        if unknown:
            self._restore(unknown)
        elif fences(group_metadata):
            self._book(partitions, group_metadata)

    def close(self) -> None:
        """Begin nothing more."""
        self._clerk.dismiss()

    def _restore(self, unknown: Mapping[Key, Partition]) -> None:
        def done(positions: Mapping[Key, Position | None]) -> None:
            for key, partition in unknown.items():
                partition.restore(positions[key])
            self._not_again_before = 0.0  # nothing is begun there before the books say so

        ledger = self._ledger
        self._begin(lambda: ledger.positions(list(unknown)), done)

    def _book(self, partitions: Mapping[Key, Partition], group_metadata: bytes) -> None:
        with_news = {key: partition for key, partition in partitions.items() if partition.has_news}
        now = self._clock.monotonic()
        urgent = any(run.careful or run.suspicion for partition in with_news.values() for run in partition.notes)
        if not with_news or (now < self._not_again_before and not urgent):
            return
        self._not_again_before = now + APART_SECONDS
        news = {key: (partition, *partition.booking(), [*partition.notes]) for key, partition in with_news.items()}
        noted = [run for *_, notes in news.values() for run in notes]
        booking = Booking(
            [entry for _, entries, _, _ in news.values() for entry in entries],
            {key: position for key, (_, _, position, _) in news.items()},
            group_metadata,
            [Started(run, self._clock.now_ms()) for run in noted if run.job.delivery == "at-most-once"],
        )
        for partition in with_news.values():
            partition.note_undone = False

        def done(_: None) -> None:
            for partition, entries, _position, notes in news.values():
                partition.booked(entries, notes)
            for entry in booking.entries:
                self._count(entry)
            self._go(noted)

        def failed() -> None:
            for partition in with_news.values():
                partition.note_undone = True

        ledger = self._ledger
        self._begin(lambda: ledger.book(booking), done, failed)

    def _begin(
        self, task: Callable[[], Any], on_done: Callable[[Any], None], on_failed: Callable[[], None] = lambda: None
    ) -> None:
        self._task = self._clerk.give(task)
        self._on_done, self._on_failed = on_done, on_failed
        self._hangs_at = self._clock.monotonic() + HUNG_SECONDS

    def _finish_task(self, task: Future[Any]) -> bool:
        if not task.done():
            if self._clock.monotonic() < self._hangs_at:
                return False
            self._leave_behind()
            return True
        self._task = None
        try:
            result = task.result()
        except BookkeepingError as error:
            self._failed(str(error))
        else:
            self._pause = FIRST_PAUSE_SECONDS
            self._on_done(result)
        return True

    def _leave_behind(self) -> None:
        self._task = None
        self._ledger.given_up = True
        self._clerk.dismiss()
        self._clerk = Clerk()
        self._ledger = self._open_ledger(True)  # noqa: FBT003 - the call left behind may still have an effect
        self._failed(f"a call to Kafka has hung for {HUNG_SECONDS:.0f} s")

    def _failed(self, error: str) -> None:
        log.warning("bookkeeping failed", extra=fields(error=error, again_in=self._pause))
        self._metrics.bookkeeping_failures.inc()
        self._on_failed()
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2)

    def _count(self, entry: Finished | Poison) -> None:
        if isinstance(entry, Poison):
            log.warning("dead letter", extra=fields(source=str(entry.source), reason=entry.reason))
            self._metrics.dead_letters.inc()
        elif isinstance(entry.then, DeadLetter):
            self._metrics.dead_letters.inc()
        elif isinstance(entry.then, RetryAt):
            self._metrics.retries.inc()
