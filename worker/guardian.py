"""The guardian: the process that runs a worker's commands, and lets none of them outlive the worker.

It is the parent of all commands and waits for them in one loop. Its only tie to the worker is a socket; when that
closes (the worker has ended, or was killed with SIGKILL, which nobody can handle), it kills what still runs and ends.
The worker's process keeps the interpreter for its own work: starting a process blocks for as long as the system
takes, which is most of what a short job costs.

Both sides write one JSON object a line.
To the guardian: `{"run": n, "mark": .., "command": .., ..}`, `{"stop": n}`.
From it: `{"lines": n, "told": [..]}`, `{"ended": n, "how": {..}}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from scheduler.clock import Deadline, SystemClock
from worker.execution import LOOK_SECONDS, NEVER, UNKILLABLE_SECONDS, Command, Execution, Patience
from worker.processes import find, kill_marked, send

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from scheduler.clock import Clock

RECEIVE_BYTES = 256 * 1024
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
        self._null = os.open(os.devnull, os.O_RDWR)
        self._earliest = NEVER
        channel.settimeout(0)
        self._wakes, self._wake = socket.socketpair()
        for end in (self._wakes, self._wake):
            end.settimeout(0)
        self._all = selectors.DefaultSelector()
        self._pipes_apart = selectors.DefaultSelector()
        for selector in (self._all, self._pipes_apart):
            selector.register(channel, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the worker has gone; then kill what runs."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
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
            elif key.fileobj is self._wakes:
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
            for order in orders:
                self._obey(json.loads(order))
        return bool(received)

    def _obey(self, order: dict[str, Any]) -> None:
        if "stop" in order:
            execution = self._executions.get(order["stop"])
            if execution is not None:
                execution.stop()
                self._settle(execution)
            return
        command = Command(order["command"], order["environment"], order["stdin"], order["timeout"], order["directory"])
        execution = Execution(
            order["run"],
            command,
            mark=order["mark"],
            clock=self._clock,
            patience=self._patience,
            selector=self._all,
        )
        self._executions[execution.number] = execution
        process = execution.start(self._null)
        if process:
            self._processes[process] = execution
        self._settle(execution)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakes.recv(4096)
        for process in self._exited():
            execution = self._processes.pop(process)
            if execution.ended is None:
                execution.look_for_exit()
                self._settle(execution)

    def _exited(self) -> Iterator[int]:
        """The commands whose main process has exited; each is reaped before the next is named."""
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            yield from [process for process, execution in self._processes.items() if execution.reaped()]
            return
        while self._processes:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if found is None:
                break
            if (execution := self._processes.get(found.si_pid)) is None:
                os.waitpid(found.si_pid, 0)  # none of ours, and nobody else would do it
                continue
            execution.reaped()
            yield found.si_pid
        # those that were reaped in passing, while they were told to end
        yield from [process for process, execution in self._processes.items() if execution.ended is not None]

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
        if execution.ended is not None:
            del self._executions[execution.number]
            self._put({"ended": execution.number, "how": execution.ended.as_json()})

    def _put(self, said: dict[str, Any]) -> None:
        self._outbox += json.dumps(said).encode() + b"\n"

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
    # what ends the worker must not end the guardian before it; a handler, unlike SIG_IGN, is not inherited by commands
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _pass_by)
    signal.signal(signal.SIGCHLD, _pass_by)
    Guardian(channel, Patience(float(sys.argv[2]), float(sys.argv[3])), SystemClock()).run()


def _pass_by(_number: int, _frame: FrameType | None) -> None:
    pass


if __name__ == "__main__":
    main()
