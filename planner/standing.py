"""The standing schedule of an entry: the record that Kafka should hold for it, but for its due time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.durations import format_duration
from scheduler.job import Job, Retry
from scheduler.wire import AT, CONTINUES, DELAY, EPOCH, PAUSED, REPLACES, schedule_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.entry import Entry
    from planner.job_settings import JobSettings
    from scheduler.schedule import Header, Schedule

SOURCE = "planner-source"
"""The header that says whose a schedule is; it travels with every message that is fired."""

JITTER = "planner-jitter"
"""The header with the jitter that the entry's shift is a part of, so that it can be exported."""

_MOVES = frozenset({EPOCH, AT, DELAY, REPLACES, CONTINUES, PAUSED})
"""Headers that differ between two occurrences of one schedule, and the pause that an operator asked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What should be in force for one entry."""

    entry: Entry
    key: bytes
    """`<source>/<entry id>`"""
    payload: bytes
    source: str

    def headers(self, due_ms: int | None, *, paused: bool = False) -> list[Header]:
        """The record's headers; None leaves the due time out."""
        settings = self.entry.settings
        marks: list[Header] = [(SOURCE, self.source.encode())]
        if settings.jitter_ms:
            marks.append((JITTER, format_duration(settings.jitter_ms).encode()))
        return schedule_headers(
            self.entry.cluster,
            due_ms=due_ms,
            target_key=self.key,
            cron=self.entry.rule.text,
            timezone=self.entry.rule.timezone,
            shift_ms=self.entry.rule.shift_ms,
            misfire=settings.misfire,
            misfire_grace=settings.misfire_grace,
            paused=paused,
            headers=marks,
        )

    def matches(self, schedule: Schedule) -> bool:
        """Whether the schedule is this one, at whichever occurrence it stands."""
        return schedule.value == self.payload and _lasting(schedule.headers + schedule.own_headers) == _lasting(
            self.headers(None)
        )

    def keeps_time(self, schedule: Schedule) -> bool:
        """Whether the schedule has the same rule, but for its shift, so that its next occurrence stays the next."""
        rule, wanted = schedule.rule, self.entry.rule
        return rule is not None and (rule.text, rule.timezone) == (wanted.text, wanted.timezone)

    def moved_due(self, schedule: Schedule) -> int:
        """When a schedule that keeps its time is due by this entry's shift.

        Counted from the occurrence that is pending: one that has fired does not come again with a longer
        shift, and one that has not is not lost with a shorter.
        """
        old = schedule.rule.shift_ms if schedule.rule else 0
        return schedule.due_ms - old + self.entry.rule.shift_ms


def standing(entry: Entry, source: str) -> Standing:
    """What should be in force for an entry of a source."""
    key = f"{source}/{entry.id}"
    job = Job(
        id=key,
        job=entry.job_name,
        cluster=entry.cluster,
        command=entry.command,
        environment=dict(sorted(entry.environment.items())),
        stdin=entry.stdin,
        timeout_seconds=_seconds(entry.settings.timeout_ms),
        max_attempts=entry.settings.max_attempts or 1,
        retry=_retry(entry.settings),
        overlap=entry.settings.overlap,
        user=entry.user,
    )
    return Standing(entry, key.encode(), job.to_json(), source)


def _retry(settings: JobSettings) -> Retry:
    given = {
        "delay_seconds": _seconds(settings.retry_delay_ms),
        "factor": settings.retry_factor,
        "max_delay_seconds": _seconds(settings.retry_max_delay_ms),
    }
    return Retry.model_validate({name: value for name, value in given.items() if value is not None})


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _lasting(headers: Iterable[Header]) -> list[tuple[str, bytes]]:
    return sorted((name, value or b"") for name, value in headers if name not in _MOVES)
