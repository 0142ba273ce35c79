"""Records on their way to Kafka, and schedules as they were found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.schedule import Header, Schedule


@dataclass(frozen=True, slots=True)
class Write:
    """A record to write. Without a partition the key decides, by Java's hash."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header] = field(default_factory=list)
    partition: int | None = None
    timestamp_ms: int | None = None
    """Its Kafka timestamp; the moment of writing without it."""


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
    read_to: int = field(default=-1, compare=False)
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
