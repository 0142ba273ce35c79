"""A schedule as people and programs are shown it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler.clock import rfc3339
from scheduler.durations import format_duration
from scheduler.schedule import display

if TYPE_CHECKING:
    from scheduler.records import LogEntry, Stored
    from scheduler.schedule import Schedule

COLUMNS = ("due", "schedule", "target", "rule", "paused", "topic", "partition")
OCCURRENCES = 5


def row(stored: Stored) -> tuple[str, ...]:
    """One line of a list."""
    schedule = stored.schedule
    return (
        rfc3339(schedule.due_ms),
        schedule.schedule_id,
        schedule.target_topic,
        _rule(schedule),
        _paused(stored),
        stored.topic,
        str(stored.partition),
    )


def occurrences(schedule: Schedule, count: int = OCCURRENCES) -> list[int]:
    """The next due times, Unix ms, the present one first; one of a one-shot."""
    found = [schedule.due_ms]
    while schedule.rule is not None and len(found) < count:
        following_ms = schedule.rule.next_after(found[-1], schedule.due_ms)
        if following_ms is None:
            break
        found.append(following_ms)
    return found


def payload(schedule: Schedule) -> tuple[str, str]:
    """The payload as text where it is UTF-8, else in hexadecimal; and which of the two, `utf-8` or `hex`."""
    try:
        return schedule.value.decode(), "utf-8"
    except UnicodeDecodeError:
        return schedule.value.hex(), "hex"


def as_json(stored: Stored) -> dict[str, Any]:
    """All of it, for programs. Times are RFC 3339."""
    schedule = stored.schedule
    text, encoding = payload(schedule)
    return {
        "schedule_id": schedule.schedule_id,
        "due": rfc3339(schedule.due_ms),
        "target_topic": schedule.target_topic,
        "target_key": None if schedule.target_key is None else display(schedule.target_key),
        "target_partition": schedule.target_partition,
        "target_tombstone": schedule.delivers_null,
        "cron": None if schedule.rule is None else schedule.rule.text,
        "timezone": None if schedule.rule is None else schedule.rule.timezone,
        "misfire": schedule.misfire.value,
        "misfire_grace_ms": schedule.grace_ms,
        "paused": schedule.paused,
        "headers": [[name, None if value is None else display(value)] for name, value in schedule.headers],
        "payload": text,
        "payload_encoding": encoding,
        "next": [rfc3339(due_ms) for due_ms in occurrences(schedule)],
        "topic": stored.topic,
        "partition": stored.partition,
        "partition_paused": stored.partition_paused,
        "offset": schedule.offset,
        "written": rfc3339(schedule.timestamp_ms),
    }


def details(stored: Stored) -> list[tuple[str, str]]:
    """All of it, for people: names and values."""
    schedule = stored.schedule
    text, encoding = payload(schedule)
    size = f"{len(schedule.value)} bytes" + (", in hexadecimal" if encoding == "hex" else "")
    key = "" if schedule.target_key is None else f", key {display(schedule.target_key)}"
    partition = "" if schedule.target_partition is None else f", partition {schedule.target_partition}"
    tombstone = ", as a tombstone" if schedule.delivers_null else ""
    grace = "" if schedule.grace_ms is None else f", late after {format_duration(schedule.grace_ms)}"
    return [
        ("due", rfc3339(schedule.due_ms)),
        ("paused", _paused(stored) or "no"),
        ("target", f"{schedule.target_topic}{key}{partition}{tombstone}"),
        ("rule", _rule(schedule) or "once"),
        ("next", " ".join(map(rfc3339, occurrences(schedule)))),
        ("misfire", f"{schedule.misfire}{grace}"),
        *(("header", f"{name}: {'' if value is None else display(value)}") for name, value in schedule.headers),
        ("payload", text),
        ("", f"({size})"),
        ("stands in", f"{stored.topic}, partition {stored.partition}, offset {schedule.offset}"),
        ("written", rfc3339(schedule.timestamp_ms)),
    ]


def entry_row(entry: LogEntry) -> tuple[str, ...]:
    """One line of a schedule's log."""
    return (
        rfc3339(entry.timestamp_ms),
        str(entry.partition),
        str(entry.offset),
        "in force" if entry.in_force else "",
        entry.what,
    )


def entry_json(entry: LogEntry) -> dict[str, Any]:
    """The same for programs."""
    return {
        "time": rfc3339(entry.timestamp_ms),
        "partition": entry.partition,
        "offset": entry.offset,
        "in_force": entry.in_force,
        "what": entry.what,
    }


def _rule(schedule: Schedule) -> str:
    rule = schedule.rule
    if rule is None:
        return ""
    return rule.text if rule.timezone == "UTC" else f"{rule.text} ({rule.timezone})"


def _paused(stored: Stored) -> str:
    said = [
        word for word, holds in (("yes", stored.schedule.paused), ("its partition", stored.partition_paused)) if holds
    ]
    return ", ".join(said)
