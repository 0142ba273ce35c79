"""Reads topics to their ends, once nothing is open there, and asks what may be missing from them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from scheduler.audit.client import REQUEST_SECONDS, make_consumer, partitions_of, record_of, take
from scheduler.audit.judge import Hanging
from scheduler.clock import Deadline
from scheduler.errors import BrokerUnavailableError
from scheduler.runtime.offsets import told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from confluent_kafka import Consumer, Message

    from scheduler.audit.records import Place, Record
    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress

SETTLE_SECONDS = 20.0
"""For the markers of the last transactions, and for the broker to abort one that a dead replica has left."""
STALL_SECONDS = 30.0
"""Brokers that give nothing for so long, with records left to read, do not answer."""
TICK_SECONDS = 0.1

Partition = tuple[str, int]
Offsets = dict[Partition, int]


class Gathering:
    """The topics of one cluster, read again and again up to where they end by then.

    Args:
        conf: properties of the client.
        clock: for deadlines.
        known: what a recorder has; records that are the same are kept once.
        progress: is told how far the reading is.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        clock: Clock,
        *,
        known: Mapping[Place, Record] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._conf = dict(conf)
        self._clock = clock
        self._known = known or {}
        self._progress = progress
        self._admin = AdminClient({"client.id": "scheduler-audit", **conf})
        self._consumer: Consumer | None = None
        self._assigned: set[Partition] = set()
        self.reached: Offsets = {}
        self.records: dict[str, list[Record]] = {}
        """By topic."""
        self.hanging: list[Hanging] = []

    def close(self) -> None:
        """End the connection."""
        if self._consumer is not None:
            self._consumer.close()

    def read(self, topics: Collection[str], since_ms: int | None = None) -> set[str]:
        """Read on to the ends of the topics as they are now; return those that are not there.

        Raises:
            BrokerUnavailableError: the brokers do not answer.
        """
        try:
            return self._read(topics, since_ms)
        except KafkaException as error:
            fault = error.args[0]
            where = self._conf.get("bootstrap.servers")
            raise BrokerUnavailableError(f"Kafka at {where}: {fault.str()} ({fault.name()})") from error

    def _read(self, topics: Collection[str], since_ms: int | None) -> set[str]:
        if self._consumer is None:
            self._consumer = make_consumer(self._conf)
        counts = partitions_of(self._consumer, topics)
        partitions = {(topic, number) for topic, count in counts.items() for number in range(count)}
        self._assign(partitions - self._assigned, since_ms)
        for topic in counts:
            self.records.setdefault(topic, [])
        ends = self._settled(partitions)
        left = {place for place, end in ends.items() if self.reached.get(place, 0) < end}
        silence = Deadline(self._clock, STALL_SECONDS)
        while left:
            messages = take(self._consumer)
            for message in messages:
                place = self._keep(message)
                if self.reached[place] >= ends.get(place, 0):
                    left.discard(place)
            if messages:
                silence = Deadline(self._clock, STALL_SECONDS)
                self._tell(ends)
            elif silence.passed:
                names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(left))
                raise BrokerUnavailableError(
                    f"Kafka at {self._conf.get('bootstrap.servers')} has given nothing for {STALL_SECONDS:g} s, "
                    f"with records left in {names}"
                )
        return set(topics) - counts.keys()

    def _assign(self, new: set[Partition], since_ms: int | None) -> None:
        if not new or self._consumer is None:
            return
        places = [TopicPartition(topic, partition, 0) for topic, partition in sorted(new)]
        if since_ms is not None:
            asked = [TopicPartition(place.topic, place.partition, since_ms) for place in places]
            places = self._consumer.offsets_for_times(asked, timeout=REQUEST_SECONDS)
            ends = self._offsets(new, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
            for place in places:
                place.offset = place.offset if place.offset >= 0 else ends[place.topic, place.partition]
        self._consumer.incremental_assign(places)
        self._assigned |= new
        self.reached |= {(place.topic, place.partition): place.offset for place in places}

    def _keep(self, message: Message) -> Partition:
        place = message.topic(), message.partition()
        if message.error() is None:
            record = record_of(message)
            known = self._known.get(record.place)
            self.records[place[0]].append(known if known is not None and known.same_as(record) else record)
        self.reached[place] = message.offset() + (message.error() is None)
        return place

    def _tell(self, ends: Offsets) -> None:
        if self._progress is not None:
            for topic in dict.fromkeys(topic for topic, _ in ends):
                mine = [(self.reached.get(place, 0), end) for place, end in ends.items() if place[0] == topic]
                self._progress(topic, sum(min(done, end) for done, end in mine), sum(end for _, end in mine))

    # -- where partitions begin and end --------------------------------------------------------------

    def _settled(self, partitions: set[Partition]) -> Offsets:
        """Where each partition ends; what was written before has been decided by then, or is told to hang."""
        deadline, never = Deadline(self._clock, SETTLE_SECONDS), threading.Event()
        high = self._offsets(partitions, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        while True:
            stable = self._offsets(partitions, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
            open_ = sorted(place for place in partitions if stable[place] < high[place])
            if not open_ or deadline.passed:
                break
            self._clock.wait(never, TICK_SECONDS)
        self.hanging = [each for each in self.hanging if each[:2] not in partitions]
        self.hanging += [Hanging(*place, stable[place], high[place]) for place in open_]
        return {place: min(stable[place], high[place]) for place in partitions}

    def _offsets(self, partitions: Iterable[Partition], spec: OffsetSpec, isolation: IsolationLevel) -> Offsets:
        asked = {TopicPartition(*place): spec for place in partitions}
        if not asked:
            return {}
        answers = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_SECONDS)
        return {
            (place.topic, place.partition): told(answer.result(REQUEST_SECONDS)) for place, answer in answers.items()
        }

    def starts(self) -> Offsets:
        """Where the partitions begin that do not begin at 0."""
        found = self._offsets(self._assigned, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        return {place: offset for place, offset in found.items() if offset > 0}

    def lags_ms(self) -> dict[str, int]:
        """`min.compaction.lag.ms` of those of the topics that are compacted."""
        topics = sorted(self.records)
        asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        answers = self._admin.describe_configs(asked, request_timeout=REQUEST_SECONDS) if asked else {}
        found: dict[str, int] = {}
        for resource, answer in answers.items():
            config = answer.result(REQUEST_SECONDS)
            if "compact" in config["cleanup.policy"].value:
                found[resource.name] = int(config["min.compaction.lag.ms"].value)
        return found
