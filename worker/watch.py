"""Waits for the pipes and the exit of a process, on one thread."""

from __future__ import annotations

import os
import selectors
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    import subprocess

LOOK_SECONDS = 0.1
"""The longest wait, for those who look at something else as well."""
UNNOTICED_EXIT_SECONDS = 0.01
"""How often the exit is looked for where the system has no pidfd that would tell."""


class Watch:
    """Waits for the pipes and the exit of a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._selector = selectors.DefaultSelector()
        self._pipes: set[IO[bytes]] = set()
        self._output = process.stdout
        self._pidfd = -1
        for pipe, events in ((process.stdout, selectors.EVENT_READ), (process.stdin, selectors.EVENT_WRITE)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, events, pipe)
                self._pipes.add(pipe)
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            return  # macOS, an old kernel, or a sandbox without it: the exit is looked for instead
        self._selector.register(self._pidfd, selectors.EVENT_READ)

    @property
    def reading(self) -> bool:
        """Whether the output has not ended."""
        return self._output in self._pipes

    def ready(self, seconds: float) -> list[IO[bytes]]:
        """Wait a little, at most the given seconds, and return what can be read or written."""
        longest = LOOK_SECONDS if self._pidfd >= 0 else UNNOTICED_EXIT_SECONDS
        found = {key.fd: key.data for key, _ in self._selector.select(max(0.0, min(longest, seconds)))}
        if self._pidfd in found:
            # said once is enough: it stays readable, and would turn the wait into a spin
            self._selector.unregister(self._pidfd)
        return [pipe for pipe in found.values() if pipe is not None]

    def forget(self, pipe: IO[bytes]) -> None:
        """Wait for this one no longer."""
        self._pipes.discard(pipe)
        self._selector.unregister(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
