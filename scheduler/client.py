"""The client library: what is in force on a schedules topic, and changes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException, Producer

from scheduler.broker.feed import feed
from scheduler.broker.reader import read
from scheduler.clock import Clock, SystemClock
from scheduler.engine.partition import PartitionEngine
from scheduler.errors import InputError
from scheduler.records import Stored, Write
from scheduler.runtime.kafka import transactional_conf, unavailable
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

TRANSACTION_SECONDS = 30.0


class SchedulerClient:
    """Reads and writes schedules; holds no connection between calls."""

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, client_id: str = "scheduler-client"
    ) -> None:
        self._settings = settings or Settings.load()
        self._clock = clock or SystemClock()
        self._client_id = client_id

    def schedules(self, topic: str) -> list[Stored]:
        """Every schedule in force, read to the end of the topic as it is now.

        Raises:
            InputError: the topic does not exist.
            BrokerUnavailableError: the brokers do not answer.
        """
        engines: dict[int, PartitionEngine] = {}
        for message in read(self._settings, topic, self._clock):
            feed(engines.setdefault(message.partition(), PartitionEngine()), message)
        return [
            Stored(topic, partition, schedule)
            for partition, engine in sorted(engines.items())
            for schedule in engine.pending
        ]

    def apply(self, writes: Sequence[Write], *, transactional_id: str) -> None:
        """Write all of the records in one transaction, or none of them.

        Whoever calls with the same `transactional_id` later fences whoever is still at it.

        Raises:
            InputError: a record is too large or a topic does not exist; nothing is written.
            BrokerUnavailableError: the brokers do not answer, or another writer took over.
        """
        producer = Producer(transactional_conf(self._settings, self._client_id, transactional_id))
        try:
            producer.init_transactions(TRANSACTION_SECONDS)
            producer.begin_transaction()
            for write in writes:
                try:
                    _produce(producer, write)
                except KafkaException as error:
                    producer.abort_transaction(TRANSACTION_SECONDS)
                    name = (write.key or b"").decode("utf-8", "backslashreplace")
                    raise InputError(f"{name}: cannot be written to {write.topic}: {error.args[0].str()}") from error
            producer.commit_transaction(TRANSACTION_SECONDS)
        except KafkaException as error:
            raise unavailable(self._settings, error) from error

    def close(self) -> None:
        """Nothing is held; there for symmetry and for `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _produce(producer: Producer, write: Write) -> None:
    place = {} if write.partition is None else {"partition": write.partition}
    while True:
        try:
            producer.produce(write.topic, write.value, write.key, headers=write.headers, **place)
        except BufferError:
            producer.poll(0.1)  # the local queue is full: let some of it go out
        else:
            return
