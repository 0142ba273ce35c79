"""A message of the client into facts of the engine: the one place where a record's parts are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from scheduler.headers import read_headers

if TYPE_CHECKING:
    from confluent_kafka import Message

    from scheduler.engine.partition import PartitionEngine

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code


def feed(engine: PartitionEngine, message: Message) -> None:
    """Tell the engine of one record, or of the end of its partition."""
    error = message.error()
    if error is not None:
        if error.code() == _EOF:
            engine.reached_end(message.offset())
        return
    key = message.key()
    value = message.value()
    if value is None and key is not None and engine.has_no_use_for_tombstone(key):
        return
    timestamp_ms = message.timestamp()[1]
    try:
        headers = read_headers(message)
    except UnicodeDecodeError:
        engine.unreadable(key, value, timestamp_ms=timestamp_ms, offset=message.offset())
    else:
        engine.record(key, value, headers, timestamp_ms=timestamp_ms, offset=message.offset())
