"""Gives memory back to the system that only a restore has needed."""

from __future__ import annotations

import ctypes
import logging
import threading
from typing import TYPE_CHECKING

from scheduler.broker.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.broker.beginning import Start
    from scheduler.clock import Clock
    from scheduler.engine.settlement import Place

SETTLE_SECONDS = 0.5
"""Partitions are restored side by side, and the client frees what it has read ahead."""

log = logging.getLogger("scheduler.memory")


class Memory(Observer):
    """After a restore the C library keeps what the Kafka client has freed: of a million records, 200 MB of 250.

    Args:
        clock: for pauses.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wanted = threading.Event()
        self._trim = _malloc_trim()

    def restored(self, place: Place, start: Start) -> None:  # noqa: ARG002 - the process has one memory
        """Some is to be given back before long."""
        self.give_back()

    def give_back(self) -> None:
        """The same, from any thread."""
        self._wanted.set()

    def run(self, stop: threading.Event) -> None:
        """Give back after each restore, until told to stop; nothing waits for it: it takes tens of milliseconds."""
        while self._trim is not None and not self._clock.wait(stop, SETTLE_SECONDS):
            if self._wanted.is_set():
                self._wanted.clear()
                self._clock.wait(stop, SETTLE_SECONDS)
                self._trim(0)
                log.debug("memory given back")


def _malloc_trim() -> Callable[[int], int] | None:
    """The call of the GNU C library; other systems' give back by themselves, or cannot be asked."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
