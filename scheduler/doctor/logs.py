"""What the doctor learns from the logs: what holds up readers, how long a restore takes, and the brokers' clock."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from scheduler.broker.cluster import REQUEST_SECONDS, Cluster
from scheduler.clock import Deadline
from scheduler.doctor.asking import CLIENT_ID, TICK_SECONDS, patiently, result, said
from scheduler.doctor.facts import OpenTransaction, SkewFacts, TopicFacts, Unknown
from scheduler.doctor.restore import restore
from scheduler.errors import BrokerUnavailableError
from scheduler.runtime.kafka import consumer_conf
from scheduler.runtime.offsets import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from confluent_kafka.admin import AdminClient

    from scheduler.clock import Clock
    from scheduler.doctor.facts import RestoreFacts
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings

STAYS_OPEN_SECONDS = 3.0
"""A replica's transactions last milliseconds; what is open for so long stays open."""
READ_SECONDS = 5.0

Places = dict[tuple[str, int], int]


class Stamp(NamedTuple):
    """A look at the history: when it began and ended by this clock, and the newest stamp there, by the brokers'."""

    asked_ms: int
    stamp_ms: int
    """-1 where the history is empty."""
    answered_ms: int


class Logs:
    """Reads, and asks where partitions end."""

    def __init__(self, settings: Settings, clock: Clock, admin: AdminClient) -> None:
        self._settings = settings
        self._clock = clock
        self._admin = admin
        self._cluster = Cluster(settings, CLIENT_ID)
        self._stamps: list[Stamp] = []
        self._no_stamps = ""

    def look_at_stamps(self) -> None:
        """Note the history's newest stamp, and when it was the newest."""
        asked_ms = self._clock.now_ms()
        try:
            stamp_ms = patiently(self._clock, lambda: self._cluster.newest_stamp_ms(self._settings.history_topic))
        except KafkaException as error:
            self._no_stamps = said(error)
        else:
            self._stamps.append(Stamp(asked_ms, stamp_ms, self._clock.now_ms()))

    def skew(self, history: TopicFacts | None) -> SkewFacts | Unknown:
        """What the looks at the stamps tell of this machine's clock."""
        needs = "the brokers' clock shows in the history's timestamps"
        if history is None:
            return Unknown(f"{needs}, and the history cannot be looked at")
        if isinstance(history.config, Unknown):
            return Unknown(f"{needs} if they set them; {history.config.why}")
        if history.config.get("message.timestamp.type") != "LogAppendTime":
            return Unknown(f"{needs} if they set them: message.timestamp.type=LogAppendTime")
        return skew(self._stamps) or Unknown(f"{needs}; {self._no_stamps or 'nothing has fired yet'}")

    def restore(self, name: str, topic: TopicFacts, progress: Progress | None) -> RestoreFacts | Unknown:
        """Read a schedules topic as a replica that starts would, as far as committed records go."""
        partitions = {(name, partition) for partition, each in topic.partitions.items() if each.leader is not None}
        if len(partitions) < len(topic.partitions):
            return Unknown("a partition has no leader")
        try:
            ends = self._ends(partitions, IsolationLevel.READ_COMMITTED)
            by_partition = {partition: end for (_, partition), end in ends.items()}
            return restore(self._settings, name, self._clock, by_partition, progress)
        except BrokerUnavailableError as error:
            return Unknown(str(error))
        except KafkaException as error:
            return Unknown(said(error))

    def open_transactions(self, topics: Mapping[str, TopicFacts]) -> tuple[OpenTransaction, ...] | Unknown:
        """Transactions that stay open while they are watched."""
        places = {
            (name, partition)
            for name, topic in topics.items()
            if not name.startswith("__")
            for partition, each in topic.partitions.items()
            if each.leader is not None
        }
        try:
            stable = self._stays_blocked(places)
            ends = self._ends(stable, IsolationLevel.READ_UNCOMMITTED)
        except KafkaException as error:
            return Unknown(said(error))
        return tuple(
            OpenTransaction(topic, partition, offset, ends[topic, partition], self._stamp_at(topic, partition, offset))
            for (topic, partition), offset in sorted(stable.items())
        )

    def _stays_blocked(self, places: Iterable[tuple[str, int]]) -> Places:
        deadline = Deadline(self._clock, STAYS_OPEN_SECONDS)
        stable = self._blocked(places)
        while stable and not deadline.passed:
            self._clock.wait(threading.Event(), TICK_SECONDS)
            now = self._blocked(stable)
            stable = {place: offset for place, offset in stable.items() if now.get(place) == offset}
        return stable

    def _blocked(self, places: Iterable[tuple[str, int]]) -> Places:
        """Where committed records end before the log does, and at which offset."""
        # this order: what is committed between the two questions must not look open
        ends = self._ends(places, IsolationLevel.READ_UNCOMMITTED)
        stable = self._ends(ends, IsolationLevel.READ_COMMITTED)
        return {place: stable[place] for place in stable if stable[place] < ends[place]}

    def _ends(self, places: Iterable[tuple[str, int]], isolation: IsolationLevel) -> Places:
        asked = {TopicPartition(*place): OffsetSpec.latest() for place in places}
        if not asked:
            return {}

        def ask() -> Places:
            answers = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_SECONDS)
            return {(place.topic, place.partition): told(result(answer)) for place, answer in answers.items()}

        return patiently(self._clock, ask)

    def _stamp_at(self, topic: str, partition: int, offset: int) -> int | None:
        """The timestamp of the record there, committed or not."""
        conf = consumer_conf(self._settings, CLIENT_ID, CLIENT_ID)
        consumer = Consumer({**conf, "isolation.level": "read_uncommitted"})
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(READ_SECONDS)
            return None if message is None or message.error() is not None else int(message.timestamp()[1])
        finally:
            consumer.close()


def skew(stamps: Sequence[Stamp]) -> SkewFacts | None:
    """Bounds of this clock minus the brokers'; None where the history is empty.

    A stamp was set before the look that found it was over, and after the look before it had begun, where that one
    found an older stamp.
    """
    most_ms = min((each.answered_ms - each.stamp_ms for each in stamps if each.stamp_ms >= 0), default=None)
    if most_ms is None:
        return None
    least = (before.asked_ms - after.stamp_ms for before, after in pairwise(stamps) if after.stamp_ms > before.stamp_ms)
    return SkewFacts(max(least, default=None), most_ms)
