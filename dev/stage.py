"""The processes of the demo: started with their events as JSON, watched, and ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.clock import Clock

Event = dict[str, Any]

STOP_SECONDS = 4.0


class Actor:
    """One program of the product as a process, in a group that Ctrl-C does not reach and that ends with this one."""

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], hear: Callable[[Event], None], group: int
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=8)
        self._hear = hear
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **environment, "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=group,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            try:
                event = json.loads(line)
            except ValueError:
                self.last_lines.append(line.rstrip())
                continue
            self.last_lines.append(f"{event.get('level')} {event.get('event')} {event.get('detail', '')}".rstrip())
            self._hear({**event, "actor": self.name})

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """SIGTERM, as an operator would."""
        if self._process.poll() is None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for its end; what does not end in time is killed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1)


def end_all(actors: list[Actor], clock: Clock) -> None:
    """Ask all of them at once, and see that none is left."""
    for actor in actors:
        actor.ask_to_stop()
    end_at = clock.monotonic() + STOP_SECONDS
    for actor in actors:
        actor.end(max(0.05, end_at - clock.monotonic()))


class Terminal:
    """While taken, Ctrl-C reaches this program alone: a `make` above it lives on and passes its exit code up."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._group_before = 0

    def take(self) -> None:
        """Become the terminal's foreground group, where there is a terminal and we are in its foreground."""
        try:
            fd = os.open("/dev/tty", os.O_RDWR)
        except OSError:
            return
        if os.tcgetpgrp(fd) != os.getpgrp() or os.getpid() == os.getpgrp():
            os.close(fd)
            return
        self._fd, self._group_before = fd, os.getpgrp()
        os.setpgid(0, 0)
        self._hand_to(os.getpgrp())

    def give_back(self) -> None:
        """Let the terminal have the group that it had."""
        if self._fd is not None:
            self._hand_to(self._group_before)
            os.close(self._fd)
            self._fd = None

    def _hand_to(self, group: int) -> None:
        # a background group that does this is stopped by SIGTTOU unless it ignores it
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(self._fd or 0, group)
        finally:
            signal.signal(signal.SIGTTOU, before)
