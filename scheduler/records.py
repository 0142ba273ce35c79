"""Records on their way to Kafka, and schedules as they were found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import methodcaller
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Message

    from scheduler.schedule import Header, Schedule

_headers = methodcaller("headers")


def read_headers(message: Message) -> list[Header]:
    """The headers of a record, as a customer wrote them; to be asked for once for each message.

    A name that is not UTF-8 makes the client set an error and return a list with a hole in it all the same. Called
    as `message.headers()`, an interpreter that has seen the call a few times takes the list, and crashes when it is
    looked at; called by way of another C function it always notices the error. A second call would not.

    Raises:
        UnicodeDecodeError: a name is not UTF-8.
    """
    try:
        return _headers(message) or []
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None:  # several such names make a chain of them
            if isinstance(cause, UnicodeDecodeError):
                raise cause from None
            cause = cause.__cause__
        raise


@dataclass(frozen=True, slots=True)
class Write:
    """A record to write. Without a partition the key decides, by Java's hash."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header] = field(default_factory=list)
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A schedule that is in force, and where its record stands.

    Whatever replaces or cancels it must go to that partition: another client's partitioner may have
    chosen it, and nobody looks for it elsewhere.
    """

    topic: str
    partition: int
    schedule: Schedule
    partition_paused: bool = False
    """Whether a record of `PAUSE_KEY` holds everything in that partition."""
    read_to: int = -1
    """How far the partition was read when it was found; what changed it since stands at that offset or later."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record that Kafka has acknowledged, and where it stands."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    """Its Kafka timestamp, Unix ms: a delay counts from it."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of a key on a schedules topic, in words."""

    partition: int
    offset: int
    timestamp_ms: int
    what: str
    in_force: bool
