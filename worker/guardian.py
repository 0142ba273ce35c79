"""The guardian: the process that runs a worker's commands, and lets none of them outlive the worker.

It is the parent of all commands and waits for them in one loop. Its only tie to the worker is a socket; when that
closes (the worker has ended, or was killed with SIGKILL, which nobody can handle), it kills what still runs and ends.
The worker's process keeps the interpreter for its own work: starting a process blocks for as long as the system
takes, which is most of what a short job costs.

Both sides write one JSON object a line.
To the guardian: `{"run": n, "mark": .., "command": .., ..}`, `{"stop": n}`.
From it: `{"lines": n, "told": [..]}`, `{"ended": n, "how": {..}}`; null is how one ends that succeeds and says nothing.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from scheduler.clock import Deadline, SystemClock
from worker.execution import LOOK_SECONDS, NEVER, RECEIVE_BYTES, UNKILLABLE_SECONDS, Command, Execution, Patience
from worker.processes import find, kill_marked, send
from worker.processor import as_any_other
from worker.spawning import Spawner

if TYPE_CHECKING:
    from types import FrameType

    from scheduler.clock import Clock

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a command gets of the worker's environment; the rest may hold the worker's own secrets."""
CONGESTED_BYTES = 1024 * 1024
"""With so much that the worker has not taken, no output is read: the commands wait in their writes."""
IDLE_SECONDS = 60.0


class Guardian:
    """Runs commands until the channel closes."""

    def __init__(self, channel: socket.socket, patience: Patience, clock: Clock) -> None:
        self._channel = channel
        self._patience = patience
        self._clock = clock
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._executions: dict[int, Execution] = {}
        self._processes: dict[int, Execution] = {}
        # known here, and not told with each order: it may hold what is no UTF-8, and so no JSON
        self._passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._spawner = Spawner()
        self._earliest = NEVER
        channel.settimeout(0)
        self._wakes, self._wake = os.pipe()
        for end in (self._wakes, self._wake):
            os.set_blocking(end, False)
        self._all = selectors.DefaultSelector()
        self._pipes_apart = selectors.DefaultSelector()
        for selector in (self._all, self._pipes_apart):
            selector.register(channel, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the worker has gone; then kill what runs."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        while self._attend():
            pass
        self._kill_all()

    def _attend(self) -> bool:
        """One round; False once the worker has gone."""
        selector = self._pipes_apart if len(self._outbox) > CONGESTED_BYTES else self._all
        seconds = max(0.0, min(IDLE_SECONDS, self._earliest - self._clock.monotonic()))
        there = True
        for key, events in selector.select(seconds):
            if key.fileobj is self._channel:
                if events & selectors.EVENT_READ:
                    there = self._receive()
            elif key.fd == self._wakes:
                self._reap()
            else:
                execution: Execution = key.data
                if execution.ended is None:  # not in this very round
                    execution.ready(events)
                    self._settle(execution)
        if self._clock.monotonic() >= self._earliest:
            self._look()
        return there and self._send()

    def _receive(self) -> bool:
        try:
            received = self._channel.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self._inbox += received
        if b"\n" in received:
            *orders, self._inbox = self._inbox.split(b"\n")
            with as_any_other():
                for order in orders:
                    self._obey(from_json(order))
        return bool(received)

    def _obey(self, order: dict[str, Any]) -> None:
        if "stop" in order:
            execution = self._executions.get(order["stop"])
            if execution is not None:
                execution.stop()
                self._settle(execution)
            return
        environment = {**self._passed_on, **order["environment"]}
        command = Command(order["command"], environment, order["stdin"], order["timeout"], order["directory"])
        execution = Execution(
            order["run"],
            command,
            mark=order["mark"],
            clock=self._clock,
            patience=self._patience,
            selector=self._all,
        )
        self._executions[execution.number] = execution
        execution.start(self._spawner)
        if execution.process:
            self._processes[execution.process] = execution
        self._settle(execution)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            execution = self._processes.pop(process, None)
            if execution is not None:  # else it is none of ours, or was given up
                execution.exited(os.waitstatus_to_exitcode(status))
                self._settle(execution)

    def _look(self) -> None:
        now = self._clock.monotonic()
        self._earliest = NEVER
        for execution in list(self._executions.values()):
            if execution.wake_at <= now:
                execution.look()
            self._settle(execution)

    def _settle(self, execution: Execution) -> None:
        """Pass on what it said, and how it ended."""
        self._earliest = min(self._earliest, execution.wake_at)
        if execution.told:
            self._put({"lines": execution.number, "told": execution.told})
            execution.told.clear()
        if execution.ended is not None and execution.number in self._executions:
            del self._executions[execution.number]
            if self._processes.get(execution.process) is execution:  # it was reaped in passing, or given up
                del self._processes[execution.process]
            self._put({"ended": execution.number, "how": execution.ended.as_json()})

    def _put(self, said: dict[str, Any]) -> None:
        self._outbox += to_json(said) + b"\n"

    def _send(self) -> bool:
        if self._outbox:
            try:
                del self._outbox[: self._channel.send(self._outbox)]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionError):
                return False
        events = selectors.EVENT_READ | selectors.EVENT_WRITE if self._outbox else selectors.EVENT_READ
        if self._all.get_key(self._channel).events != events:
            for selector in (self._all, self._pipes_apart):
                selector.modify(self._channel, events)
        return True

    def _kill_all(self) -> None:
        """KILL what runs, in its group and out of it, until nothing is left that could be found."""
        families = [execution.family for execution in self._executions.values()]
        if not families:
            return
        marks = {family.mark for family in families}
        leaders = [leader for family in families if (leader := family.leader) is not None]
        # found before the first is killed: whose parent has gone is nobody's descendant any more
        found = find(marks.__contains__, leaders)
        for family in families:
            family.signal_group(signal.SIGKILL)
        send(signal.SIGKILL, found)
        deadline, never = Deadline(self._clock, UNKILLABLE_SECONDS), threading.Event()
        while kill_marked(marks.__contains__) and not deadline.passed:
            self._clock.wait(never, LOOK_SECONDS)


def main() -> None:
    """Started by `commands` with the socket's descriptor and two durations in seconds."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)  # nor is any other here: a command that held it would hide this process's end
    # what ends the worker must not end the guardian before it; a handler, unlike SIG_IGN, is not inherited by commands
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _pass_by)
    signal.signal(signal.SIGCHLD, _pass_by)
    Guardian(channel, Patience(float(sys.argv[2]), float(sys.argv[3])), SystemClock()).run()


def _pass_by(_number: int, _frame: FrameType | None) -> None:
    pass


if __name__ == "__main__":
    main()
