"""Schedules, the scheduler that fires them, and planners that look and write later: a model without Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.apply import plan_writes
from planner.crontab import read_crontab
from planner.horizon import make_horizon_plan
from planner.plan import make_plan
from planner.snapshot import select
from planner.standing import standing
from planner.steps import LEAD_MS
from scheduler.engine.changes import continuing
from scheduler.records import Stored
from scheduler.schedule import Schedule
from scheduler.wire import decode, restated

if TYPE_CHECKING:
    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from planner.steps import Plan


def desired(text: str, source: str = "jobs") -> list[Standing]:
    """What a crontab states."""
    crontab = read_crontab(text.encode(), clusters=["cluster-a", "cluster-b"])
    assert crontab.errors == ()
    return [standing(entry, source) for entry in crontab.entries]


class World:
    """Time passes, what is due fires at once unless the scheduler is down."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.up = True
        self.in_force: dict[bytes, Schedule] = {}
        self.fired: list[tuple[str, int]] = []
        """The command's entry (its target key) and the due time of each firing."""
        self._offset = 0

    def advance(self, ms: int) -> None:
        """Let so much time pass, and fire what is due in it, each at its time."""
        end_ms = self.now_ms + ms
        while self.up:
            due = min(self.in_force.values(), key=lambda each: each.due_ms, default=None)
            if due is None or due.due_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due.due_ms)
            self._fire(due)
        self.now_ms = end_ms

    def _fire(self, schedule: Schedule) -> None:
        self.fired.append(((schedule.target_key or b"").decode(), schedule.due_ms))
        next_ms = schedule.rule.next_after(schedule.due_ms, schedule.due_ms) if schedule.rule else None
        if next_ms is None:
            del self.in_force[schedule.key]
        else:
            successor = restated(schedule, due_ms=next_ms)
            successor.replaces, successor.timestamp_ms = schedule.offset, self.now_ms
            self.in_force[schedule.key] = successor

    def look(self) -> Snapshot:
        """What a planner reads."""
        return select((Stored("schedules", 0, schedule) for schedule in self.in_force.values()), "jobs")

    def plan(self, text: str, snapshot: Snapshot, horizon_ms: int | None = None) -> Plan:
        """What it makes of it."""
        standings = desired(text)
        if horizon_ms is None:
            return make_plan(standings, snapshot, self.now_ms)
        return make_horizon_plan(standings, snapshot, self.now_ms, horizon_ms=horizon_ms, lead_ms=LEAD_MS)

    def write(self, plan: Plan) -> None:
        """The plan's transaction commits."""
        for write in plan_writes(plan, "schedules"):
            assert write.key is not None
            self._offset += 1
            if write.value is None:
                self.in_force.pop(write.key, None)
                continue
            fact = decode(write.key, write.value, write.headers, timestamp_ms=self.now_ms, offset=self._offset)
            assert isinstance(fact, Schedule)
            base = self.in_force.get(write.key)
            self.in_force[write.key] = continuing(fact, base) if fact.continues else fact

    def sync(self, text: str, horizon_ms: int | None = None, *, lag_ms: int = 0) -> Plan:
        """Look, let time pass, and write."""
        plan = self.plan(text, self.look(), horizon_ms)
        self.advance(lag_ms)
        self.write(plan)
        return plan
