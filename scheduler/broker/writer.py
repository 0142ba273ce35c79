"""Writes records all together: a transaction that stands whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer

from scheduler.errors import InputError
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import KafkaError, Message

    from scheduler.records import Write

    Delivered = Callable[[KafkaError | None, Message], None]

TRANSACTION_SECONDS = 30.0


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
                produce(producer, write)
            except KafkaException as error:
                producer.abort_transaction(TRANSACTION_SECONDS)
                name = display(write.key)
                raise InputError(f"{name}: cannot be written to {write.topic}: {error.args[0].str()}") from error
        producer.commit_transaction(TRANSACTION_SECONDS)


def produce(producer: Producer, write: Write, delivered: Delivered | None = None) -> None:
    """Hand a record to a producer, as soon as there is room in its queue; `delivered` hears of its end.

    Raises:
        KafkaException: it does not take the record.
    """
    more: dict[str, Any] = {} if write.partition is None else {"partition": write.partition}
    if write.timestamp_ms is not None:
        more["timestamp"] = write.timestamp_ms
    if delivered is not None:
        more["on_delivery"] = delivered
    while True:
        try:
            producer.produce(write.topic, write.value, write.key, headers=write.headers, **more)
        except BufferError:
            producer.poll(0.1)  # the local queue is full: let some of it go out
        else:
            return
