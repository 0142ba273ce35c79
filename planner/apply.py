"""Carries out a plan: its records, in one transaction that fences any other planner of the same source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from planner.plan import Cancel, Change, Create, Keep
from scheduler.records import Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.plan import Plan


class Writer(Protocol):
    """Who writes records all together: a `scheduler.client.Writer`."""

    def apply(self, writes: Sequence[Write]) -> None:
        """Write all of the records in one transaction, or none of them."""
        ...


def transactional_id(source: str) -> str:
    """Under which a source is written: a second planner of it fences the first, and one of them wins whole."""
    return f"planner-{source}"


def apply_plan(writer: Writer, plan: Plan, *, topic: str) -> int:
    """Write what the plan asks for, new schedules to the given topic; return the number of records.

    Raises:
        InputError: Kafka refuses a record; nothing is written.
    """
    writes = plan_writes(plan, topic)
    if writes:
        writer.apply(writes)
    return len(writes)


def plan_writes(plan: Plan, topic: str) -> list[Write]:
    """The records of a plan, in its order.

    What replaces or cancels a schedule goes to the partition where it stands; the key's hash decides for
    a new one only.
    """
    return [_write(step, topic) for step in plan.steps if not isinstance(step, Keep)]


def _write(step: Create | Change | Cancel, topic: str) -> Write:
    match step:
        case Create(desired, due_ms):
            return Write(topic, desired.key, desired.payload, desired.headers(due_ms))
        case Change(desired, current, due_ms):
            return Write(
                current.topic,
                desired.key,
                desired.payload,
                desired.headers(due_ms, paused=current.schedule.paused),
                partition=current.partition,
            )
        case Cancel(current):
            return Write(current.topic, current.schedule.key, None, partition=current.partition)
