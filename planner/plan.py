"""Desired minus current: what has to be written so that Kafka holds exactly what the crontab states."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from planner.occurrences import entry_key, first_occurrence, occurs_at
from planner.steps import LEAD_MS, Cancel, Change, Create, Keep, Later, Plan
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.job import Job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from planner.steps import Step
    from scheduler.records import Stored
    from scheduler.recurrence import Rule


def make_plan(desired: Sequence[Standing], snapshot: Snapshot, now_ms: int, lead_ms: int = LEAD_MS) -> Plan:
    """Compare what should be with what is.

    A schedule whose rule stays keeps its next occurrence, also one that is overdue: a change of settings
    never moves a run or loses one. That holds too for an entry that has another id now (it was given a name or
    a cluster) and runs the same command at the same times. Of several schedules under one key, as another
    client's partitioner can leave them, one is kept or changed and the others are cancelled.

    Occurrences that were planned one by one give way to the standing schedule, but for those within the lead:
    they fire, and it begins behind them.

    Args:
        desired: one for each entry.
        snapshot: what is in force.
        now_ms: the time, once the snapshot was taken.
        lead_ms: how long it may take until the plan is carried out.

    Raises:
        InputError: an id is taken by a schedule of someone else, or a rule has no occurrence left.
    """
    wanted = {standing.key: standing for standing in desired}
    check_ids(snapshot, wanted)
    current, surplus = match(wanted, snapshot.own)
    former, left = successions(desired, current, surplus)
    planned = by_entry(snapshot.planned)
    heirs = Heirs(desired, wanted, planned)
    near_ms = now_ms + lead_ms
    steps: list[Step] = []
    for standing in desired:
        stored = current.get(standing.key) or former.get(standing.key)
        begins_behind = standing.key in planned or heirs.inherits(standing)
        steps.append(_step(standing, stored, now_ms, near_ms, begins_behind=begins_behind))
    ended: list[Step] = [Cancel(stored) for stored in left]
    for key, several in planned.items():
        for stored in several:
            fires = stored.schedule.due_ms <= near_ms and (key in wanted or heirs.has(stored))
            ended.append(Keep(None, stored) if fires else Cancel(stored))
    ended.sort(key=lambda step: isinstance(step, Cancel))
    held, dropped = tally(snapshot, wanted, former)
    return Plan((*steps, *ended), held, dropped, now_ms, lead_ms)


def check_ids(snapshot: Snapshot, wanted: Collection[bytes]) -> None:
    """See that no id is taken.

    Raises:
        InputError: one is.
    """
    for stored in snapshot.foreign:
        if stored.schedule.key in wanted:
            raise InputError(
                f"the schedule {stored.schedule.schedule_id} on {stored.topic} was not written by this source; "
                f"choose another --source, or cancel it"
            )


def match(wanted: Mapping[bytes, Standing], own: Iterable[Stored]) -> tuple[dict[bytes, Stored], list[Stored]]:
    """For each key what is in force under it, the one that is right if there are several; and what is left over."""
    current: dict[bytes, Stored] = {}
    surplus: list[Stored] = []
    for stored in own:
        key = stored.schedule.key
        standing = wanted.get(key)
        if standing is None:
            surplus.append(stored)
            continue
        other = current.setdefault(key, stored)
        if other is stored:
            continue
        better = standing.matches(stored.schedule) and not standing.matches(other.schedule)
        current[key] = stored if better else other
        surplus.append(other if better else stored)
    return current, surplus


def successions(
    desired: Iterable[Standing], current: Mapping[bytes, Stored], surplus: Iterable[Stored]
) -> tuple[dict[bytes, Stored], list[Stored]]:
    """For each entry that is in force under a former id, what is: the same command at the same times; and the rest."""
    free: dict[Any, list[Stored]] = defaultdict(list)
    found: dict[bytes, Stored] = {}
    for stored in surplus:
        free[_runs(stored.schedule.value, stored.schedule.rule)].append(stored)
    for standing in desired if free else ():
        if standing.key not in current and (same := free.get(_runs(standing.payload, standing.entry.rule))):
            found[standing.key] = same.pop(0)
    return found, [stored for several in free.values() for stored in several]


def _runs(payload: bytes, rule: Rule | None) -> tuple[Any, ...]:
    return (work(payload), rule.text, rule.timezone) if rule else (None,)


def work(payload: bytes) -> tuple[str, ...] | None:
    """What a job runs."""
    try:
        job = Job.from_json(payload)
    except InputError:
        return None  # not a payload that a planner writes: nothing follows it
    if job.command is None:
        return None  # nor is this one
    command = job.command if isinstance(job.command, str) else "\0".join(job.command)
    return command, job.stdin or "", job.user or ""


def by_entry(planned: Iterable[Stored]) -> dict[bytes, list[Stored]]:
    """Occurrences by the key of their entry's standing schedule."""
    found: dict[bytes, list[Stored]] = defaultdict(list)
    for stored in planned:
        found[entry_key(stored.schedule.key)].append(stored)
    return found


class Heirs:
    """Entries that run what occurrences of former ids were planned for."""

    def __init__(
        self, desired: Iterable[Standing], wanted: Collection[bytes], planned: Mapping[bytes, Sequence[Stored]]
    ) -> None:
        former = {work(several[0].schedule.value) for key, several in planned.items() if key not in wanted}
        self._by_work: dict[Any, list[Standing]] = defaultdict(list)
        for standing in desired if former else ():
            found = work(standing.payload)
            if found in former:
                self._by_work[found].append(standing)
        self._keys = {standing.key for several in self._by_work.values() for standing in several}

    def inherits(self, standing: Standing) -> bool:
        """Whether it does."""
        return standing.key in self._keys

    def has(self, stored: Stored) -> bool:
        """Whether an occurrence of a former id is one of an entry as well."""
        schedule = stored.schedule
        return any(
            occurs_at(standing.entry, schedule.due_ms) for standing in self._by_work.get(work(schedule.value), ())
        )


def tally(snapshot: Snapshot, wanted: Collection[bytes], former: Mapping[bytes, Stored]) -> tuple[int, int]:
    """How many entries are in force, and how many of them are stated no longer, under any id."""
    held = {stored.schedule.key for stored in snapshot.own}
    held.update(entry_key(stored.schedule.key) for stored in snapshot.planned)
    succeeded = {stored.schedule.key for stored in former.values()}
    return len(held), len(held.difference(wanted, succeeded))


def _step(standing: Standing, current: Stored | None, now_ms: int, near_ms: int, *, begins_behind: bool) -> Step:
    if current is None:
        return Create(standing, _first(standing, near_ms, planned=True) if begins_behind else _first(standing, now_ms))
    schedule = current.schedule
    if schedule.key != standing.key:
        if schedule.due_ms <= near_ms and not schedule.paused:
            return Later(standing, current)
        return Change(standing, current, standing.moved_due(schedule))
    if standing.matches(schedule):
        return Keep(standing, current)
    if standing.keeps_time(schedule):
        return Change(standing, current, standing.moved_due(schedule))
    return Change(standing, current, _first(standing, now_ms))


def _first(standing: Standing, after_ms: int, *, planned: bool = False) -> int:
    entry = standing.entry
    due_ms = first_occurrence(entry, after_ms) if planned else entry.first_after(after_ms)
    if due_ms is None:
        raise InputError(f"{entry.place}: {entry.rule.text} does not occur after {rfc3339(after_ms)}")
    return due_ms
