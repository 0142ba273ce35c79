"""Where a partition stands, as others may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scheduler.engine.life import State


class Standing(NamedTuple):
    """Where a partition stands, as its owner last saw it; read from any thread."""

    state: State
    pending: int
    overdue: int
    next_due_ms: int | None
    postponed: int = 0
    """Due, and waiting for their target."""
    paused: bool = False
    restore_seconds: float | None = None
    """How long the restore took; None until it is over."""
