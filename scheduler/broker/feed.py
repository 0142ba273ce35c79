"""Messages of the client into facts of the engine: the one place where a record's parts are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from scheduler.headers import read_headers
from scheduler.schedule import PAUSE_KEY, Header, Schedule
from scheduler.wire import decode, plain_due_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

    from scheduler.engine.partition import PartitionEngine

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code
_UNREADABLE: list[Header] = []
"""Stands for headers that the client cannot read."""


def feed(engine: PartitionEngine, messages: Iterable[Message]) -> None:
    """Tell the engine of records, in order, and of the end of their partition.

    A restore does this for every record that stands in the log, and most of these state what is due behind the
    horizon: such are told together, up to the next that is different.
    """
    horizon_ms = engine.horizon_ms
    far: list[tuple[bytes, int, int]] = []
    for message in messages:
        key = message.key()
        headers = None
        # an error or an end has no key
        if key and message.value() is not None:
            try:
                headers = read_headers(message)
                due_ms = plain_due_ms(headers)
                if due_ms is not None and due_ms > horizon_ms and key != PAUSE_KEY:
                    far.append((key, due_ms, message.offset()))
                    continue
            except UnicodeDecodeError:
                headers = _UNREADABLE
        if far:
            engine.far(far)
            far.clear()
        _hear(engine, message, headers)
    if far:
        engine.far(far)


def _hear(engine: PartitionEngine, message: Message, headers: list[Header] | None) -> None:
    """Tell of one message; without headers, they were not looked at yet."""
    key, offset = message.key(), message.offset()
    if key is None and (error := message.error()) is not None:
        if error.code() == _EOF:
            engine.reached_end(offset)
        return
    value = message.value()
    if value is None and key is not None and engine.has_no_use_for_tombstone(key):
        return
    if headers is None:
        try:
            headers = read_headers(message)
        except UnicodeDecodeError:
            headers = _UNREADABLE
    timestamp_ms = message.timestamp()[1]
    if headers is _UNREADABLE:
        engine.unreadable(key, value, timestamp_ms=timestamp_ms, offset=offset)
    else:
        engine.record(key, value, headers, timestamp_ms=timestamp_ms, offset=offset)


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
