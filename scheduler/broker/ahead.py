"""What is due in a moment: decided as it will be then, and held by the next transaction; nothing of it has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler.engine.settlement import weight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.broker.publisher import Publisher
    from scheduler.clock import Clock
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Out, Settlement

MOST = 1_000
"""Schedules, of which each has two records for one topic at the most."""
MOST_BYTES = 256 * 1024
"""Of payloads and headers. What waits in the client for one partition leaves by itself once it is a megabyte, or 10,000
records."""
SOONER_MS = 2
"""What is due so much sooner than what is prepared waits for that."""
LATE_MS = 20
"""What was prepared and is later than that is taken again: that it is not late stands in its records."""
REST_SECONDS = 1.0
"""For which nothing is prepared after something was in vain: that costs a transaction, and may come again."""


class Prepared(NamedTuple):
    """What the next transaction holds already."""

    due_ms: int
    batch: list[Settlement]
    read_to: int
    """Up to where the log was read when it was last made sure that the batch is to fire as it is."""


class Ahead:
    """Of one partition; used by its owner's thread.

    Args:
        publisher: holds the records.
        clock: says what is near.
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self.prepared: Prepared | None = None
        self._from = 0.0

    @property
    def lead_ms(self) -> int:
        """How long before it is due something may be prepared; 0 is not."""
        return self._publisher.ahead_ms if self._clock.monotonic() >= self._from else 0

    def take(self, engine: PartitionEngine, due_ms: int, limit: int, oldest_ms: int) -> list[Settlement]:
        """What will have to be done then, if it can be prepared."""
        batch = engine.take(due_ms, min(limit, MOST), oldest_ms)
        if sum(map(weight, batch)) <= MOST_BYTES:
            return batch
        engine.returned(batch)
        self._rest()
        return []

    def prepare(self, batch: list[Settlement], outs: Iterable[Out], due_ms: int, read_to: int) -> None:
        """Have the next transaction hold the batch.

        Raises:
            PublishError: it cannot; nothing of it stands in the log.
        """
        self._publisher.prepare(outs, due_ms)
        self.prepared = Prepared(due_ms, batch, read_to)

    def fall_due(self) -> list[Settlement]:
        """The batch, once it is due; nothing is prepared then, and `publish` sends it."""
        prepared = self.prepared
        late_ms = -1 if prepared is None else self._clock.now_ms() - prepared.due_ms
        if prepared is None or late_ms < 0:
            return []
        self.prepared = None
        for settlement in prepared.batch:
            settlement.lateness_ms += late_ms
        return prepared.batch

    def stands(self, engine: PartitionEngine, read_to: int) -> bool:
        """Whether it is to fire as it was prepared, and before anything else."""
        prepared = self.prepared
        if prepared is None:
            return True
        left_ms = prepared.due_ms - self._clock.now_ms()
        if not -LATE_MS <= left_ms <= self._publisher.ahead_ms:  # the clock may jump
            return False
        due_ms = engine.next_due_ms()
        if due_ms is not None and due_ms < prepared.due_ms - SOONER_MS and left_ms > SOONER_MS:
            return False
        if read_to != prepared.read_to:
            self.prepared = prepared._replace(read_to=read_to)
            return engine.stand(prepared.batch)
        return True

    def give_up(self) -> list[Settlement]:
        """The batch is to be taken again: it is in no transaction any more.

        Raises:
            PublishError: that took too long; nothing of it stands in the log.
        """
        prepared, self.prepared = self.prepared, None
        self._rest()
        if prepared is None:
            return []
        self._publisher.discard()
        return prepared.batch

    def _rest(self) -> None:
        self._from = self._clock.monotonic() + REST_SECONDS
