"""A clock whose wall time is moved by request; deadlines and pauses stay those of the machine."""

from __future__ import annotations

import math
from typing import NamedTuple

from scheduler.clock import SystemClock


class _Shown(NamedTuple):
    """What the clock shows: an instant at which it stands, or the machine's time and so much more."""

    stands_at_ms: int | None
    ahead_ms: int


class VirtualClock(SystemClock):
    """Safe from any thread. It moves nobody who waits: see `scheduler.mini.timekeeper`.

    Args:
        now_ms: what it shows first (Unix ms); the machine's time without it.
        running: whether it goes on from there, as fast as the machine's.
    """

    def __init__(self, now_ms: int | None = None, *, running: bool = True) -> None:
        self._shown = _Shown(None, 0)
        if now_ms is not None:
            self.set(now_ms)
        if not running:
            self.stand()

    @property
    def running(self) -> bool:
        """Whether its time passes by itself."""
        return self._shown.stands_at_ms is None

    def set(self, instant_ms: int) -> None:
        """Show this instant; it stands or runs as before."""
        stands = self._shown.stands_at_ms is not None
        self._shown = _Shown(instant_ms, 0) if stands else _Shown(None, instant_ms - super().now_ms())

    def stand(self) -> None:
        """Stand still at what it shows."""
        self._shown = _Shown(self.now_ms(), 0)

    def run(self) -> None:
        """Go on from what it shows."""
        self._shown = _Shown(None, self.now_ms() - super().now_ms())

    def now_ms(self) -> int:
        """See `Clock`."""
        stands_at_ms, ahead_ms = self._shown
        return super().now_ms() + ahead_ms if stands_at_ms is None else stands_at_ms

    def seconds_until(self, instant_ms: int) -> float:
        """See `Clock`; it never comes to an instant behind the one at which it stands."""
        stands_at_ms, ahead_ms = self._shown
        if stands_at_ms is None:
            return super().seconds_until(instant_ms - ahead_ms)
        return math.inf if instant_ms > stands_at_ms else (instant_ms - stands_at_ms) / 1000
