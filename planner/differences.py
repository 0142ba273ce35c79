"""What a change changes, field by field, in the words of the crontab where it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.durations import format_duration
from scheduler.errors import InputError
from scheduler.job import Job
from scheduler.schedule import Schedule, display
from scheduler.wire import MISFIRE, MISFIRE_GRACE, decode

if TYPE_CHECKING:
    from planner.steps import Change, Desired

VARIABLE = "environment."
_HIDDEN = (VARIABLE, "stdin", "payload")
"""What may hold a password: that it changed is shown, not what is in it."""
_WORDS = {
    "timeout_seconds": "TIMEOUT",
    "max_attempts": "MAX_ATTEMPTS",
    "retry.delay_seconds": "RETRY_DELAY",
    "retry.factor": "RETRY_FACTOR",
    "retry.max_delay_seconds": "RETRY_MAX_DELAY",
    "overlap": "OVERLAP",
    "timezone": "CRON_TZ",
    "misfire": "MISFIRE",
    "misfire_grace": "MISFIRE_GRACE",
}
_SECONDS = frozenset({"timeout_seconds", "retry.delay_seconds", "retry.max_delay_seconds"})


class Difference(NamedTuple):
    """A field of a schedule before and after; None where it has none."""

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """`MAX_ATTEMPTS: 1 -> 3`."""
        if self.field.startswith(_HIDDEN):
            verb = "added" if self.before is None else "removed" if self.after is None else "changed"
            return f"{self.field.removeprefix(VARIABLE)}: {verb}"
        return f"{self.field}: {_shown(self.before)} -> {_shown(self.after)}"


def differences(change: Change) -> list[Difference]:
    """All of them, in the order in which a job is described."""
    before = _fields(change.current.schedule)
    after = _fields(_written(change.desired, change.due_ms))
    names = [*after, *(name for name in before if name not in after)]
    return [_told(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _told(name: str, before: Any, after: Any) -> Difference:
    if name.startswith(_HIDDEN):
        return Difference(name, None if before is None else "***", None if after is None else "***")
    return Difference(_WORDS.get(name, name), _text(name, before), _text(name, after))


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    return format_duration(round(value * 1000)) if name in _SECONDS else str(value)


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value.rstrip("\n").replace("\n", "\\n")


def _written(desired: Desired, due_ms: int) -> Schedule:
    schedule = decode(desired.key, desired.payload, desired.headers(due_ms), timestamp_ms=due_ms)
    if not isinstance(schedule, Schedule):
        raise InputError(f"{desired.entry.place}: {display(desired.key)} is no schedule")  # a defect of the planner
    return schedule


def _fields(schedule: Schedule) -> dict[str, Any]:
    rule = schedule.rule
    stated = {name: display(value) for name, value in schedule.own_headers}
    fields: dict[str, Any] = {
        "id": schedule.schedule_id,
        "when": None if rule is None else rule.text,
        "timezone": None if rule is None else rule.timezone,
        "shift": None if rule is None or not rule.shift_ms else format_duration(rule.shift_ms),
        "cluster": schedule.target_topic,
        "misfire": stated.get(MISFIRE),
        "misfire_grace": stated.get(MISFIRE_GRACE),
    }
    try:
        job = Job.from_json(schedule.value).model_dump()
    except InputError:
        return {**fields, "payload": schedule.value}
    del job["id"], job["cluster"]
    fields.update(_flat(job))
    others = [(name, display(value)) for name, value in schedule.headers if not name.startswith("planner-")]
    return {**fields, **{f"header {name}": value for name, value in others}}


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
