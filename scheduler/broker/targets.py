"""What is known of the topics that schedules name: looked up once, before the first delivery."""

from __future__ import annotations

import logging
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException

from scheduler.broker.failures import poison
from scheduler.runtime.logs import fields
from scheduler.schedule import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock
    from scheduler.engine.targets import TargetPolicy

PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Between two looks at a target that cannot take anything; the last one again and again."""

LONGEST_PAUSE_SECONDS = 60.0
"""For a target that looks well and does not answer: each try holds its neighbours up for a transaction's time."""
FORGIVEN_SECONDS = 600.0

log = logging.getLogger("scheduler.targets")


class Patience(Enum):
    """How long to wait for an obstacle to pass."""

    NONE = auto()  # it will not pass
    GRACE = auto()  # it may be on its way: TARGET_GRACE
    ENDLESS = auto()  # it is there and out of order: until it works again


class Obstacle(NamedTuple):
    """Why nothing can be delivered to a target now."""

    reason: Reason
    detail: str
    patience: Patience = Patience.NONE
    retry_seconds: float = 0.0
    """When it is looked at again."""


class _Trouble(NamedTuple):
    obstacle: Obstacle
    looks: int
    until: float
    """By the monotonic clock."""


class _Suspicion(NamedTuple):
    strikes: int
    until: float
    """By the monotonic clock; not tried before."""


class Targets:
    """Shared by all partitions of a replica; safe from any thread."""

    def __init__(self, policy: TargetPolicy, cluster: Cluster, clock: Clock) -> None:
        self._policy = policy
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}
        """Topics that can be delivered to, as far as is known, and how many partitions they have."""
        self._troubles: dict[tuple[str, int], _Trouble] = {}
        """By topic and how many partitions it would have to have (0: any); looked at again after a pause."""
        self._suspects: dict[str, _Suspicion] = {}
        """Topics that did not answer a delivery; kept once they do, for the next time."""

    def obstacle(self, topic: str, partition: int | None) -> Obstacle | None:
        """Why nothing can be delivered there now; None where it can.

        Raises:
            KafkaException: the cluster does not answer.
        """
        count = self._partitions.get(topic)
        if count is not None and (partition is None or partition < count):
            return None
        refused = self._policy.refusal(topic)
        if refused is not None:
            return Obstacle(Reason.FORBIDDEN_TARGET, refused)
        with self._lock:
            return self._look(topic, 0 if partition is None else partition + 1)

    def forget(self) -> None:
        """Look all up again: a delivery has failed, and a topic may have been deleted since."""
        self._partitions.clear()

    def suspect(self, topics: Iterable[str]) -> None:
        """These did not take what was sent to them in time: deliver there only once they look well."""
        now = self._clock.monotonic()
        with self._lock:
            for topic in topics:
                last = self._suspects.get(topic)
                strikes = last.strikes + 1 if last is not None and now - last.until < FORGIVEN_SECONDS else 0
                self._suspects[topic] = _Suspicion(strikes, now + min(2.0**strikes, LONGEST_PAUSE_SECONDS))

    def _look(self, topic: str, needed: int) -> Obstacle | None:
        now = self._clock.monotonic()
        known = self._troubles.get((topic, needed))
        if known is not None and now < known.until:
            return known.obstacle._replace(retry_seconds=known.until - now)
        found = self._ask(topic, needed)
        if found is None:
            self._troubles.pop((topic, needed), None)
            return None
        looks = known.looks + 1 if known is not None else 0
        pause = PAUSES_SECONDS[min(looks, len(PAUSES_SECONDS) - 1)]
        if known is None and found.patience is Patience.ENDLESS:
            log.warning("target is out of order, its schedules wait", extra=fields(topic=topic, detail=found.detail))
        self._troubles[topic, needed] = _Trouble(found, looks, now + pause)
        return found._replace(retry_seconds=pause)

    def _ailment(self, topic: str) -> str | None:
        if self._clock.monotonic() < self._suspects[topic].until:
            return f"{topic} did not answer"
        return self._cluster.ailment(topic)

    def _ask(self, topic: str, needed: int) -> Obstacle | None:
        try:
            count = self._cluster.partitions(topic)
            if count is not None and topic in self._suspects:
                sick = self._ailment(topic)
                if sick is not None:
                    return Obstacle(Reason.UNAVAILABLE, sick, Patience.ENDLESS)
        except KafkaException as error:
            reason = poison(error.args[0])
            if reason is None:
                raise
            return Obstacle(reason, error.args[0].str())
        if count is None:
            self._partitions.pop(topic, None)
            return Obstacle(Reason.UNKNOWN_TOPIC, f"the topic {topic} does not exist", Patience.GRACE)
        self._partitions[topic] = count
        if needed > count:
            detail = f"the topic {topic} has {count} partitions, there is no {needed - 1}"
            return Obstacle(Reason.UNKNOWN_PARTITION, detail, Patience.GRACE)
        return None
