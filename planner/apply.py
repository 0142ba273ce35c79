"""Carries out a plan: its records, in one transaction that fences any other planner of the same source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from planner.occurrences import Planned
from planner.steps import Cancel, Change, Create
from scheduler.records import Write
from scheduler.wire import CONTINUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.steps import Plan, Step


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
    return [write for step in plan.steps for write in _writes(step, topic)]


def _writes(step: Step, topic: str) -> Iterator[Write]:
    match step:
        case Create(desired, due_ms):
            yield Write(topic, desired.key, desired.payload, desired.headers(due_ms))
        case Change(desired, current, due_ms) if step.hands_over:
            headers = desired.headers(due_ms, paused=current.schedule.paused)
            yield Write(topic, desired.key, desired.payload, headers)
            yield Write(current.topic, current.schedule.key, None, partition=current.partition)
        case Change(desired, current, due_ms):
            headers = desired.headers(due_ms, paused=current.schedule.paused)
            if not isinstance(desired, Planned):
                # it may fire before this is written: then it goes on where it stands
                headers.append((CONTINUES, b"true"))
            yield Write(current.topic, desired.key, desired.payload, headers, partition=current.partition)
        case Cancel(current):
            yield Write(current.topic, current.schedule.key, None, partition=current.partition)
