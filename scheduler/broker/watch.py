"""Notices that a schedules topic in use was given more partitions, which moves keys to others.

Whoever writes a key afterwards may write it to another partition than the one where its schedule stands: that
one can no longer be replaced or cancelled, and fires.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from scheduler.clock import Deadline
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock

PAUSE_SECONDS = 30.0
"""Between two looks where no rebalance calls for one. The group's consumer hears of new partitions as soon."""
TICK_SECONDS = 1.0

log = logging.getLogger("scheduler")


class TopicWatch:
    """Looks after each rebalance and now and then; on a thread of its own."""

    def __init__(
        self, cluster: Cluster, topics: Sequence[str], clock: Clock, report: Callable[[str, int, int], None]
    ) -> None:
        self._cluster = cluster
        self._topics = topics
        self._clock = clock
        self._report = report
        self._called = threading.Event()
        self._at_start: dict[str, int] = {}
        self._added: dict[str, int] = {}

    def look(self) -> None:
        """Look soon; from any thread."""
        self._called.set()

    def run(self, stop: threading.Event) -> None:
        """Watch until told to stop."""
        while not stop.is_set():
            self._called.clear()
            try:
                for topic in self._topics:
                    partitions = self._cluster.partitions(topic)
                    if partitions is not None:
                        self._compare(topic, partitions)
            except KafkaException as error:
                log.debug("cannot look at the schedules topics", extra=fields(detail=error.args[0].str()))
            pause = Deadline(self._clock, PAUSE_SECONDS)
            while not (stop.is_set() or pause.passed or self._clock.wait(self._called, TICK_SECONDS)):
                pass

    def _compare(self, topic: str, partitions: int) -> None:
        at_start = self._at_start.setdefault(topic, partitions)
        added = partitions - at_start
        self._report(topic, partitions, max(0, added))
        if added > self._added.get(topic, 0):
            self._added[topic] = added
            log.error(
                "partitions were added to a schedules topic in use: keys have moved, and an update or a cancel no "
                "longer reaches a schedule that was written before; cancel such schedules in their old partition, or "
                "move them all to a new topic; `scheduler doctor` names keys that stand in two partitions",
                extra=fields(topic=topic, partitions=partitions, before=at_start),
            )
