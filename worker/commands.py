"""Commands as the worker sees them: handed to the guardian process, which says what they print and how they end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import from_json, to_json

from scheduler.clock import Deadline
from scheduler.errors import SchedulerError
from scheduler.runtime.logs import together
from worker.execution import LOOK_SECONDS, RECEIVE_BYTES, UNKILLABLE_SECONDS, Patience
from worker.outcome import Ended
from worker.processes import kill_marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.clock import Clock
    from worker.execution import Command

UNSENT_BYTES = 4096
"""Orders that follow from one piece of news go in one message of about this size: each message wakes the guardian."""
END_SECONDS = UNKILLABLE_SECONDS + 5.0


class GuardianError(SchedulerError):
    """The guardian process has ended before the worker; its commands were killed."""


class Attempt(Protocol):
    """Something that runs and can be stopped."""

    def stop(self) -> None:
        """Ask for its end; the end is told as any other."""
        ...


@dataclass(slots=True)  # not frozen, as `Command`
class _Under:
    """One command under way."""

    tell: Callable[[str], None]
    done: Callable[[Ended], None]


class Commands:
    """Runs commands in a guardian process.

    Args:
        clock: for the limit of what has to end.
        failed: told, once, when nothing can be run any more; from another thread.
        patience: how long what has to end is waited for.
    """

    def __init__(self, clock: Clock, failed: Callable[[BaseException], None], patience: Patience | None = None) -> None:
        self._clock = clock
        self._failed = failed
        self._mark = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._under_way: dict[int, _Under] = {}
        self._last = 0
        self._unsent = bytearray()
        self._closing = False
        patience = patience or Patience()
        self._channel, theirs = socket.socketpair()
        with theirs:
            # -P: what lies in the current directory is no module of ours; the path says where ours are
            self._guardian = subprocess.Popen(  # noqa: S603 - this very program
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "worker.guardian",
                    *map(str, (theirs.fileno(), patience.grace, patience.output)),
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="commands", daemon=True)
        self._reader.start()

    @property
    def guardian(self) -> int:
        """The process id of the guardian."""
        return self._guardian.pid

    def start(self, command: Command, *, tell: Callable[[str], None], done: Callable[[Ended], None]) -> Attempt:
        """Run a command; `tell` gets each line of its output and `done` its end, on another thread.

        Raises:
            GuardianError: nothing can be run any more.
        """
        with self._lock:
            self._last += 1
            number = self._last
            self._under_way[number] = _Under(tell, done)
        order = {
            "run": number,
            "mark": f"{self._mark}-{number}",
            "command": command.command,
            "environment": command.environment,
            "stdin": command.stdin,
            "timeout": command.timeout_seconds,
            "directory": command.directory,
        }
        self._order(order)
        return _Started(self, number)

    def stop(self, number: int) -> None:
        """Ask for the end of a command."""
        self._order({"stop": number})

    def close(self) -> None:
        """Kill what runs, and end the guardian."""
        self._closing = True
        self._channel.shutdown(socket.SHUT_RDWR)
        try:
            self._guardian.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
        self._reader.join()
        self._channel.close()

    def _order(self, order: dict[str, Any]) -> None:
        line = to_json(order) + b"\n"
        with self._lock:
            self._unsent += line  # behind what was ordered before it: a stop must not overtake its start
            # the reader has more news to hear, from which more orders follow
            if threading.current_thread() is not self._reader or len(self._unsent) >= UNSENT_BYTES:
                self._send()

    def _send(self) -> None:
        """Send what is gathered; to be called under the lock."""
        try:
            self._channel.sendall(self._unsent)
        except OSError as error:
            raise GuardianError(f"the guardian process does not take orders any more: {error}") from None
        self._unsent.clear()

    def _read(self) -> None:
        try:
            rest = b""
            while received := self._receive():
                *said, rest = (rest + received).split(b"\n")
                with together():
                    for line in said:
                        self._hear(from_json(line))
                with self._lock:
                    if self._unsent:
                        self._send()
            if not self._closing:
                raise self._lost()
        except BaseException as error:  # noqa: BLE001 - whoever runs commands has to know
            self._failed(error)

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(RECEIVE_BYTES)
        except ConnectionError:
            return b""

    def _hear(self, said: dict[str, Any]) -> None:
        if "lines" in said:
            under = self._under_way[said["lines"]]
            for line in said["told"]:
                under.tell(line)
            return
        with self._lock:
            under = self._under_way.pop(said["ended"])
        under.done(Ended.from_json(said["how"]))

    def _lost(self) -> GuardianError:
        """The guardian has gone, and what it ran is left without one: kill that here."""
        deadline, never = Deadline(self._clock, UNKILLABLE_SECONDS), threading.Event()
        marks = {f"{self._mark}-{number}" for number in self._under_way}
        while marks and kill_marked(marks.__contains__) and not deadline.passed:
            self._clock.wait(never, LOOK_SECONDS)
        code = self._guardian.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return GuardianError(
            f"the guardian process has ended ({how}) and {len(marks)} running commands with it; start the worker again"
        )


@dataclass(slots=True)
class _Started:
    """A command that was handed over."""

    commands: Commands
    number: int

    def stop(self) -> None:
        """Ask for its end."""
        self.commands.stop(self.number)
