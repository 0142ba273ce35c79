"""File descriptors: each partition's producer takes eight and one more per broker, so that 64 use up the usual 1,024.

The Kafka client says of a connection that it has no descriptor for only that it timed out. Here the reason is told.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
from typing import TYPE_CHECKING

from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    import threading

    from scheduler.clock import Clock

LOOK_SECONDS = 1.0
CALM_SECONDS = 60.0
"""How long there have to be some again before a further shortage is told: it comes and goes with every connection."""

log = logging.getLogger("descriptors")


def raise_limit() -> None:
    """Let this process open as many as it may: the soft limit is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Descriptors:
    """Says when none is left; looks once a second, for some microseconds.

    Args:
        clock: for how long there have been some again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calm_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not self._clock.wait(stop, LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Tell of a shortage, once while it lasts."""
        if _one_is_left():
            return
        now = self._clock.monotonic()
        if now >= self._calm_at:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error(
                "no file descriptor is left: some partitions cannot fire; raise the limit, as with ulimit -n 65536",
                extra=fields(limit=soft),
            )
        self._calm_at = now + CALM_SECONDS


def _one_is_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return False
        raise
    return True
