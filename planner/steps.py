"""What a plan is made of: for each schedule that should be or is in force, what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.occurrences import Planned
    from planner.standing import Standing
    from scheduler.records import Stored

    Desired = Standing | Planned
    """What should be in force: an entry's standing schedule, or one occurrence of it."""

LEAD_MS = 2_000
"""What is due sooner may fire before a plan is carried out."""
RECORDS_A_SECOND = 5_000
"""So many are written in a second even on a busy machine; the lead grows with the plan."""


@dataclass(frozen=True, slots=True)
class Create:
    """Nothing is in force for it; it will first fire at `due_ms`."""

    desired: Desired
    due_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something else is in force for it, under its key or a former one; the new version will next fire at `due_ms`."""

    desired: Desired
    current: Stored
    due_ms: int

    @property
    def hands_over(self) -> bool:
        """Whether it takes another key, which is two schedules to the scheduler."""
        return self.current.schedule.key != self.desired.key


@dataclass(frozen=True, slots=True)
class Keep:
    """What should be in force is; `desired` is None for an occurrence that is left to fire and end by itself."""

    desired: Desired | None
    current: Stored


@dataclass(frozen=True, slots=True)
class Cancel:
    """Something is in force that the crontab does not state, or not in this form."""

    current: Stored


@dataclass(frozen=True, slots=True)
class Later:
    """Another key should take over from one that may fire at any moment: left alone, or a run could come twice."""

    desired: Desired
    current: Stored


Step = Create | Change | Keep | Cancel | Later


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the crontab, cancels last."""

    steps: tuple[Step, ...]
    held: int = 0
    """How many entries of the source are in force."""
    dropped: int = 0
    """How many of them are no longer stated."""
    made_ms: int = 0
    lead_ms: int = LEAD_MS
    doubts: tuple[str, ...] = ()
    """What a person should have meant before it is carried out."""

    def count(self, kind: type[Step]) -> int:
        """How many steps are of that kind."""
        return sum(isinstance(step, kind) for step in self.steps)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do, now or later."""
        return self.count(Keep) < len(self.steps)

    @property
    def waits(self) -> bool:
        """Whether something is left for later."""
        return any(isinstance(step, Later) for step in self.steps)

    @property
    def needed_lead_ms(self) -> int:
        """How long it may take until the plan is carried out."""
        return LEAD_MS + (len(self.steps) - self.count(Keep)) * 1_000 // RECORDS_A_SECOND
