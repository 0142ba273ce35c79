"""A replica that follows the partition and does not own it: who is given the partition may go on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.broker.beginning import Instant
from scheduler.broker.cluster import Identity
from scheduler.broker.followed import Sight
from scheduler.plain import plain_due_ms
from scheduler.schedule import PAUSE_KEY
from tests.support.far import versions
from tests.support.simulation.broker import COMPACTION_LAG_MS
from tests.support.simulation.mutations import Mutation

if TYPE_CHECKING:
    from scheduler.engine.partition import PartitionEngine
    from tests.support.simulation.broker import Entry
    from tests.support.simulation.world import World


def hear(engine: PartitionEngine, entry: Entry, horizon_ms: int) -> None:
    """Tell of a record; of what is plain and due behind the horizon, no more than an index keeps."""
    if entry.value is None and entry.key is not None and engine.has_no_use_for_tombstone(entry.key):
        return
    if entry.value is not None and entry.key and entry.key != PAUSE_KEY:
        due_ms = plain_due_ms(entry.headers)
        if due_ms is not None and due_ms > horizon_ms:
            engine.far(versions([(entry.key, due_ms, entry.offset)]))
            return
    engine.record(entry.key, entry.value, entry.headers, timestamp_ms=entry.timestamp_ms, offset=entry.offset)


class Standby:
    """An engine that restores, on and on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.engine = world.new_engine()
        self.position = 0
        self._sight = Sight(Identity(world.log.name, "id", COMPACTION_LAG_MS), self._now())

    def _now(self) -> Instant:
        return Instant(self._world.now_ms, 0.0)

    @property
    def restores(self) -> bool:
        """Whether it reads for the first time what stood in the log when it began."""
        return self.position > 0 and not self._sight.reached

    @property
    def is_good(self) -> bool:
        """Whether to go on from it is the same as to read the log from its beginning."""
        return self._world.mutation is Mutation.FOLLOWED_FOR_EVER or self._sight.fault(self._now()) is None

    def read(self, limit: int, *, asks: bool, forgets: bool) -> None:
        """Take in some of what there is.

        Args:
            limit: so many records at most.
            asks: it asks where the log ends.
            forgets: it forgets what no owner can speak of any more.
        """
        world = self._world
        if asks:
            self._sight.note(self._now(), world.log.end)
        horizon_ms = self.engine.horizon_ms if world.ahead_ms is None else world.now_ms
        found, end = world.log.read(self.position, limit)
        for entry in found:
            hear(self.engine, entry, horizon_ms)
            self.position = entry.offset + 1
        if end is not None:
            self.engine.reached_end(end)
            self.position = max(self.position, end)
        self._sight.has_read(self.position)
        if forgets:
            self.engine.forget()
