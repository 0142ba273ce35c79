"""What a plan says of itself: a table for people, JSON for programs, and one line that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from planner.differences import differences
from planner.steps import Cancel, Change, Create, Keep, Later
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.steps import Plan, Step
    from scheduler.schedule import Schedule

COLUMNS = ("", "job", "id", "when", "zone", "cluster", "next", "change")
ROWS = 200
"""Of a longer plan, the table shows so many, and none that is kept."""
_KINDS: dict[type[Step], tuple[str, str, Text]] = {
    Create: ("create", "created", Text("+", "green")),
    Change: ("change", "changed", Text("~", "yellow")),
    Cancel: ("cancel", "cancelled", Text("-", "red")),
    Keep: ("keep", "kept", Text("=")),
    Later: ("later", "later", Text("?", "yellow")),
}
"""What each kind of step is called, what was done with it, and its sign."""


class Subject(NamedTuple):
    """The schedule that a step is about, as both outputs show it."""

    schedule_id: str
    job: str
    cron: str
    timezone: str
    cluster: str
    due_ms: int


def shown(plan: Plan) -> tuple[Sequence[Step], int]:
    """The steps that a table shows, and how many it leaves out."""
    if len(plan.steps) <= ROWS:
        return plan.steps, 0
    steps = [step for step in plan.steps if not isinstance(step, Keep)]
    return steps[:ROWS], max(0, len(steps) - ROWS)


def table_rows(steps: Sequence[Step]) -> list[tuple[str | Text, ...]]:
    """A row for each step, under `COLUMNS`; a cancelled schedule shows when it would have fired."""
    return [_row(step) for step in steps]


def summary(plan: Plan) -> str:
    """`3 created, 1 changed, 0 cancelled, 12 kept`; those that are left for later only where there are some."""
    return ", ".join(f"{count} {done}" for done, count in counts(plan).items() if count or done != "later")


def counts(plan: Plan) -> dict[str, int]:
    """How many schedules are `created`, `changed`, `cancelled`, `kept` and left for `later`."""
    return {done: plan.count(kind) for kind, (_, done, _) in _KINDS.items()}


def as_json(plan: Plan) -> list[dict[str, Any]]:
    """An object for each step; `line` is null where no entry is concerned, `topic` and `partition` for a create."""
    return [_document(step) for step in plan.steps]


def _document(step: Step) -> dict[str, Any]:
    subject = _subject(step)
    entry = None if isinstance(step, Cancel) or step.desired is None else step.desired.entry
    document: dict[str, Any] = {
        "action": _KINDS[type(step)][0],
        "schedule_id": subject.schedule_id,
        "job": subject.job,
        "file": (entry.file or None) if entry else None,
        "line": entry.line if entry else None,
        "cron": subject.cron,
        "timezone": subject.timezone,
        "cluster": subject.cluster,
        "next": rfc3339(subject.due_ms),
        "topic": None if isinstance(step, Create) else step.current.topic,
        "partition": None if isinstance(step, Create) else step.current.partition,
    }
    if isinstance(step, Change):
        document["changes"] = [found._asdict() for found in differences(step)]
    return document


def _row(step: Step) -> tuple[str | Text, ...]:
    subject = _subject(step)
    short_id = subject.schedule_id.partition("/")[2]
    cells = (subject.job, short_id, subject.cron, subject.timezone, subject.cluster, rfc3339(subject.due_ms))
    change = "\n".join(str(found) for found in differences(step)) if isinstance(step, Change) else ""
    if isinstance(step, Later):
        change = f"is {step.current.schedule.schedule_id}, which is about to fire"
    return (_KINDS[type(step)][2], *cells, change)


def _subject(step: Step) -> Subject:
    if isinstance(step, Cancel) or step.desired is None:
        return describe(step.current.schedule)
    desired, entry = step.desired, step.desired.entry
    due_ms = step.due_ms if isinstance(step, Create | Change) else step.current.schedule.due_ms
    return Subject(desired.key.decode(), entry.job_name, entry.rule.text, entry.rule.timezone, entry.cluster, due_ms)


def describe(schedule: Schedule) -> Subject:
    """A schedule as it was found."""
    try:
        job = Job.from_json(schedule.value).job
    except InputError:
        job = "?"  # not a payload that a planner writes; the id beside it says which schedule it is
    cron, timezone = (schedule.rule.text, schedule.rule.timezone) if schedule.rule else ("once", "")
    return Subject(schedule.schedule_id, job, cron, timezone, schedule.target_topic, schedule.due_ms)
