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


@dataclass(frozen=True, slots=True)
class Stored:
    """A schedule that is in force, and where its record stands.

    Whatever replaces or cancels it must go to that partition: another client's partitioner may have
    chosen it, and nobody looks for it elsewhere.
    """

    topic: str
    partition: int
    schedule: Schedule
