"""Writes records and says where they stand: an idempotent producer whose deliveries are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scheduler.broker.writer import produce
from scheduler.errors import BrokerUnavailableError, InputError
from scheduler.records import Receipt
from scheduler.runtime.kafka import producer_conf, unavailable
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.records import Write
    from scheduler.runtime.settings import Settings

DELIVERY_MS = 30_000
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.01
"""Several threads may wait on one producer, and one of them may be told of another's record."""

_UNKNOWN_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}  # noqa: SLF001 - librdkafka's public codes
_UNKNOWN = _UNKNOWN_TOPIC | {KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001 - likewise
_REFUSED = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE}


class _Pending:
    """A record on its way."""

    __slots__ = ("done", "error", "receipt", "write")

    def __init__(self, write: Write) -> None:
        self.write = write
        self.done = False
        self.error: KafkaError | None = None
        self.receipt: Receipt | None = None

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            place = (message.topic(), message.partition(), message.offset())
            self.receipt = Receipt(*place, self.write.key, message.timestamp()[1])
        self.error = error
        self.done = True


class Sender:
    """May be used by any number of threads."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._settings = settings
        self._producer = Producer({**producer_conf(settings, client_id), "delivery.timeout.ms": DELIVERY_MS})

    def send(self, writes: Sequence[Write]) -> list[Receipt]:
        """Write the records and return when each is acknowledged, in their order.

        Raises:
            InputError: Kafka refuses one; the others may stand.
            BrokerUnavailableError: it did not answer; what was written is not known.
        """
        pending = [_Pending(write) for write in writes]
        for entry in pending:
            self._produce(entry)
        while not all(entry.done for entry in pending):
            self._producer.poll(POLL_SECONDS)
        return [self._receipt(entry) for entry in pending]

    def _produce(self, entry: _Pending) -> None:
        try:
            produce(self._producer, entry.write, entry.delivered)
        except KafkaException as error:
            entry.error, entry.done = error.args[0], True

    def _receipt(self, entry: _Pending) -> Receipt:
        error = entry.error
        if error is None and entry.receipt is not None:
            return entry.receipt
        fault = error or KafkaError(KafkaError._FAIL)  # noqa: SLF001 - librdkafka's public code
        where = f"{display(entry.write.key)}: cannot be written to {entry.write.topic}"
        if fault.code() in _REFUSED | _UNKNOWN:
            raise InputError(f"{where}: {fault.str()}")
        if fault.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - librdkafka's public code
            raise BrokerUnavailableError(
                f"{where}: Kafka at {self._settings.bootstrap_servers} has not acknowledged it in "
                f"{DELIVERY_MS // 1000} s; it may stand there or not"
            )
        raise unavailable(self._settings, fault)

    def close(self) -> None:
        """Send what another thread still waits for, and drop the connection."""
        self._producer.flush(CLOSE_SECONDS)
