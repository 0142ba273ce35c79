"""Messages of the client into facts of the engine: the one place where a record's parts are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from scheduler.headers import read_headers
from scheduler.schedule import PAUSE_KEY, Schedule
from scheduler.wire import decode, plain_due_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

    from scheduler.engine.partition import PartitionEngine

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code


def feed(engine: PartitionEngine, messages: Iterable[Message]) -> None:
    """Tell the engine of records, in order, and of the end of their partition."""
    horizon_ms = engine.horizon_ms
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() == _EOF:
                engine.reached_end(message.offset())
            continue
        key = message.key()
        value = message.value()
        if value is None and key is not None and engine.has_no_use_for_tombstone(key):
            continue
        try:
            headers = read_headers(message)
        except UnicodeDecodeError:
            engine.unreadable(key, value, timestamp_ms=message.timestamp()[1], offset=message.offset())
            continue
        if value is not None and key and key != PAUSE_KEY:
            due_ms = plain_due_ms(headers)
            if due_ms is not None and due_ms > horizon_ms:
                engine.far(key, due_ms, message.offset())
                continue
        engine.record(key, value, headers, timestamp_ms=message.timestamp()[1], offset=message.offset())


def schedules(messages: Iterable[Message]) -> list[Schedule]:
    """Records that are known to state schedules."""
    found = []
    for message in messages:
        headers = read_headers(message)
        stated = decode(
            message.key(),
            message.value(),
            headers,
            timestamp_ms=message.timestamp()[1],
            offset=message.offset(),
        )
        if not isinstance(stated, Schedule):
            raise TypeError(f"what stands at {message.offset()} was a schedule, and is {type(stated).__name__}")
        found.append(stated)
    return found
