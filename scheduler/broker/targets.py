"""What is known of the topics that schedules name: looked up once, before the first delivery."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from scheduler.schedule import Reason

if TYPE_CHECKING:
    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock
    from scheduler.engine.targets import TargetPolicy

UNKNOWN_FOR_SECONDS = 1.0
"""How long a topic that was not there is not asked for again."""


class Targets:
    """Shared by all partitions of a replica; safe from any thread."""

    def __init__(self, policy: TargetPolicy, cluster: Cluster, clock: Clock) -> None:
        self._policy = policy
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}
        self._missing: dict[str, float] = {}

    def refusal(self, topic: str, partition: int | None) -> tuple[Reason, str] | None:
        """Why nothing can be delivered there; None where it can.

        Raises:
            KafkaException: the cluster does not answer.
        """
        count = self._partitions.get(topic)
        if count is None:
            refused = self._policy.refusal(topic)
            if refused is not None:
                return Reason.FORBIDDEN_TARGET, refused
            count = self._look_up(topic)
            if count is None:
                return Reason.UNKNOWN_TOPIC, f"the topic {topic} does not exist"
        if partition is not None and partition >= count:
            return Reason.UNKNOWN_PARTITION, f"the topic {topic} has {count} partitions, there is no {partition}"
        return None

    def _look_up(self, topic: str) -> int | None:
        with self._lock:
            now = self._clock.monotonic()
            if self._missing.get(topic, now) > now:
                return None
            count = self._cluster.partitions(topic)
            if count is None:
                self._missing[topic] = now + UNKNOWN_FOR_SECONDS
            else:
                self._partitions[topic] = count
                self._missing.pop(topic, None)
            return count
