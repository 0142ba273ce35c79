"""Clocks that go right and show another time."""

from __future__ import annotations

from scheduler.clock import SystemClock


class ClockAt(SystemClock):
    """Shows this instant now, and goes on from there."""

    def __init__(self, instant_ms: int) -> None:
        self._ahead_ms = instant_ms - super().now_ms()

    def now_ms(self) -> int:
        """See `Clock`."""
        return super().now_ms() + self._ahead_ms

    def seconds_until(self, instant_ms: int) -> float:
        """See `Clock`."""
        return super().seconds_until(instant_ms - self._ahead_ms)


class ShiftedClock(SystemClock):
    """Is ahead by so much (or behind, below zero), until it is set otherwise."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """See `Clock`."""
        return super().now_ms() + self.ahead_ms

    def seconds_until(self, instant_ms: int) -> float:
        """See `Clock`."""
        return super().seconds_until(instant_ms - self.ahead_ms)
