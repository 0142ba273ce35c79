"""What a consumer may ask of a message: whether the scheduler brought it, its fire id, how often it was retried.

Each function takes a `confluent_kafka.Message` or, from another client, the message's headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from scheduler import retry, wire
from scheduler.errors import InputError
from scheduler.headers import read_headers
from scheduler.retry import Received
from scheduler.schedule import Header, display

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Unreadable(list[Header]):
    """Stands in for headers that cannot be read: asked for a second time, the client would crash the interpreter."""

    def __bool__(self) -> bool:
        return True  # no headers, and yet something to be noticed


def is_scheduler_message(message: Message | Iterable[Header]) -> bool:
    """Whether the scheduler has delivered it.

    Raises:
        InputError: its headers cannot be read.
    """
    return retry.value_of(headers_of(message), wire.KEY) is not None


def is_retried_message(message: Message | Iterable[Header]) -> bool:
    """Whether it was delivered before and failed.

    Raises:
        InputError: its headers cannot be read.
    """
    return retry.value_of(headers_of(message), retry.ATTEMPT) is not None


def fire_id(message: Message | Iterable[Header]) -> str | None:
    """`<schedule id>@<due ms>`, the same on every copy of one occurrence; None where the scheduler did not bring it.

    Raises:
        InputError: its headers cannot be read.
    """
    raw = retry.value_of(headers_of(message), wire.FIRE_ID)
    return None if raw is None else display(raw)


def retry_attempts(message: Message | Iterable[Header]) -> int:
    """How often it has been retried: 0 on its first delivery, 1 on the first retry.

    Raises:
        InputError: its headers cannot be read, or `retry-attempt` is no number.
    """
    return retry.attempts(headers_of(message))


def original_timestamp_ms(message: Message | Iterable[Header]) -> int | None:
    """When the message that failed first was written: Unix ms, of whole seconds; None where this one is no retry.

    Raises:
        InputError: its headers cannot be read, or `retry-original-timestamp` is no instant.
    """
    return retry.original_timestamp_ms(headers_of(message))


def received(message: Message) -> Received:
    """The parts of a message that was consumed.

    Raises:
        InputError: it is an error of the client and no message, or its headers cannot be read.
    """
    if message.error() is not None:
        raise InputError(f"this is no message but an event of the Kafka client: {message.error().str()}")
    kind, timestamp_ms = message.timestamp()
    return Received(
        message.topic(),
        message.partition(),
        message.offset(),
        -1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
        message.key(),
        message.value(),
        headers_of(message),
    )


def headers_of(message: Message | Iterable[Header]) -> list[Header]:
    """The headers of a message, as often as they are asked for.

    Raises:
        InputError: they cannot be read.
    """
    if not isinstance(message, Message):
        return list(message)
    try:
        headers = read_headers(message)
    except UnicodeDecodeError:
        headers = _Unreadable()
        message.set_headers(headers)
    if isinstance(headers, _Unreadable):
        place = f"{message.topic()}-{message.partition()}@{message.offset()}"
        raise InputError(f"{place}: the name of a header is not UTF-8, its headers cannot be read")
    return headers
