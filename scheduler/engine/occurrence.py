"""What is to be done with a schedule that is due: which occurrence fires, and which one comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler.schedule import Misfire, Outcome, Schedule

if TYPE_CHECKING:
    from scheduler.recurrence import Rule


class Due(NamedTuple):
    """The decision. `next_due_ms` is None for a schedule that ends here."""

    outcome: Outcome
    due_ms: int
    next_due_ms: int | None


DAY_MS = 86_400_000


def oldest(now_ms: int, since_delta: int | None) -> int:
    """The earliest due time that still fires: the start of today in UTC, `since_delta` days on; None: any."""
    return 0 if since_delta is None else now_ms - now_ms % DAY_MS + since_delta * DAY_MS


def decide(schedule: Schedule, now_ms: int, oldest_ms: int = 0) -> Due:
    """What to do with a schedule whose due time has come; what was due before `oldest_ms` has misfired.

    A recurring schedule's next occurrence is always later than the one decided here.
    """
    due = _by_policy(schedule, now_ms)
    return due._replace(outcome=Outcome.MISFIRED) if due.due_ms < oldest_ms else due


def _by_policy(schedule: Schedule, now_ms: int) -> Due:
    due_ms = schedule.due_ms
    late = schedule.grace_ms is not None and now_ms - due_ms > schedule.grace_ms
    rule = schedule.rule
    if rule is None:
        return Due(Outcome.MISFIRED if late and schedule.misfire is Misfire.SKIP else Outcome.FIRED, due_ms, None)
    if schedule.misfire is Misfire.ALL:
        return Due(Outcome.FIRED, due_ms, rule.next_after(due_ms, due_ms))
    latest_ms, next_ms = _latest_and_next(rule, due_ms, now_ms)
    if schedule.misfire is Misfire.SKIP:
        on_time = schedule.grace_ms is None or now_ms - latest_ms <= schedule.grace_ms
        return Due(Outcome.FIRED if on_time else Outcome.MISFIRED, latest_ms, next_ms)
    return Due(Outcome.FIRED, latest_ms, next_ms)


def _latest_and_next(rule: Rule, due_ms: int, now_ms: int) -> tuple[int, int | None]:
    following_ms = rule.next_after(due_ms, due_ms)
    if following_ms is None or following_ms > now_ms:  # nothing was missed: the usual case, one step
        return due_ms, following_ms
    return rule.latest_until(now_ms, due_ms), rule.next_after(now_ms, due_ms)
