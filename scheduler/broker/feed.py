"""Messages of the client into facts of the engine: the one place where a record's parts are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message

from scheduler.engine.far import Versions
from scheduler.headers import UNREADABLE, read_all_headers, read_headers
from scheduler.plain import all_plain, plain_due_ms, target_of
from scheduler.schedule import PAUSE_KEY, Header, Schedule
from scheduler.wire import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler.engine.partition import PartitionEngine

    Fact = Versions | tuple[Message, list[Header] | None]

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code
PIECE = 250
"""Records that are looked at together. One that is different costs the others of its piece the speed."""
FEW = 16
"""Fewer are sooner looked at one by one."""


def feed(engine: PartitionEngine, messages: Sequence[Message]) -> None:
    """Tell the engine of records, in order, and of the end of their partition."""
    tell(engine, read(messages[_echoes(engine, messages) :], engine.horizon_ms))


def _echoes(engine: PartitionEngine, messages: Sequence[Message]) -> int:
    """How many null records the messages begin with, if they tell the engine nothing; 0 where one does.

    A replica that fires reads its own tombstones back, and mostly nothing else. One by one they take twice as long.
    """
    if not messages or messages[0].value() is not None:
        return 0
    values = list(map(Message.value, messages))
    count = next((at for at, value in enumerate(values) if value is not None), len(values))
    keys = list(map(Message.key, messages[:count]))
    while keys and not keys[-1]:
        keys.pop()  # an end or an error, which has no key
    return len(keys) if all(keys) and engine.has_no_use_for_tombstones(keys) else 0


def read(messages: Sequence[Message], horizon_ms: int) -> Iterator[Fact]:
    """What is to be told of messages, in order.

    A restore reads every record that stands in the log, and most of these state what is due behind the horizon: such
    are told together, up to the next that is different. Of others, headers that are None were not looked at yet.
    """
    far = Versions.none()
    for start in range(0, len(messages), PIECE):
        piece = messages[start : start + PIECE]
        keys = list(map(Message.key, piece))
        found: Sequence[list[Header] | None]
        dues: Sequence[int | None] | None = None
        # an error or an end has no key
        if all(keys) and None not in map(Message.value, piece) and PAUSE_KEY not in keys:
            found = headers = read_all_headers(piece)
            if len(piece) > FEW and (many := all_plain(headers)) is not None:
                if min(many.dues_ms) > horizon_ms:
                    far.add(keys, many.dues_ms, map(Message.offset, piece), many.targets)
                    continue
                dues = many.dues_ms
        else:
            found = [
                _headers(message) if key and key != PAUSE_KEY and message.value() is not None else None
                for message, key in zip(piece, keys, strict=True)
            ]
        if dues is None:
            dues = [None if headers is None else plain_due_ms(headers) for headers in found]
        for message, key, given, due_ms in zip(piece, keys, found, dues, strict=True):
            if given is not None and due_ms is not None and due_ms > horizon_ms:
                far.add((key,), (due_ms,), (message.offset(),), (target_of(given),))
                continue
            if far.keys:
                yield far
                far = Versions.none()
            yield message, given
    if far.keys:
        yield far


def tell(engine: PartitionEngine, facts: Iterable[Fact]) -> None:
    """Tell the engine what was read."""
    for fact in facts:
        if isinstance(fact, Versions):
            engine.far(fact)
        else:
            _hear(engine, *fact)


def _headers(message: Message) -> list[Header]:
    try:
        return read_headers(message)
    except UnicodeDecodeError:
        return UNREADABLE


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
    given = _headers(message) if headers is None else headers
    timestamp_ms = message.timestamp()[1]
    if given is UNREADABLE:
        engine.unreadable(key, value, timestamp_ms=timestamp_ms, offset=offset)
    else:
        engine.record(key, value, given, timestamp_ms=timestamp_ms, offset=offset)


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
