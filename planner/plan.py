"""Desired minus current: what has to be written so that Kafka holds exactly what the crontab states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.clock import rfc3339
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from scheduler.records import Stored


@dataclass(frozen=True, slots=True)
class Create:
    """Nothing is in force for an entry; it will first fire at `due_ms`."""

    desired: Standing
    due_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something else is in force for an entry; the new version will next fire at `due_ms`."""

    desired: Standing
    current: Stored
    due_ms: int


@dataclass(frozen=True, slots=True)
class Keep:
    """What should be in force is."""

    desired: Standing
    current: Stored


@dataclass(frozen=True, slots=True)
class Cancel:
    """Something is in force that the crontab does not state."""

    current: Stored


Step = Create | Change | Keep | Cancel


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the crontab, cancels last."""

    steps: tuple[Step, ...]

    def count(self, kind: type[Step]) -> int:
        """How many steps are of that kind."""
        return sum(isinstance(step, kind) for step in self.steps)


def make_plan(desired: Sequence[Standing], snapshot: Snapshot, now_ms: int) -> Plan:
    """Compare what should be with what is.

    A schedule whose rule stays keeps its next occurrence, also one that is overdue: a change of settings
    never moves a run or loses one. Of several schedules under one key, as another client's partitioner
    can leave them, one is kept or changed and the others are cancelled.

    Raises:
        InputError: an id is taken by a schedule of someone else, or a rule has no occurrence left.
    """
    wanted = {standing.key: standing for standing in desired}
    for stored in snapshot.foreign:
        if stored.schedule.key in wanted:
            raise InputError(
                f"the schedule {stored.schedule.schedule_id} on {stored.topic} was not written by this source; "
                f"choose another --source, or cancel it"
            )
    current: dict[bytes, Stored] = {}
    surplus: list[Stored] = []
    for stored in snapshot.own:
        standing = wanted.get(stored.schedule.key)
        if standing is None:
            surplus.append(stored)
            continue
        other = current.get(stored.schedule.key)
        if other is None:
            current[stored.schedule.key] = stored
        elif standing.matches(stored.schedule) and not standing.matches(other.schedule):
            current[stored.schedule.key] = stored
            surplus.append(other)
        else:
            surplus.append(stored)
    return Plan(
        (
            *(_step(standing, current.get(standing.key), now_ms) for standing in desired),
            *(Cancel(stored) for stored in surplus),
        )
    )


def _step(standing: Standing, current: Stored | None, now_ms: int) -> Step:
    if current is None:
        return Create(standing, _next(standing, now_ms))
    if standing.matches(current.schedule):
        return Keep(standing, current)
    if standing.keeps_time(current.schedule):
        return Change(standing, current, standing.moved_due(current.schedule))
    return Change(standing, current, _next(standing, now_ms))


def _next(standing: Standing, now_ms: int) -> int:
    entry = standing.entry
    due_ms = entry.first_after(now_ms)
    if due_ms is None:
        raise InputError(f"{entry.place}: {entry.rule.text} does not occur after {rfc3339(now_ms)}")
    return due_ms
