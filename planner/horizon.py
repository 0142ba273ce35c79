"""The plan of `sync --horizon`: each occurrence up to the horizon is a schedule of its own.

No occurrence is planned that may have fired: those within the lead are left as they are. So planning again
never repeats one, and a standing schedule gives way only while it is not about to fire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.occurrences import Planned, occurrences, occurs_at, planned_instant
from planner.plan import Heirs, by_entry, check_ids, match, successions, tally
from planner.steps import Cancel, Change, Create, Keep, Later, Plan
from scheduler.durations import format_duration
from scheduler.errors import InputError
from scheduler.recurrence import EveryRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from planner.steps import Step
    from scheduler.records import Stored

MOST = 200_000
"""Occurrences of one plan: a transaction of so many takes some seconds."""
SHORTEST_PERIOD_MS = 60_000
"""A period below a minute leaves no quiet moment to plan in."""


def make_horizon_plan(
    desired: Sequence[Standing], snapshot: Snapshot, now_ms: int, *, horizon_ms: int, lead_ms: int
) -> Plan:
    """Compare the occurrences up to the horizon with those in force.

    Args:
        desired: the standing schedule of each entry; it gives way to its occurrences.
        snapshot: what is in force.
        now_ms: the time, once the snapshot was taken.
        horizon_ms: how far to plan, from now.
        lead_ms: how long it may take until the plan is carried out.

    Raises:
        InputError: an id is taken, or there are too many occurrences.
    """
    wanted = {standing.key: standing for standing in desired}
    current, surplus = match(wanted, snapshot.own)
    former, left = successions(desired, current, surplus)
    planned = by_entry(snapshot.planned)
    steps: list[Step] = []
    ended: list[Step] = [Cancel(stored) for stored in left]
    for standing in desired:
        _check_period(standing)
        there = planned.pop(standing.key, [])
        stored = current.get(standing.key) or former.get(standing.key)
        for step in _entry(standing, stored, there, now_ms + lead_ms, now_ms + horizon_ms):
            (ended if isinstance(step, Cancel) else steps).append(step)
            if len(steps) > MOST:
                raise InputError(
                    f"more than {MOST:,} occurrences within {format_duration(horizon_ms)}; choose a shorter --horizon"
                )
    check_ids(snapshot, {step.desired.key for step in steps if isinstance(step, Create)})
    heirs = Heirs(desired, wanted, planned)
    for stored in (stored for several in planned.values() for stored in several):
        fires = stored.schedule.due_ms <= now_ms + lead_ms and heirs.has(stored)
        ended.append(Keep(None, stored) if fires else Cancel(stored))
    held, dropped = tally(snapshot, wanted, former)
    return Plan((*steps, *ended), held, dropped, now_ms, lead_ms)


def _entry(
    standing: Standing, stands: Stored | None, there: Sequence[Stored], near_ms: int, until_ms: int
) -> Iterator[Step]:
    after_ms = near_ms
    if stands is not None:
        schedule = stands.schedule
        if standing.keeps_time(schedule):
            if schedule.paused or schedule.due_ms <= near_ms:
                yield Later(standing, stands)
                return
            after_ms = max(after_ms, schedule.due_ms - 1)
        yield Cancel(stands)
    found = set()
    for stored in there:
        due_ms = planned_instant(stored.schedule.key)
        if due_ms is None or not occurs_at(standing.entry, due_ms) or due_ms in found:
            yield Cancel(stored)
            continue
        found.add(due_ms)
        one = Planned(standing, due_ms)
        if due_ms <= near_ms or one.matches(stored.schedule):
            yield Keep(one, stored)
        else:
            yield Change(one, stored, due_ms)
    for due_ms in occurrences(standing.entry, after_ms, until_ms):
        if due_ms not in found:
            yield Create(Planned(standing, due_ms), due_ms)


def _check_period(standing: Standing) -> None:
    rule = standing.entry.rule
    if isinstance(rule, EveryRule) and rule.period_ms < SHORTEST_PERIOD_MS:
        raise InputError(
            f"{standing.entry.place}: {rule.text} comes too often for --horizon, which is for entries that come at "
            f"most once in {format_duration(SHORTEST_PERIOD_MS)}; sync it without --horizon, from a file of its own"
        )
