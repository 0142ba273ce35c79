"""One command, from its start to the end of its last process that has to end.

A single thread waits for output, input, exit, timeout and a request to stop at once. The end of the command is the end
of its main process: what it left in the background may hold the pipe, and is read for a moment longer, no more.
Stopping is TERM to all its processes, a grace, and KILL to those that are left.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING

from scheduler.durations import format_duration
from worker.output import Capture, Output
from worker.processes import MARK, Family
from worker.watch import LOOK_SECONDS, Watch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from scheduler.clock import Clock

SHELL = "/bin/sh"
GRACE_SECONDS = 5.0
OUTPUT_GRACE_SECONDS = 1.0
"""How long output is read after the main process has ended, where a process in the background holds the pipe."""
UNKILLABLE_SECONDS = 10.0
"""How long after KILL a process may hang in the kernel before the slot is used again without it."""
CHUNK_BYTES = 64 * 1024
NEVER = float("inf")


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. A text goes to the shell, a list is run as it is."""

    command: str | list[str]
    environment: Mapping[str, str]
    stdin: str | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `exit` is for people: `exit 0`, `killed by SIGKILL`, `timed out after 2s`."""

    outcome: Outcome
    exit: str
    output: Output
    exit_code: int | None = None
    signal: str | None = None
    stopped: bool = False
    """Ended on request of the worker: nothing is known of the job itself."""


class Execution:
    """Runs one command, once."""

    def __init__(
        self,
        command: Command,
        *,
        clock: Clock,
        tell: Callable[[str], None],
        stop: threading.Event,
        grace_seconds: float = GRACE_SECONDS,
        output_grace_seconds: float = OUTPUT_GRACE_SECONDS,
    ) -> None:
        self._command = command
        self._clock = clock
        self._stop = stop
        self._grace = grace_seconds
        self._output_grace = output_grace_seconds
        self._capture = Capture(tell, clock)
        self._family = Family()
        self._input = memoryview((command.stdin or "").encode())
        self._stopping_for: Outcome | None = None
        self._kill_at = self._give_up_at = NEVER

    def run(self) -> Ended:
        """Run the command to its end; `tell` is called with each line of output, on this thread."""
        try:
            process = self._start()
        except (OSError, ValueError) as error:
            return Ended(Outcome.FAILED, f"could not start: {error}", self._capture.close())
        self._family.lead_by(process)
        try:
            with Watch(process) as watch:
                self._attend(process, watch)
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        return self._ended(process)

    def _start(self) -> subprocess.Popen[bytes]:
        given = self._command.command
        return subprocess.Popen(  # noqa: S603 - to run what the job says is what a worker is for
            [SHELL, "-c", given] if isinstance(given, str) else given,
            env={**self._command.environment, MARK: self._family.mark},
            stdin=subprocess.DEVNULL if self._command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )

    def _attend(self, process: subprocess.Popen[bytes], watch: Watch) -> None:
        timeout = self._command.timeout_seconds
        timeout_at = NEVER if timeout is None else self._clock.monotonic() + timeout
        output_until = NEVER
        while True:
            wake_at = min(timeout_at, output_until) if self._stopping_for is None else self._kill_at
            for pipe in watch.ready(wake_at - self._clock.monotonic()):
                self._transfer(pipe, process, watch)
            now = self._clock.monotonic()
            exited = process.poll() is not None
            if exited and output_until == NEVER:
                output_until = now + self._output_grace
            if self._stopping_for is not None:
                if self._stopped(now, exited=exited):
                    self._drain(process, watch)
                    return
            elif exited:
                if not watch.reading or now >= output_until:
                    return
            elif now >= timeout_at:
                self._begin_stop(Outcome.TIMED_OUT, now)
            elif self._stop.is_set():
                self._begin_stop(Outcome.KILLED, now)

    def _transfer(self, pipe: IO[bytes], process: subprocess.Popen[bytes], watch: Watch) -> None:
        if pipe is process.stdout:
            chunk = os.read(pipe.fileno(), CHUNK_BYTES)
            if chunk:
                self._capture.feed(chunk)
            else:
                watch.forget(pipe)
            return
        try:
            written = os.write(pipe.fileno(), self._input[:CHUNK_BYTES])
        except BrokenPipeError:
            written = len(self._input)  # the command does not want the rest
        self._input = self._input[written:]
        if not self._input:
            watch.forget(pipe)
            pipe.close()

    def _drain(self, process: subprocess.Popen[bytes], watch: Watch) -> None:
        """Read what is there already, at most what a pipe holds."""
        for _ in range(16):
            ready = [pipe for pipe in watch.ready(0) if pipe is process.stdout]
            if not ready:
                return
            self._transfer(ready[0], process, watch)

    def _begin_stop(self, outcome: Outcome, now: float) -> None:
        self._stopping_for = outcome
        self._kill_at = now + self._grace
        self._family.signal(signal.SIGTERM)

    def _stopped(self, now: float, *, exited: bool) -> bool:
        """Whether nothing that could be found is left; KILL, again and again, once the grace is over."""
        if now >= self._kill_at:
            self._kill_at = now + LOOK_SECONDS
            self._give_up_at = min(self._give_up_at, now + UNKILLABLE_SECONDS)
            self._family.signal(signal.SIGKILL)
        if exited and not self._family.alive():
            self._family.signal(signal.SIGKILL)  # what they forked since TERM has no grace of its own
            return True
        return now >= self._give_up_at

    def _ended(self, process: subprocess.Popen[bytes]) -> Ended:
        output = self._capture.close()
        code = process.returncode
        name = _signal_name(-code) if code is not None and code < 0 else None
        exit_code = code if code is not None and code >= 0 else None
        if self._stopping_for is Outcome.TIMED_OUT:
            limit = format_duration(round((self._command.timeout_seconds or 0) * 1000))
            return Ended(Outcome.TIMED_OUT, f"timed out after {limit}", output, exit_code, name)
        if self._stopping_for is Outcome.KILLED:
            return Ended(Outcome.KILLED, "stopped by the worker", output, exit_code, name, stopped=True)
        if name is not None:
            return Ended(Outcome.KILLED, f"killed by {name}", output, None, name)
        outcome = Outcome.SUCCEEDED if code == 0 else Outcome.FAILED
        return Ended(outcome, f"exit {code}", output, exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal
