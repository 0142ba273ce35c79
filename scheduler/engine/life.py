"""A partition's life as a transition table; `docs/` draws its diagram from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a partition stands."""

    RESTORING = "restoring"  # reading its log; nothing fires
    RUNNING = "running"  # firing
    RECOVERING = "recovering"  # a transaction's outcome is unknown; reading it from the log; nothing fires
    CLOSED = "closed"  # not ours any more


class Fact(StrEnum):
    """What can happen to it."""

    CAUGHT_UP = "caught up"  # fenced the previous owner and read everything that owner can have written
    UNCERTAIN = "uncertain"  # a transaction raised, timed out or took too long
    LOST = "lost"  # revoked, lost, fenced or stopped


TRANSITIONS: Final[dict[tuple[State, Fact], State]] = {
    (State.RESTORING, Fact.CAUGHT_UP): State.RUNNING,
    (State.RESTORING, Fact.LOST): State.CLOSED,
    (State.RUNNING, Fact.UNCERTAIN): State.RECOVERING,
    (State.RUNNING, Fact.LOST): State.CLOSED,
    (State.RECOVERING, Fact.CAUGHT_UP): State.RUNNING,
    (State.RECOVERING, Fact.LOST): State.CLOSED,
    (State.CLOSED, Fact.LOST): State.CLOSED,
}


class ImpossibleTransitionError(Exception):
    """A fact that cannot happen in this state: a defect, never a user's doing."""


def after(state: State, fact: Fact) -> State:
    """The state that follows; whatever the table does not name is a defect and raises."""
    try:
        return TRANSITIONS[state, fact]
    except KeyError:
        raise ImpossibleTransitionError(f"{fact.value} while {state.value}") from None
