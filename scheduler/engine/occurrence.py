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


def decide(schedule: Schedule, now_ms: int) -> Due:
    """What to do with a schedule whose due time has come.

    A recurring schedule's next occurrence is always later than the one decided here.
    """
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
