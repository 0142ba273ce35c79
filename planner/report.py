"""What a plan says of itself: a table for people, JSON for programs, and one line that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from planner.plan import Action
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.job import Job

if TYPE_CHECKING:
    from planner.plan import Plan, Step
    from scheduler.recurrence import Rule

COLUMNS = ("", "job", "id", "when", "zone", "cluster", "next")
_SIGNS = {
    Action.CREATE: "[green]+[/green]",
    Action.CHANGE: "[yellow]~[/yellow]",
    Action.CANCEL: "[red]-[/red]",
    Action.KEEP: "=",
}


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """A row for each step, under `COLUMNS`; a cancelled schedule shows when it would have fired."""
    return [
        (
            _SIGNS[step.action],
            *(escape(text) for text in (_job(step), _key(step).rpartition("/")[2], *_when(step), _cluster(step))),
            rfc3339(step.due_ms),
        )
        for step in plan.steps
    ]


def summary(plan: Plan) -> str:
    """`3 created, 1 changed, 0 cancelled, 12 kept`."""
    counts = counted(plan)
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def counted(plan: Plan) -> dict[str, int]:
    """How many schedules are `created`, `changed`, `cancelled` and `kept`."""
    return {
        "created": plan.count(Action.CREATE),
        "changed": plan.count(Action.CHANGE),
        "cancelled": plan.count(Action.CANCEL),
        "kept": plan.count(Action.KEEP),
    }


def as_json(plan: Plan) -> list[dict[str, Any]]:
    """An object for each step; `line` is null for a cancel, `partition` for a create."""
    return [
        {
            "action": step.action.value,
            "schedule_id": _key(step),
            "job": _job(step),
            "line": step.desired.entry.line if step.desired else None,
            "cron": _when(step)[0],
            "timezone": _when(step)[1],
            "cluster": _cluster(step),
            "next": rfc3339(step.due_ms),
            "topic": step.current.topic if step.current else None,
            "partition": step.current.partition if step.current else None,
        }
        for step in plan.steps
    ]


def _key(step: Step) -> str:
    if step.desired:
        return step.desired.key.decode()
    return step.current.schedule.schedule_id if step.current else ""


def _job(step: Step) -> str:
    if step.desired:
        return step.desired.entry.job_name
    try:
        return Job.from_json(step.current.schedule.value).job if step.current else ""
    except InputError:
        return "?"  # a payload that no planner wrote; its id is shown beside


def _when(step: Step) -> tuple[str, str]:
    rule: Rule | None = step.desired.entry.rule if step.desired else None
    if rule is None and step.current:
        rule = step.current.schedule.rule
    return (rule.text, rule.timezone) if rule else ("once", "")


def _cluster(step: Step) -> str:
    if step.desired:
        return step.desired.entry.cluster
    return step.current.schedule.target_topic if step.current else ""
