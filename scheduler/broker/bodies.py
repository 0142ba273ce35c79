"""The bodies of far schedules: their records are read again, early enough before they are due."""

from __future__ import annotations

import logging
from queue import SimpleQueue
from typing import TYPE_CHECKING

from scheduler.broker.feed import schedules
from scheduler.engine.life import State
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.broker.collector import Collected, Collector
    from scheduler.clock import Clock
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Place

AHEAD_MS = 120_000
"""The bodies of what is due within this time are in memory; of what is due later, if it is a plain one-shot, key,
due time, offset and target are."""
LOOK_SECONDS = 15.0
"""How often it is looked ahead."""
AT_ONCE = 20_000

log = logging.getLogger("scheduler.partition")


class Bodies:
    """Used by the owner's thread.

    Args:
        place: whose bodies.
        engine: knows which are wanted, and is supplied with them.
        collector: reads them.
        clock: for how far ahead it is looked, and when.
        wake: is called, on another thread, when some have come.
        wanted: whether they still are, from any thread.
    """

    def __init__(
        self,
        place: Place,
        engine: PartitionEngine,
        collector: Collector,
        clock: Clock,
        wake: Callable[[], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._place = place
        self._engine = engine
        self._collector = collector
        self._clock = clock
        self._wake = wake
        self._wanted = wanted
        self._come: SimpleQueue[Collected] = SimpleQueue()
        self.coming = 0
        """Those that were asked for and have not come yet."""
        self._look_at = 0.0

    def of(self, engine: PartitionEngine) -> Bodies:
        """Those of another engine of the same partition, for which none were asked for yet."""
        return Bodies(self._place, engine, self._collector, self._clock, self._wake, self._wanted)

    @property
    def horizon_ms(self) -> int:
        """Up to when those of what is due now, or is read now, are to be in memory."""
        return self._clock.now_ms() + AHEAD_MS

    def prepare(self) -> None:
        """Ask for those that will be needed as soon as the restore is over, while others have the partition yet."""
        soon = self._engine.pending.soon(self.horizon_ms, AT_ONCE)
        if soon:
            self._ask_for([far.offset for far in soon])

    def collect(self) -> None:
        """Take in those that have come, and ask for those that will be needed."""
        engine = self._engine
        while not self._come.empty():
            come = self._come.get()
            self.coming -= len(come.records) + len(come.gone)
            for schedule in schedules(each for each in come.records if not engine.there(each.offset())):
                engine.supply(schedule)
            # while it restores, a newer record may be why: what is still wanted by then is asked for again
            for offset in () if engine.state is State.RESTORING else come.gone:
                if engine.gone(offset):
                    about = fields(topic=self._place.topic, partition=self._place.partition, offset=offset)
                    log.error("record gone", extra=about)
        if wanted := engine.wanted():
            self._ask_for(wanted)
        if engine.state is State.RUNNING and not self.coming and self._clock.monotonic() >= self._look_at:
            ahead = engine.look_ahead(self.horizon_ms, AT_ONCE)
            if ahead:
                self._ask_for(ahead)
            if len(ahead) < AT_ONCE:
                self._look_at = self._clock.monotonic() + LOOK_SECONDS

    def _ask_for(self, offsets: Sequence[int]) -> None:
        self.coming += len(offsets)

        def give(come: Collected) -> None:
            self._come.put(come)
            self._wake()

        self._collector.ask(*self._place[:2], offsets, give, self._wanted)
