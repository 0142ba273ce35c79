"""The one clock: wall time for due instants, monotonic time for deadlines.

Everything that needs the time is given a `Clock`; nothing else in the project reads the system's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What a component may know about time."""

    def now_ms(self) -> int:
        """Wall time in Unix milliseconds; it may jump, in either direction."""
        ...

    def seconds_until(self, instant_ms: int) -> float:
        """Seconds from now until the instant, finer than milliseconds; negative once it has passed."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for deadlines and durations."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set or the seconds have passed; tell whether it is set."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall time in Unix milliseconds, rounded down: a schedule is never early by rounding."""
        return time.time_ns() // 1_000_000

    def seconds_until(self, instant_ms: int) -> float:
        """Seconds from now until the instant, from the clock's nanoseconds."""
        return (instant_ms * 1_000_000 - time.time_ns()) / 1e9

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on the event, at most the given seconds."""
        return event.wait(seconds)


class Deadline:
    """A budget of time that is handed through several steps, so that their sum is bounded."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - self._clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the budget is used up."""
        return self._clock.monotonic() >= self._end


@lru_cache(maxsize=1024)  # what happens in one millisecond is written several times: 0.1 us instead of 0.4
def rfc3339(instant_ms: int) -> str:
    """Write an instant in UTC, with milliseconds only where there are any: `2030-01-01T00:00:00Z`."""
    second, ms = divmod(instant_ms, 1000)
    return f"{_to_the_second(second)}.{ms:03d}Z" if ms else f"{_to_the_second(second)}Z"


@lru_cache(maxsize=1024)  # many are written in one second, and a date costs ten times what it costs to look one up
def _to_the_second(second: int) -> str:
    return (_1970 + timedelta(seconds=second)).isoformat(timespec="seconds").removesuffix("+00:00")
