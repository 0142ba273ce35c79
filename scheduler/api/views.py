"""Schedules and partitions as the API shows them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from scheduler.api import models
from scheduler.api.ids import as_text
from scheduler.api.problems import Unanswered
from scheduler.clock import rfc3339
from scheduler.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.broker.standing import Standing
    from scheduler.schedule import Schedule

Where = tuple[str, int]
"""A schedules topic and a partition of it."""


def summary(where: Where, schedule: Schedule) -> models.Summary:
    """One line of a list."""
    return models.Summary(**_summary(where, schedule))


def whole(where: Where, schedule: Schedule, count: int = 10) -> models.Schedule:
    """All of a schedule, with so many of its next occurrences."""
    payload, encoding = as_text(schedule.value)
    return models.Schedule(
        **_summary(where, schedule),
        payload=payload,
        payload_encoding=encoding,
        headers=[_header(name, raw) for name, raw in schedule.headers],
        next=[rfc3339(due_ms) for due_ms in islice(_occurrences(schedule), count)],
    )


def _summary(where: Where, schedule: Schedule) -> dict[str, Any]:
    topic, partition = where
    rule = schedule.rule
    key, encoding = (None, "text") if schedule.target_key is None else as_text(schedule.target_key)
    return {
        "id": schedule.schedule_id,
        "topic": topic,
        "partition": partition,
        "offset": schedule.offset,
        "written": rfc3339(max(0, schedule.timestamp_ms)),
        "due": rfc3339(schedule.due_ms),
        "paused": schedule.paused,
        "cron": None if rule is None else rule.text,
        "timezone": None if rule is None else rule.timezone,
        "misfire": schedule.misfire.value,
        "misfire_grace": None if schedule.grace_ms is None else format_duration(schedule.grace_ms),
        "target_topic": schedule.target_topic,
        "target_key": key,
        "target_key_encoding": encoding,
        "target_partition": schedule.target_partition,
        "target_tombstone": schedule.delivers_null,
        "payload_bytes": len(schedule.value),
    }


def _header(name: str, raw: bytes | None) -> models.Header:
    if raw is None:
        return models.Header(name=name)
    value, encoding = as_text(raw)
    return models.Header(name=name, value=value, encoding=encoding)


def _occurrences(schedule: Schedule) -> Iterator[int]:
    due_ms: int | None = schedule.due_ms
    while due_ms is not None:
        yield due_ms
        due_ms = None if schedule.rule is None else schedule.rule.next_after(due_ms, due_ms)


def standing(where: Where, seen: Standing, lag: int | None) -> models.PartitionStanding:
    """A partition of this replica."""
    topic, partition = where
    return models.PartitionStanding(
        topic=topic,
        partition=partition,
        state=seen.state.value,
        pending=seen.pending,
        overdue=seen.overdue,
        postponed=seen.postponed,
        next_due=None if seen.next_due_ms is None else rfc3339(seen.next_due_ms),
        paused=seen.paused,
        restore_seconds=seen.restore_seconds,
        lag=lag,
    )


def name(where: Where) -> str:
    """A partition for a sentence: `schedules/3`."""
    return f"{where[0]}/{where[1]}"


def unanswered(where: Where, why: str) -> Unanswered:
    """A partition that nobody has answered for."""
    return Unanswered(topic=where[0], partition=where[1], why=why)


def not_in_force(schedule_id: str) -> str:
    """The sentence for a schedule that is not there."""
    return f"{schedule_id} is not in force: it was never there, has fired or was cancelled; the history says which"
