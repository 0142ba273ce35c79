"""What Kafka holds, by source: an item for each entry, with what is planned and what is to be retried of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from planner.occurrences import entry_key, planned_instant
from planner.report import Subject, describe
from planner.snapshot import source_of
from scheduler.clock import rfc3339
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.records import Stored


class Kind(StrEnum):
    """How an entry stands in Kafka."""

    STANDING = "standing"  # one schedule that recurs
    PLANNED = "planned"  # a schedule for each occurrence
    RETRY = "retry"  # attempts of a worker that are still to come


@dataclass(frozen=True, slots=True)
class Item:
    """One entry, in one of its kinds; `subject` is of the schedule that is due first."""

    source: str
    entry_id: str
    kind: Kind
    subject: Subject
    count: int
    paused: int
    """How many of the schedules are paused."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "source": self.source,
            "id": self.entry_id,
            "job": self.subject.job,
            "kind": self.kind.value,
            "cron": None if self.kind is not Kind.STANDING else self.subject.cron,
            "timezone": self.subject.timezone or None,
            "target": self.subject.cluster,
            "next": rfc3339(self.subject.due_ms),
            "schedules": self.count,
            "paused": self.paused,
        }


def items(schedules: Iterable[Stored], source: str | None = None) -> list[Item]:
    """In the order of source and next due time.

    Args:
        schedules: all that is in force.
        source: only those of this one.
    """
    first: dict[tuple[str, bytes, Kind], Stored] = {}
    counts: Counter[tuple[str, bytes, Kind]] = Counter()
    paused: Counter[tuple[str, bytes, Kind]] = Counter()
    for stored in schedules:
        schedule = stored.schedule
        owner = source_of(schedule)
        if owner is None or source not in (None, owner):
            continue
        key, kind = _entry(schedule.key, recurs=schedule.rule is not None)
        item = (owner, key, kind)
        counts[item] += 1
        paused[item] += schedule.paused
        if item not in first or schedule.due_ms < first[item].schedule.due_ms:
            first[item] = stored
    found = [
        Item(owner, display(key).removeprefix(f"{owner}/"), kind, describe(stored.schedule), counts[item], paused[item])
        for item, stored in first.items()
        for owner, key, kind in (item,)
    ]
    return sorted(found, key=lambda item: (item.source, item.subject.due_ms, item.entry_id))


def _entry(key: bytes, *, recurs: bool) -> tuple[bytes, Kind]:
    if recurs:
        return key, Kind.STANDING
    if planned_instant(key) is not None:
        return entry_key(key), Kind.PLANNED
    # `<run id>#<attempt>`, and the run id is the fire id of the first attempt
    fired = key.rpartition(b"#")[0].rpartition(b"@")[0]
    return (entry_key(fired) if planned_instant(fired) is not None else fired), Kind.RETRY
