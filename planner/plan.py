"""Desired minus current: what has to be written so that Kafka holds exactly what the crontab states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler.clock import rfc3339
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from scheduler.records import Stored


class Action(StrEnum):
    """What becomes of a schedule."""

    CREATE = "create"
    CHANGE = "change"
    CANCEL = "cancel"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One schedule's part of a plan; `due_ms` is when it fires next, or would have."""

    action: Action
    due_ms: int
    desired: Standing | None
    """None for a cancel."""
    current: Stored | None
    """None for a create."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the crontab, cancels last."""

    steps: tuple[Step, ...]

    def count(self, action: Action) -> int:
        """How many steps do that."""
        return sum(step.action is action for step in self.steps)

    @property
    def changes(self) -> bool:
        """Whether applying it writes anything."""
        return any(step.action is not Action.KEEP for step in self.steps)


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
                f"the schedule {stored.schedule.schedule_id} in {stored.topic} was not written from this crontab; "
                f"choose another --source, or cancel it"
            )
    current: dict[bytes, Stored] = {}
    surplus: list[Stored] = []
    for stored in snapshot.own:
        standing = wanted.get(stored.schedule.key)
        other = current.get(stored.schedule.key)
        if standing is None:
            surplus.append(stored)
        elif other is None:
            current[stored.schedule.key] = stored
        elif standing.matches(stored.schedule) and not standing.matches(other.schedule):
            current[stored.schedule.key] = stored
            surplus.append(other)
        else:
            surplus.append(stored)
    return Plan(
        (
            *(_step(standing, current.get(standing.key), now_ms) for standing in desired),
            *(Step(Action.CANCEL, stored.schedule.due_ms, None, stored) for stored in surplus),
        )
    )


def _step(standing: Standing, current: Stored | None, now_ms: int) -> Step:
    if current is None:
        return Step(Action.CREATE, _next(standing, now_ms), standing, None)
    due_ms = current.schedule.due_ms
    if standing.matches(current.schedule):
        return Step(Action.KEEP, due_ms, standing, current)
    if not standing.keeps_time(current.schedule):
        due_ms = _next(standing, now_ms)
    return Step(Action.CHANGE, due_ms, standing, current)


def _next(standing: Standing, now_ms: int) -> int:
    rule = standing.entry.rule
    due_ms = rule.next_after(now_ms, now_ms)
    if due_ms is None:
        raise InputError(f"line {standing.entry.line}: {rule.text} does not occur after {rfc3339(now_ms)}")
    return due_ms
