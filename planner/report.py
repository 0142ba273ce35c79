"""What a plan says of itself: a table for people, JSON for programs, and one line that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.markup import escape

from planner.plan import Cancel, Change, Create, Keep
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.job import Job

if TYPE_CHECKING:
    from planner.plan import Plan, Step
    from scheduler.schedule import Schedule

COLUMNS = ("", "job", "id", "when", "zone", "cluster", "next")
_KINDS: dict[type[Step], tuple[str, str, str]] = {
    Create: ("create", "created", "[green]+[/green]"),
    Change: ("change", "changed", "[yellow]~[/yellow]"),
    Cancel: ("cancel", "cancelled", "[red]-[/red]"),
    Keep: ("keep", "kept", "="),
}
"""What each kind of step is called, what was done with it, and its sign."""


class _Subject(NamedTuple):
    """The schedule that a step is about, as both outputs show it."""

    schedule_id: str
    job: str
    cron: str
    timezone: str
    cluster: str
    due_ms: int


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """A row for each step, under `COLUMNS`; a cancelled schedule shows when it would have fired."""
    return [_row(_KINDS[type(step)][2], _subject(step)) for step in plan.steps]


def summary(plan: Plan) -> str:
    """`3 created, 1 changed, 0 cancelled, 12 kept`."""
    return ", ".join(f"{count} {done}" for done, count in counts(plan).items())


def counts(plan: Plan) -> dict[str, int]:
    """How many schedules are `created`, `changed`, `cancelled` and `kept`."""
    return {done: plan.count(kind) for kind, (_, done, _) in _KINDS.items()}


def as_json(plan: Plan) -> list[dict[str, Any]]:
    """An object for each step; `line` is null for a cancel, `topic` and `partition` for a create."""
    return [
        {
            "action": _KINDS[type(step)][0],
            "schedule_id": subject.schedule_id,
            "job": subject.job,
            "line": None if isinstance(step, Cancel) else step.desired.entry.line,
            "cron": subject.cron,
            "timezone": subject.timezone,
            "cluster": subject.cluster,
            "next": rfc3339(subject.due_ms),
            "topic": None if isinstance(step, Create) else step.current.topic,
            "partition": None if isinstance(step, Create) else step.current.partition,
        }
        for step, subject in ((step, _subject(step)) for step in plan.steps)
    ]


def _row(sign: str, subject: _Subject) -> tuple[str, ...]:
    short_id = subject.schedule_id.rpartition("/")[2]
    shown = (subject.job, short_id, subject.cron, subject.timezone, subject.cluster, rfc3339(subject.due_ms))
    return (sign, *map(escape, shown))


def _subject(step: Step) -> _Subject:
    match step:
        case Create(desired, due_ms) | Change(desired, _, due_ms):
            pass
        case Keep(desired, current):
            due_ms = current.schedule.due_ms
        case Cancel(current):
            return _found(current.schedule)
    entry = desired.entry
    return _Subject(desired.key.decode(), entry.job_name, entry.rule.text, entry.rule.timezone, entry.cluster, due_ms)


def _found(schedule: Schedule) -> _Subject:
    try:
        job = Job.from_json(schedule.value).job
    except InputError:
        job = "?"  # not a payload that a planner writes; the id beside it says which schedule it is
    cron, timezone = (schedule.rule.text, schedule.rule.timezone) if schedule.rule else ("once", "")
    return _Subject(schedule.schedule_id, job, cron, timezone, schedule.target_topic, schedule.due_ms)
