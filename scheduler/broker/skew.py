"""How far the replica's clock is from the brokers': a wrong clock makes schedules late or early.

Kafka tells its time to nobody who asks, but it stamps the history (`message.timestamp.type=LogAppendTime`). So
right after a commit the newest stamp there is the brokers' time of that commit, give or take a few milliseconds.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock

PAUSE_SECONDS = 30.0
RETRY_SECONDS = 0.2
ALARMING_MS = 1000

log = logging.getLogger("scheduler.clock")


class SkewMeter:
    """Measures now and then while the replica fires; on a thread of its own."""

    def __init__(self, cluster: Cluster, history: str, clock: Clock, report: Callable[[float], None]) -> None:
        self._cluster = cluster
        self._history = history
        self._clock = clock
        self._report = report
        self._committed_ms = 0
        self._committed = threading.Event()

    def committed(self) -> None:
        """A transaction of this replica has just been committed; costs next to nothing."""
        if not self._committed.is_set():
            self._committed_ms = self._clock.now_ms()
            self._committed.set()

    def run(self, stop: threading.Event) -> None:
        """Measure until told to stop; return at once where the history is not stamped by the brokers."""
        while not stop.is_set():
            try:
                if not self._cluster.stamps(self._history):
                    if not self._cluster.embedded:
                        log.warning(
                            "clock skew is not measured: set message.timestamp.type=LogAppendTime",
                            extra=fields(topic=self._history),
                        )
                    return
                while not stop.is_set():
                    if self._clock.wait(self._committed, 1.0):
                        # a broker that has just become the leader may not know a stamp yet
                        while not self._measure() and not self._clock.wait(stop, RETRY_SECONDS):
                            pass
                        self._clock.wait(stop, PAUSE_SECONDS)
                        self._committed.clear()
            except KafkaException as error:
                log.debug("clock skew", extra=fields(detail=error.args[0].str()))
                self._clock.wait(stop, PAUSE_SECONDS)

    def _measure(self) -> bool:
        stamp_ms = self._cluster.newest_stamp_ms(self._history)
        if stamp_ms < 0:
            return False
        skew_ms = self._committed_ms - stamp_ms
        self._report(skew_ms / 1000)
        if abs(skew_ms) > ALARMING_MS:
            ahead = "ahead of" if skew_ms > 0 else "behind"
            log.warning("clock is %s the brokers'", ahead, extra=fields(seconds=abs(skew_ms) / 1000))
        return True
