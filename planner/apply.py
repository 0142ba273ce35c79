"""Carries out a plan: its records, in one transaction that fences any other planner of the same source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from planner.plan import Action
from scheduler.records import Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.plan import Plan, Step


class Writer(Protocol):
    """Who writes records all together: a `SchedulerClient`."""

    def apply(self, writes: Sequence[Write], *, transactional_id: str) -> None:
        """Write all of the records in one transaction, or none of them."""
        ...


def apply_plan(client: Writer, plan: Plan, *, source: str, topic: str) -> int:
    """Write what the plan asks for, new schedules to the given topic; return the number of records.

    Raises:
        InputError: Kafka refuses a record; nothing is written.
        BrokerUnavailableError: the brokers do not answer, or another planner of the source took over.
    """
    writes = plan_writes(plan, topic)
    if writes:
        client.apply(writes, transactional_id=f"planner-{source}")
    return len(writes)


def plan_writes(plan: Plan, topic: str) -> list[Write]:
    """The records of a plan, in its order.

    What replaces or cancels a schedule goes to the partition where it stands; the key's hash decides for
    a new one only.
    """
    return [_write(step, topic) for step in plan.steps if step.action is not Action.KEEP]


def _write(step: Step, topic: str) -> Write:
    at = step.current
    if step.desired is None:
        if at is None:
            raise AssertionError("a step without a desired and a current schedule")
        return Write(at.topic, at.schedule.key, None, partition=at.partition)
    return Write(
        topic if at is None else at.topic,
        step.desired.key,
        step.desired.payload,
        step.desired.headers(step.due_ms),
        None if at is None else at.partition,
    )
