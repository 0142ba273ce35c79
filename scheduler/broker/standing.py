"""Where a partition stands, as others may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler.engine.life import State

if TYPE_CHECKING:
    from scheduler.engine.partition import PartitionEngine


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

    @property
    def restores(self) -> bool:
        """Whether nothing has fired yet, and something is to."""
        return self.restore_seconds is None and self.state is State.RESTORING

    @classmethod
    def of(cls, engine: PartitionEngine, now_ms: int, restore_seconds: float | None) -> Standing:
        """As the engine's own thread sees it."""
        pending = engine.pending
        return cls(
            engine.state,
            len(pending),
            pending.overdue(now_ms),
            pending.next_due_ms(),
            engine.postponed,
            engine.paused,
            restore_seconds,
        )
