"""What is known of the topics that schedules name: looked up once, before the first delivery."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from scheduler.broker.failures import poison
from scheduler.schedule import Reason

if TYPE_CHECKING:
    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock
    from scheduler.engine.targets import TargetPolicy

REFUSED_FOR_SECONDS = 1.0
"""How long a topic or a partition that was not there is not asked for again."""


class Targets:
    """Shared by all partitions of a replica; safe from any thread."""

    def __init__(self, policy: TargetPolicy, cluster: Cluster, clock: Clock) -> None:
        self._policy = policy
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}
        self._ask_again_at: dict[str, float] = {}

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
        if count is None or (partition is not None and partition >= count):
            try:
                count = self._look_up(topic, partition or 0)
            except KafkaException as error:
                reason = poison(error.args[0])
                if reason is None:
                    raise
                return reason, error.args[0].str()
        if count is None:
            return Reason.UNKNOWN_TOPIC, f"the topic {topic} does not exist"
        if partition is not None and partition >= count:
            return Reason.UNKNOWN_PARTITION, f"the topic {topic} has {count} partitions, there is no {partition}"
        return None

    def forget(self) -> None:
        """Look all up again: a delivery has failed, and a topic may have been deleted since."""
        self._partitions.clear()

    def _look_up(self, topic: str, partition: int) -> int | None:
        with self._lock:
            now = self._clock.monotonic()
            if self._ask_again_at.get(topic, now) > now:
                return self._partitions.get(topic)
            count = self._cluster.partitions(topic)
            if count is None or partition >= count:
                self._ask_again_at[topic] = now + REFUSED_FOR_SECONDS
            if count is None:
                self._partitions.pop(topic, None)
            else:
                self._partitions[topic] = count
            return count
