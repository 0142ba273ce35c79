"""What the API needs of Kafka beside the replica's own partitions: who is in the group, and records of a client."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scheduler.broker.writer import produce
from scheduler.client import SchedulerClient
from scheduler.clock import Deadline
from scheduler.letters import Wanted
from scheduler.lookup import log_of
from scheduler.records import Write
from scheduler.runtime.kafka import producer_conf
from scheduler.schedule import PAUSE_KEY
from scheduler.settling import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scheduler.broker.cluster import Cluster, Member
    from scheduler.clock import Clock
    from scheduler.letters import Action, Letter
    from scheduler.records import LogEntry
    from scheduler.runtime.settings import Settings

APPEND_SECONDS = 5.0
"""A record that is not acknowledged by then may stand or not."""


class Written(NamedTuple):
    """Where a record stands, and how Kafka stamped it."""

    offset: int
    timestamp_ms: int


class Gateway:
    """Every method waits for Kafka and raises `KafkaException` where it does not answer; safe from any thread."""

    def __init__(self, settings: Settings, cluster: Cluster, client_id: str, clock: Clock) -> None:
        self._settings = settings
        self._cluster = cluster
        self._client_id = client_id
        self._clock = clock
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._embedded: bool | None = None

    def members(self) -> list[Member] | None:
        """The replicas, as the group's coordinator sees them; None where it cannot be asked (the embedded broker)."""
        if self._embedded is None:
            self._embedded = self._cluster.embedded
        return None if self._embedded else self._cluster.members(self._settings.group_id)

    def partitions(self, topic: str) -> int:
        """How many partitions a schedules topic has; 0 where there is none."""
        return self._cluster.partitions(topic) or 0

    def end(self, topic: str, partition: int) -> int:
        """The offset behind everything that was acknowledged."""
        return self._cluster.high_watermark(topic, partition)

    def append(self, write: Write) -> Written:
        """Write a record as a client does, and return once it is acknowledged."""
        outcome: list[tuple[KafkaError | None, Written]] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            outcome.append((error, Written(message.offset(), message.timestamp()[1])))

        producer = self._open()
        produce(producer, write, delivered)
        # the client itself gives up after APPEND_SECONDS; a little more, to hear of it
        deadline = Deadline(self._clock, 2 * APPEND_SECONDS)
        while not outcome:
            if deadline.passed:
                raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001 - librdkafka's public code
            producer.poll(0.05)
        ((error, written),) = outcome
        if error is not None:
            raise KafkaException(error)
        return written

    def hold(self, partitions: Mapping[str, int], *, on: bool) -> None:
        """Pause every partition of the topics, or let them go on, in one transaction.

        Raises:
            BrokerUnavailableError: nothing is written, as far as is known; so it is where another replica does the
                same at this moment.
        """
        value = b"true" if on else None
        writes = [
            Write(topic, PAUSE_KEY, value, partition=partition)
            for topic, count in partitions.items()
            for partition in range(count)
        ]
        client = SchedulerClient(self._settings, clock=self._clock, client_id=self._client_id)
        with client.writer(f"{self._settings.group_id}-api") as writer:
            writer.apply(writes)

    def log(self, topic: str, partition: int | None, keys: Collection[bytes]) -> list[LogEntry]:
        """Every record of the keys that the partition, or else the whole topic, still holds; it is read for this.

        Raises:
            SchedulerError: the topic does not exist, or Kafka does not answer.
        """
        return log_of(self._settings, topic, self._clock, keys, partition=partition)[1]

    def settle(self, action: Action, ids: frozenset[str]) -> list[Letter]:
        """Run dead letters again, or put them away.

        Raises:
            SchedulerError: see `scheduler.settling.DeadLetters.settle`.
        """
        letters = DeadLetters(self._settings, clock=self._clock, client_id=self._client_id)
        return letters.settle(action, Wanted(ids), ids)

    def _open(self) -> Producer:
        with self._lock:
            if self._producer is None:
                conf = producer_conf(self._settings, self._client_id)
                self._producer = Producer({**conf, "message.timeout.ms": int(APPEND_SECONDS * 1000)})
            return self._producer

    def close(self) -> None:
        """Give up what is not acknowledged."""
        with self._lock:
            if self._producer is not None:
                self._producer.purge()
                self._producer = None
