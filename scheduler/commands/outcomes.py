"""Waits in the history for what became of a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.clock import Deadline
from scheduler.errors import SchedulerError
from scheduler.schedule import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.clock import Clock
    from scheduler.history import HistoryEvent
    from scheduler.reading import ScheduleReader
    from scheduler.records import Stored


class _Passed:
    """A deadline as what a reader asks whether to stop."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def is_set(self) -> bool:
        return self._deadline.passed


def answers_cancel(stored: Stored, event: HistoryEvent) -> bool:
    """Whether the event tells how a cancelled schedule ended: cancelled, or the firing that came first."""
    schedule = stored.schedule
    if event.schedule_id != schedule.schedule_id:
        return False
    if event.outcome == Outcome.CANCELLED:
        return True
    # what a recurring one does before the cancel is not its end
    return schedule.rule is None and event.fire_id == schedule.fire_id


def answers_fire(stored: Stored, fired_ms: int, event: HistoryEvent) -> bool:
    """Whether the event tells what became of a firing that was asked for."""
    return (
        event.schedule_id == stored.schedule.schedule_id
        and event.outcome != Outcome.REJECTED
        and event.due_ms is not None
        and event.due_ms >= fired_ms
    )


def events(reader: ScheduleReader, begin: Mapping[int, int], clock: Clock, seconds: float) -> Iterator[HistoryEvent]:
    """What the history tells from these offsets on; ends with an error when the time is over.

    Raises:
        SchedulerError: the time is over.
    """
    yield from reader.history(start=begin, follow=_Passed(Deadline(clock, seconds)))
    raise SchedulerError(
        f"the history tells nothing of it after {seconds:g} s; the record is written, and a replica will act on it. "
        "Does one run? See scheduler doctor"
    )
