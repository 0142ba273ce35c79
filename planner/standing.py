"""The standing schedule of an entry: the record that Kafka should hold for it, but for its due time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.job import Job, Retry
from scheduler.wire import AT, DELAY, EPOCH, REPLACES, schedule_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.entry import Entry
    from planner.job_settings import JobSettings
    from scheduler.schedule import Header, Schedule

SOURCE = "planner-source"
"""The header that says whose a schedule is; it travels with every message that is fired."""

_MOVES = frozenset({EPOCH, AT, DELAY, REPLACES})
"""Headers that differ between two occurrences of one schedule."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What should be in force for one entry."""

    entry: Entry
    key: bytes
    """`<source>/<entry id>`"""
    payload: bytes
    source: str

    def headers(self, due_ms: int | None) -> list[Header]:
        """The record's headers; None leaves the due time out."""
        settings = self.entry.settings
        return schedule_headers(
            self.entry.cluster,
            due_ms=due_ms,
            target_key=self.key,
            cron=self.entry.rule.text,
            timezone=self.entry.rule.timezone,
            misfire=settings.misfire,
            misfire_grace=settings.misfire_grace,
            headers=[(SOURCE, self.source.encode())],
        )

    def matches(self, schedule: Schedule) -> bool:
        """Whether the schedule is this one, at whichever occurrence it stands."""
        return schedule.value == self.payload and _lasting(schedule.headers + schedule.own_headers) == _lasting(
            self.headers(None)
        )

    def keeps_time(self, schedule: Schedule) -> bool:
        """Whether the schedule occurs by the same rule, so that its next occurrence stays the next."""
        return schedule.rule == self.entry.rule


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
