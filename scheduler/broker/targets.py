"""What is known of the topics that schedules name: looked up before the first delivery, and after a failed one."""

from __future__ import annotations

import logging
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.failures import poison
from scheduler.runtime.logs import fields
from scheduler.schedule import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock
    from scheduler.engine.targets import TargetPolicy

LOOK_SECONDS = 3.0
"""For an answer of the cluster; who asks for a partition fires nothing meanwhile."""
TURN_SECONDS = 0.5
"""For another thread's look."""
PAUSES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between two looks at a target that cannot take anything; the last one again and again."""
SILENCE_SECONDS = 2.0
"""Before a cluster that does not answer is asked again."""
WARN_LOOKS = 2
"""A topic that was just made has no leader for a moment: that is no event worth a line."""
LONGEST_PAUSE_SECONDS = 60.0
"""For a target that looks well and does not answer: each try holds its neighbours up for a transaction's time."""
FORGIVEN_SECONDS = 600.0
MOST_LOOKS = 10
"""At topics of one transaction that is slow: it waits meanwhile."""
GLANCE_SECONDS = 1.0
"""For the answer."""
WATCH_SECONDS = 1.0
MOST_TROUBLES = 10_000
"""Whoever writes schedules chooses the names: those that nobody asks for any more are dropped."""

_PASSING = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
"""What is said of a topic that was just made, or whose leader is moving."""

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
    seen_ms: int
    """When it was looked at, by the wall clock."""


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
        self._silence: tuple[float, str] = (0.0, "")
        """Until when (monotonic) a cluster that did not answer is not asked, and what it was."""

    def obstacle(self, topic: str, partition: int | None, seen_since_ms: int = 0) -> Obstacle | None:
        """Why nothing can be delivered there now; None where it can.

        An obstacle that was seen before `seen_since_ms` is looked for again.
        """
        count = self._partitions.get(topic)
        if count is not None and (partition is None or partition < count):
            return None
        refused = self._policy.refusal(topic)
        if refused is not None:
            return Obstacle(Reason.FORBIDDEN_TARGET, refused)
        if not self._lock.acquire(timeout=TURN_SECONDS):
            return Obstacle(Reason.UNAVAILABLE, "another look is under way", Patience.ENDLESS, TURN_SECONDS)
        try:
            return self._look(topic, 0 if partition is None else partition + 1, seen_since_ms)
        finally:
            self._lock.release()

    def forget(self, topics: Iterable[str]) -> None:
        """Look these up again: a delivery has failed, and they may have been deleted since, or forbidden."""
        for topic in topics:
            self._partitions.pop(topic, None)

    def suspect(self, topics: Iterable[str]) -> None:
        """These did not take what was sent to them in time: deliver there only once they look well."""
        now = self._clock.monotonic()
        with self._lock:
            for topic in topics:
                last = self._suspects.get(topic)
                strikes = last.strikes + 1 if last is not None and now - last.until < FORGIVEN_SECONDS else 0
                self._suspects[topic] = _Suspicion(strikes, now + min(2.0**strikes, LONGEST_PAUSE_SECONDS))
                self._partitions.pop(topic, None)

    def ailing(self, topics: Iterable[str]) -> bool:
        """Whether the cluster says of one of them that it cannot take anything now.

        For a transaction that is slow. Where the cluster does not say, that is no news.
        """
        try:
            return any(
                self._cluster.ailment(topic, GLANCE_SECONDS) is not None
                or not self._cluster.may_write(topic, GLANCE_SECONDS)
                for topic in sorted(set(topics))[:MOST_LOOKS]
            )
        except KafkaException:
            return False

    def watch(self, stop: threading.Event) -> None:
        """Look at the targets that are fired to, until told to stop.

        A transaction that has touched a partition without a leader cannot even be aborted before it has one again,
        and nothing else of its schedules partition fires until then. So what is out of order should be known before.
        """
        while not self._clock.wait(stop, WATCH_SECONDS):
            for topic in sorted(self._partitions):
                try:
                    ailment = self._cluster.ailment(topic, LOOK_SECONDS)
                except KafkaException:
                    break  # whoever delivers there will hear it too
                if ailment is not None:
                    self.forget([topic])
                    log.warning("target takes nothing any more", extra=fields(topic=topic, detail=ailment))

    def _look(self, topic: str, needed: int, seen_since_ms: int) -> Obstacle | None:
        now = self._clock.monotonic()
        known = self._troubles.get((topic, needed))
        if known is not None and now < known.until and known.seen_ms >= seen_since_ms:
            return known.obstacle._replace(retry_seconds=known.until - now)
        until, silence = self._silence
        if now < until:
            return Obstacle(Reason.UNAVAILABLE, silence, Patience.ENDLESS, until - now)
        seen_ms = self._clock.now_ms()
        try:
            found = self._ask(topic, needed)
        except KafkaException as error:
            return self._silent(error.args[0])
        if silence:
            log.info("the cluster of the targets answers again")
            self._silence = (0.0, "")
        if found is None:
            self._troubles.pop((topic, needed), None)
            return None
        looks = known.looks + 1 if known is not None else 0
        pause = PAUSES_SECONDS[min(looks, len(PAUSES_SECONDS) - 1)]
        if looks == WARN_LOOKS and found.patience is Patience.ENDLESS:
            log.warning("target is out of order, its schedules wait", extra=fields(topic=topic, detail=found.detail))
        if len(self._troubles) >= MOST_TROUBLES:
            self._troubles = {place: each for place, each in self._troubles.items() if now < each.until}
        self._troubles[topic, needed] = _Trouble(found, looks, self._clock.monotonic() + pause, seen_ms)
        return found._replace(retry_seconds=pause)

    def _silent(self, error: KafkaError) -> Obstacle:
        """Nothing is known of any topic: none is asked for again for a while."""
        if not self._silence[1]:
            log.warning("the cluster of the targets does not answer", extra=fields(detail=error.str()))
        self._silence = (self._clock.monotonic() + SILENCE_SECONDS, error.str())
        return Obstacle(Reason.UNAVAILABLE, error.str(), Patience.ENDLESS, SILENCE_SECONDS)

    def _ask(self, topic: str, needed: int) -> Obstacle | None:
        """What the cluster says of the topic.

        Raises:
            KafkaException: it does not answer.
        """
        try:
            count = self._cluster.partitions(topic, LOOK_SECONDS)
            ailment = None if count is None else self._cluster.ailment(topic, LOOK_SECONDS)
            forbidden = count is not None and not self._cluster.may_write(topic, GLANCE_SECONDS)
        except KafkaException as error:
            fault = error.args[0]
            reason = poison(fault)
            if reason is not None:
                return Obstacle(reason, f"{topic}: {fault.str()}")
            if fault.code() in _PASSING:
                return Obstacle(Reason.UNAVAILABLE, f"{topic}: {fault.str()}", Patience.ENDLESS)
            raise
        if count is None:
            self._partitions.pop(topic, None)
            return Obstacle(Reason.UNKNOWN_TOPIC, f"the topic {topic} does not exist", Patience.GRACE)
        if forbidden:
            return Obstacle(Reason.NOT_AUTHORIZED, f"{topic}: the scheduler may not write to it")
        return self._out_of_order(topic, ailment) or self._count(topic, count, needed)

    def _out_of_order(self, topic: str, ailment: str | None) -> Obstacle | None:
        suspicion = self._suspects.get(topic)
        if ailment is None and suspicion is not None and self._clock.monotonic() < suspicion.until:
            ailment = f"{topic} did not answer"
        return None if ailment is None else Obstacle(Reason.UNAVAILABLE, ailment, Patience.ENDLESS)

    def _count(self, topic: str, count: int, needed: int) -> Obstacle | None:
        self._partitions[topic] = count
        if needed <= count:
            return None
        detail = f"the topic {topic} has {count} partitions, there is no {needed - 1}"
        return Obstacle(Reason.UNKNOWN_PARTITION, detail, Patience.GRACE)
