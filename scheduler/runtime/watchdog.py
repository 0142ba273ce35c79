"""Notices calls that do not return though they were given a time: says so once, with the stack, until they do.

The Kafka client has calls that ignore their timeout where a broker goes away at the wrong moment. A thread that is in
one can neither be woken nor ended, and what it holds stands still. Nobody but the process' supervisor can help: it is
told, through /liveness. The process does not end by itself, for the fault may pass.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Self

from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from scheduler.clock import Clock

PATIENCE = 3.0
"""How many times its own limit a call may take. The limits are met on a slow machine, too; three times them are not."""
TICK_SECONDS = 1.0
ASLEEP_SECONDS = 5.0
"""Between two looks of this thread: longer, and the process has stood still, and its calls with it."""

log = logging.getLogger("watchdog")


class Call:
    """A call under way: `with watchdog.call("commit", 5.0, topic="schedules", partition=3): ...`."""

    def __init__(self, watchdog: Watchdog, name: str, limit: float, where: dict[str, object]) -> None:
        self.name = name
        self.limit = limit
        self.where = where
        self.thread = 0
        self.since = 0.0
        self.told = False
        self._watchdog = watchdog

    def __enter__(self) -> Self:
        """It begins."""
        self._watchdog.begins(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It has returned, or raised."""
        self._watchdog.ends(self)

    def __str__(self) -> str:
        """What it is about, on one line."""
        return " ".join((self.name, *(f"{name}={value}" for name, value in self.where.items())))


class Watchdog:
    """Looks once a second, on a thread of its own; calls are entered from any thread, for a microsecond or two.

    Args:
        clock: for how long they take.
        report: is told how many are stuck, whenever that changes.
    """

    def __init__(self, clock: Clock, report: Callable[[int], None] = lambda _stuck: None) -> None:
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._calls: set[Call] = set()
        self._looked = clock.monotonic()

    def call(self, name: str, seconds: float, **where: object) -> Call:
        """A call that should take no longer than the seconds; `where` tells people which one of its kind it is."""
        return Call(self, name, seconds, where)

    @property
    def stuck(self) -> list[str]:
        """The calls that do not return; from any thread."""
        with self._lock:
            return sorted(str(call) for call in self._calls if call.told)

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not self._clock.wait(stop, TICK_SECONDS):
            self.look()

    def look(self) -> None:
        """Tell of each call that has taken too long by now, once."""
        now = self._clock.monotonic()
        asleep = now - self._looked - TICK_SECONDS
        self._looked = now
        with self._lock:
            if asleep >= ASLEEP_SECONDS:
                for call in self._calls:
                    call.since += asleep
            late = [call for call in self._calls if not call.told and now - call.since > PATIENCE * call.limit]
            for call in late:
                call.told = True
        if late:
            self._report(len(self.stuck))  # before the lines with their stacks, which take their time
        for call in late:
            log.error(
                "a call does not return",
                extra=fields(
                    call=call.name, **call.where, seconds=now - call.since, limit=call.limit, stack=_stack(call.thread)
                ),
            )

    def begins(self, call: Call) -> None:
        """See `Call`."""
        call.thread = threading.get_ident()
        call.since = self._clock.monotonic()
        with self._lock:
            self._calls.add(call)

    def ends(self, call: Call) -> None:
        """See `Call`."""
        with self._lock:
            self._calls.discard(call)
        if call.told:
            seconds = self._clock.monotonic() - call.since
            log.warning("the call has returned", extra=fields(call=call.name, **call.where, seconds=seconds))
            self._report(len(self.stuck))


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - what the interpreter has for this very purpose
    return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"
