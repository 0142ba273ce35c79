"""One command, from its start to the end of its last process that has to end, as a state machine.

Whoever drives it (`guardian`) tells it what happened: a pipe is ready, the process has exited, its time has come, it
is to stop. The end of the command is the end of its main process: what it left in the background may hold the pipe,
and is read for a moment longer, no more. Stopping is TERM to all its processes, a grace, and KILL to those that are
left.
"""

from __future__ import annotations

import os
import selectors
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.durations import format_duration
from worker.outcome import NO_OUTPUT, SILENT_SUCCESS, Ended, Outcome
from worker.output import Capture
from worker.processes import MARK, Family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.clock import Clock
    from worker.output import Output
    from worker.spawning import Leader, Spawner

SHELL = "/bin/sh"
UNKILLABLE_SECONDS = 10.0
"""How long after KILL a process may hang in the kernel before the slot is used again without it."""
LOOK_SECONDS = 0.1
"""How often it is looked whether what was told to end has ended."""
WATCH_SECONDS = 0.01
"""What ends sooner is read once it has ended: to watch a pipe, and to be woken when it closes, costs 40 us."""
CHUNK_BYTES = 64 * 1024
CHUNKS_AT_END = 16
"""What may be left in a pipe, a little more: what somebody still writes is not waited for."""
NEVER = float("inf")
RECEIVE_BYTES = 64 * 1024
"""Of the channel between worker and guardian; more, and the allocator asks the system for it each time."""


@dataclass(slots=True)  # not frozen: that makes a new one three times as dear
class Command:
    """What to run. A text goes to the shell, a list is run as it is."""

    command: str | list[str]
    environment: Mapping[str, str]
    stdin: str | None = None
    timeout_seconds: float | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what has to end is waited for, in seconds."""

    grace: float = 5.0
    """From TERM to KILL."""
    output: float = 1.0
    """How long output is read after the main process has ended, where a process in the background holds the pipe."""


class Execution:
    """Runs one command, once.

    Its pipes are registered at the selector with the execution as data: `ready` is to be called with their events. A
    short command's never are.

    Attributes:
        number: whatever the driver calls it.
        told: lines of output that nobody has taken yet.
        ended: how it ended; None until then.
        wake_at: when `look` is to be called, by the clock's monotonic time.
    """

    def __init__(
        self,
        number: int,
        command: Command,
        *,
        mark: str,
        clock: Clock,
        patience: Patience,
        selector: selectors.BaseSelector,
    ) -> None:
        self.number = number
        self.mark = mark
        self.told: list[str] = []
        self._command = command
        self._clock = clock
        self._patience = patience
        self._selector = selector

    # what most of them never come to need
    ended: Ended | None = None
    wake_at = NEVER
    _process: Leader | None = None
    _family: Family | None = None
    _capture: Capture | None = None
    _output: int | None = None
    _input: int | None = None
    _left = memoryview(b"")
    _watched = False
    _watch_at = _timeout_at = _kill_at = _give_up_at = _output_until = NEVER
    _stopping_for: Outcome | None = None

    @property
    def family(self) -> Family:
        """All its processes."""
        if self._family is None:
            self._family = Family(self.mark, self._process)
        return self._family

    @property
    def process(self) -> int:
        """The id of the main process; 0 where there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self, spawner: Spawner) -> None:
        """Start it; it has ended where that cannot be done."""
        given = self._command.command
        arguments = [SHELL, "-c", given] if isinstance(given, str) else given
        opened: list[int] = []  # the command's ends, not ours
        try:
            self._output, writes = os.pipe()
            opened.append(writes)
            stdin = spawner.null
            if self._command.stdin is not None:
                stdin, self._input = os.pipe()
                opened.append(stdin)
                self._left = memoryview(self._command.stdin.encode())
            environment = {**self._command.environment, MARK: self.mark}
            directory = self._command.directory
            self._process = spawner.spawn(arguments, environment, directory, stdin=stdin, output=writes)
        except (OSError, ValueError) as error:
            self._finish(Ended(Outcome.FAILED, f"could not start: {error}"))
            return
        finally:
            for end in opened:
                os.close(end)
        os.set_blocking(self._output, False)
        if self._input is not None:
            os.set_blocking(self._input, False)
            self._write()
        now = self._clock.monotonic()
        if self._command.timeout_seconds is not None:
            self._timeout_at = now + self._command.timeout_seconds
        self._watch_at = now + WATCH_SECONDS
        self.wake_at = min(self._watch_at, self._timeout_at)

    def ready(self, events: int) -> None:
        """A pipe is ready."""
        if events & selectors.EVENT_READ:
            self._read()
        if events & selectors.EVENT_WRITE:
            self._write()

    def exited(self, code: int) -> None:
        """The main process has exited, and was reaped."""
        if self._process is not None:
            self._process.returncode = code
        if self.ended is not None:
            return
        if self._stopping_for is not None:
            self.look()
            return
        self._timeout_at = NEVER
        self._read_rest()
        if self._output is None:
            self._finish(self._natural_end())
        else:
            self._watch()
            self._output_until = self.wake_at = self._clock.monotonic() + self._patience.output

    def stop(self) -> None:
        """End it on request of the worker."""
        self._begin_stop(Outcome.KILLED)

    def look(self) -> None:
        """Its time has come: to time out, to be killed, or to be read no more."""
        now = self._clock.monotonic()
        if self._stopping_for is not None:
            self._see_to_the_end(now)
        elif now >= self._timeout_at:
            self._begin_stop(Outcome.TIMED_OUT)
        elif now >= self._output_until:
            self._finish(self._natural_end())
        elif now >= self._watch_at:
            self._watch()

    def reaped(self) -> bool:
        """Whether the main process has exited; its number may be another's from now on."""
        return self._process is not None and self._process.poll() is not None

    def _watch(self) -> None:
        self._watch_at = NEVER
        self.wake_at = self._timeout_at
        if not self._watched:
            self._watched = True
            for pipe, events in ((self._output, selectors.EVENT_READ), (self._input, selectors.EVENT_WRITE)):
                if pipe is not None:
                    self._selector.register(pipe, events, self)

    def _read(self) -> bool:
        """Take what the pipe has; False where there is nothing now."""
        if self._output is None:
            return False
        try:
            chunk = os.read(self._output, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if chunk:
            if self._capture is None:
                self._capture = Capture(self.told.append, self._clock)
            self._capture.feed(chunk)
            return True
        self._close_output()
        if self._stopping_for is None and self._output_until != NEVER:
            self._finish(self._natural_end())
        return False

    def _write(self) -> None:
        """Give the pipe what it takes."""
        if self._input is None:
            return
        try:
            written = os.write(self._input, self._left[:CHUNK_BYTES])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._left)  # the command does not want the rest
        self._left = self._left[written:]
        if not self._left:
            self._close_input()

    def _close_output(self) -> None:
        if self._output is not None:
            self._close(self._output)
            self._output = None

    def _close_input(self) -> None:
        if self._input is not None:
            self._close(self._input)
            self._input = None

    def _close(self, pipe: int) -> None:
        if self._watched:
            self._selector.unregister(pipe)
        os.close(pipe)

    def _read_rest(self) -> None:
        for _ in range(CHUNKS_AT_END):
            if not self._read():
                return

    def _begin_stop(self, outcome: Outcome) -> None:
        if self._stopping_for is not None or self.ended is not None:
            return
        self._stopping_for = outcome
        self._watch()
        self._kill_at = self._clock.monotonic() + self._patience.grace
        self.family.signal(signal.SIGTERM)
        self.look()

    def _see_to_the_end(self, now: float) -> None:
        """KILL, again and again, once the grace is over; the end is when nothing that could be found is left."""
        if now >= self._kill_at:
            self._kill_at = now + LOOK_SECONDS
            self._give_up_at = min(self._give_up_at, now + UNKILLABLE_SECONDS)
            self.family.signal(signal.SIGKILL)
        gone = self.reaped() and not self.family.alive()
        if gone:
            self.family.signal(signal.SIGKILL)  # what they forked since TERM has no grace of its own
        if gone or now >= self._give_up_at:
            self._read_rest()
            self._finish(self._forced_end())
        else:
            self.wake_at = min(self._kill_at, now + LOOK_SECONDS)

    def _finish(self, ended: Ended) -> None:
        self.ended = ended
        self.wake_at = NEVER
        self._close_output()
        self._close_input()

    def _said(self) -> Output:
        return NO_OUTPUT if self._capture is None else self._capture.close()

    def _code(self) -> tuple[int | None, str | None]:
        """The exit code or the signal's name."""
        code = None if self._process is None else self._process.returncode
        if code is None:
            return None, None
        return (code, None) if code >= 0 else (None, _signal_name(-code))

    def _forced_end(self) -> Ended:
        exit_code, name = self._code()
        output = self._said()
        if self._stopping_for is Outcome.TIMED_OUT:
            limit = format_duration(round((self._command.timeout_seconds or 0) * 1000))
            return Ended(Outcome.TIMED_OUT, f"timed out after {limit}", output, exit_code, name)
        return Ended(Outcome.KILLED, "stopped by the worker", output, exit_code, name, stopped=True)

    def _natural_end(self) -> Ended:
        exit_code, name = self._code()
        if exit_code == 0 and self._capture is None:
            return SILENT_SUCCESS
        output = self._said()
        if name is not None:
            return Ended(Outcome.KILLED, f"killed by {name}", output, None, name)
        outcome = Outcome.SUCCEEDED if exit_code == 0 else Outcome.FAILED
        return Ended(outcome, f"exit {exit_code}", output, exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal
