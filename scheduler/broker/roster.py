"""Which partitions this replica owns, which it has given away, and which of the others it follows, from where on.

The group's thread says what is owned, and takes what was followed. The standby's thread asks Kafka what there is to be
followed, and where logs end.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaException

from scheduler.broker.beginning import Instant, lasts_ms
from scheduler.broker.followed import Followed, Sight
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Message

    from scheduler.broker.cluster import Cluster, Identity
    from scheduler.broker.feed import Fact
    from scheduler.broker.owner import Owner
    from scheduler.clock import Clock

    Key = tuple[str, int]

LOOK_SECONDS = 30.0
"""How often it is asked where the logs end, and which partitions there are; more often where compaction is sooner."""
LOOKS = 8
"""So often in the time for which what was read is enough to go on from."""
LEAST_LASTS_MS = 10_000
"""With less, what was read is never surely enough to go on from."""
SOON_SECONDS = 0.5
"""Until the next look, while this replica restores what is its own: that goes first."""
AGAIN_SECONDS = 10.0
"""After which a partition that was dropped is followed afresh."""
RETRY_SECONDS = 5.0
"""After which brokers that did not answer are asked again."""
NO_ID = "A" * 22
"""What brokers before Kafka 2.8 tell."""

log = logging.getLogger("scheduler.standby")


class _Seen(NamedTuple):
    """Where the log of a partition ended."""

    topic: Identity
    asked: Instant
    end: int


class _Owned(NamedTuple):
    """A partition of this replica, from which to go on when it is another's."""

    begin: int
    """Where its owner began to read. One that begins elsewhere has nothing to do with this."""
    sight: Sight


class _Left(NamedTuple):
    """A partition that this replica has owned, until its owner has ended."""

    owner: Owner
    sight: Sight | None


class Roster:
    """Its lock is held for microseconds, or while a batch is taken in; never while Kafka is asked.

    Args:
        topics: whose partitions are followed.
        cluster: knows the topics and where their logs end.
        clock: for ages and pauses.
        owners: of this replica, by their partitions.
    """

    def __init__(
        self, topics: Sequence[str], cluster: Cluster, clock: Clock, owners: Callable[[], Mapping[Key, Owner]]
    ) -> None:
        self._topics = list(topics)
        self._cluster = cluster
        self._clock = clock
        self._owners = owners
        self._lock = threading.Lock()
        self._joined = False
        """Whether the group has said which partitions are ours."""
        self._identities: dict[str, Identity] = {}
        """As last asked."""
        self._owned: dict[Key, _Owned | None] = {}
        self._leaving: dict[Key, _Left] = {}
        self._followed: dict[Key, Followed] = {}
        self._again_at: dict[Key, float] = {}
        self._look_at = 0.0
        self._unsafe: set[str] = set()
        """Topics of which it was said that they cannot be followed."""

    # -- for the group's thread ----------------------------------------------------------------------

    def take(self, keys: Iterable[Key]) -> dict[Key, Followed]:
        """These are ours from now on; what is known of them, of those of which enough is known."""
        now = Instant.now(self._clock)
        taken: dict[Key, Followed] = {}
        faults: dict[Key, str] = {}
        with self._lock:
            self._joined = True
            for key in keys:
                self._leaving.pop(key, None)
                self._again_at.pop(key, None)
                followed = self._followed.pop(key, None)
                fault = None if followed is None else followed.sight.fault(now)
                if fault is not None:
                    faults[key] = fault
                elif followed is not None and followed.read_to is not None:
                    taken[key] = followed
                self._owned[key] = self._begun(key, taken.get(key), now)
            self._look_at = 0.0
        for key, fault in faults.items():
            log.warning("not taken over from the standby", extra=_about(key, fault))
        return taken

    def _begun(self, key: Key, followed: Followed | None, now: Instant) -> _Owned | None:
        if followed is not None:
            return _Owned(followed.offset, followed.sight)
        topic = self._identities.get(key[0])
        return None if topic is None else _Owned(OFFSET_BEGINNING, Sight(topic, now))

    def release(self, owners: Mapping[Key, Owner]) -> None:
        """These are another's, or nobody's: they are followed as soon as their owners here have ended."""
        with self._lock:
            for key, owner in owners.items():
                owned = self._owned.pop(key, None)
                known = owned is not None and owned.begin == owner.begin
                self._leaving[key] = _Left(owner, owned.sight if owned is not None and known else None)

    # -- for the standby's ---------------------------------------------------------------------------

    def followed(self) -> dict[Key, Followed]:
        """What there is to be read."""
        with self._lock:
            return dict(self._followed)

    def hear(self, key: Key, followed: Followed, messages: Sequence[Message], facts: Sequence[Fact]) -> None:
        """Tell of what was read of a partition, unless it was taken over meanwhile, and is another thread's."""
        now = Instant.now(self._clock)
        with self._lock:
            fault = None
            if self._followed.get(key) is followed:
                fault = followed.hear(messages, facts, now)
        if fault is not None:
            self.drop(key, fault)

    def drop(self, key: Key, reason: str) -> None:
        """Follow it afresh, some time later."""
        with self._lock:
            dropped = self._followed.pop(key, None)
            if dropped is not None:
                self._again_at[key] = self._clock.monotonic() + AGAIN_SECONDS
                self._look_at = min(self._look_at, self._again_at[key])
        if dropped is not None:
            log.warning("dropped by the standby, to be followed afresh", extra=_about(key, reason))

    def clear(self) -> None:
        """Nothing is followed any more."""
        with self._lock:
            self._followed.clear()

    def sums(self) -> tuple[int, int, bool]:
        """How many partitions are followed and caught up, what is pending in all, and whether that is all there is."""
        with self._lock:
            followed = list(self._followed.values())
            caught_up = sum(each.sight.reached for each in followed)
            is_all = caught_up == len(followed) > 0 and not (self._leaving or self._again_at)
            return caught_up, sum(len(each.engine.pending) for each in followed), is_all

    def look_around(self) -> None:
        """Look where it is time, or an owner has ended."""
        with self._lock:
            ended = any(left.owner.join(0) for left in self._leaving.values())
            if not ended and self._clock.monotonic() < self._look_at:
                return
            self._look_at = math.inf  # what comes from now on calls for another look
        seconds = RETRY_SECONDS
        try:
            seconds = self._look()
        except KafkaException as error:
            log.warning("the standby cannot ask where logs end", extra=fields(detail=error.args[0].str()))
        with self._lock:
            self._look_at = min(self._look_at, self._clock.monotonic() + seconds)

    def _look(self) -> float:
        """Ask which partitions there are, and where their logs end; seconds until the next look."""
        asked = Instant.now(self._clock)
        self._identities = identities = {topic: self._cluster.identity(topic) for topic in self._topics}
        if not self._joined:
            return SOON_SECONDS
        safe = [topic for topic in self._topics if self._is_safe(identities[topic])]
        keys = [(topic, number) for topic in safe for number in range(self._cluster.partitions(topic) or 0)]
        ends = self._cluster.ends(keys) if keys else {}
        restoring = any(owner.standing.restores for owner in self._owners().values())
        with self._lock:
            faults = dict.fromkeys(set(self._followed).difference(keys), "it is not known any more")
            for key, end in ends.items():
                fault = self._see(key, _Seen(identities[key[0]], asked, end), new=not restoring)
                if fault is not None:
                    faults[key] = fault
        for key, fault in faults.items():
            self.drop(key, fault)
        if restoring:
            return SOON_SECONDS
        return min([LOOK_SECONDS, *(lasts_ms(identities[topic].compaction_lag_ms) / 1000 / LOOKS for topic in safe)])

    def _is_safe(self, topic: Identity) -> bool:
        reason = None
        if topic.id == NO_ID:
            reason = "Kafka does not say which topic it is"
        elif lasts_ms(topic.compaction_lag_ms) < LEAST_LASTS_MS:
            reason = f"its min.compaction.lag.ms of {topic.compaction_lag_ms} is too short"
        if reason is not None and topic.name not in self._unsafe:
            log.warning("not followed by the standby", extra=fields(topic=topic.name, detail=reason))
            self._unsafe.add(topic.name)
        return reason is None

    def _see(self, key: Key, seen: _Seen, *, new: bool) -> str | None:
        """Note where the log of a partition ends, or begin to follow it; why it is not to be followed on."""
        if key in self._owned:
            owned, owner = self._owned[key], self._owners().get(key)
            if owned is not None and owner is not None:
                read_to = owner.read_to
                fits = owned.begin == owner.begin and self._fault(owned.sight, seen) is None
                self._owned[key] = owned if fits else None
                owned.sight.has_read(read_to)
                owned.sight.note(seen.asked, seen.end)
            return None
        followed = self._followed.get(key)
        if followed is not None:
            followed.sight.note(seen.asked, seen.end)
            return self._fault(followed.sight, seen)
        if not new or self._again_at.get(key, 0.0) > self._clock.monotonic():
            return None
        left = self._leaving.get(key)
        if left is None or left.owner.join(0):
            self._leaving.pop(key, None)
            self._again_at.pop(key, None)
            self._followed[key] = self._follow(left, seen)
        return None

    def _fault(self, sight: Sight, seen: _Seen) -> str | None:
        if sight.topic.id != seen.topic.id:
            return "the topic was deleted and made anew"
        return sight.fault(Instant.now(self._clock), seen.topic.compaction_lag_ms)

    def _follow(self, left: _Left | None, seen: _Seen) -> Followed:
        """From where its owner here has left off, if that is known; else from the beginning."""
        followed = Followed(Sight(seen.topic, seen.asked))
        if left is not None and left.sight is not None and (kept := left.owner.left) is not None:
            left.sight.has_read(kept.read_to)
            if self._fault(left.sight, seen) is None:
                followed = Followed(left.sight, kept)
        followed.sight.note(seen.asked, seen.end)
        return followed


def _about(key: Key, reason: str) -> dict[str, object]:
    return fields(topic=key[0], partition=key[1], detail=reason)
