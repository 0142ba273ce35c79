"""The client library: what is in force on a schedules topic, and changes to it."""

from __future__ import annotations

from contextlib import contextmanager
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
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from confluent_kafka import Message

FENCE_SECONDS = 10.0
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

    def records(self, topic: str) -> Iterator[Message]:
        """Every committed record of a topic, to its end as it is now.

        Raises:
            InputError: the topic does not exist.
            BrokerUnavailableError: the brokers do not answer.
        """
        return read(self._settings, topic, self._clock)

    @contextmanager
    def writer(self, transactional_id: str) -> Iterator[Writer]:
        """Be the only one who writes under this id until the block ends; whoever did so before is fenced.

        What is read inside the block can no longer be changed under the same id by another.

        Raises:
            BrokerUnavailableError: the brokers do not answer, or another writer takes over meanwhile.
        """
        producer = Producer(transactional_conf(self._settings, self._client_id, transactional_id))
        try:
            producer.init_transactions(FENCE_SECONDS)
            yield Writer(producer)
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


class Writer:
    """Writes records in transactions; made by `SchedulerClient.writer`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def apply(self, writes: Sequence[Write]) -> None:
        """Write all of the records in one transaction, or none of them.

        Raises:
            InputError: a record is too large or a topic does not exist; nothing is written.
        """
        producer = self._producer
        producer.begin_transaction()
        for write in writes:
            try:
                self._produce(write)
            except KafkaException as error:
                producer.abort_transaction(TRANSACTION_SECONDS)
                name = display(write.key)
                raise InputError(f"{name}: cannot be written to {write.topic}: {error.args[0].str()}") from error
        producer.commit_transaction(TRANSACTION_SECONDS)

    def _produce(self, write: Write) -> None:
        place = {} if write.partition is None else {"partition": write.partition}
        while True:
            try:
                self._producer.produce(write.topic, write.value, write.key, headers=write.headers, **place)
            except BufferError:
                self._producer.poll(0.1)  # the local queue is full: let some of it go out
            else:
                return
