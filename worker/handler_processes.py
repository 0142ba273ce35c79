"""Processes that call handlers, so that a timeout can be kept: they are used again, and killed when time is up.

Each is a fresh interpreter (a fork of one that has Kafka clients would be a copy of their locks), leads a process
group, which is killed whole, and ends itself when the worker has gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from worker.calls import Raised
from worker.context import CURRENT, JobContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from worker.registry import Handler

END_SECONDS = 5.0
READY = "ready"


@dataclass(frozen=True, slots=True)
class Returned:
    """What a handler returned, as JSON has it."""

    value: Any


@dataclass(frozen=True, slots=True)
class Died:
    """The process ended in the middle of the call."""

    exit: str
    signal: str | None


class HandlerProcess:
    """One process; one call at a time."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="handler", daemon=True)
        self._process.start()
        theirs.close()
        self._leads = False
        self._lock = threading.Lock()
        self._reaped = False

    def call(
        self,
        handler: Handler,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        context: JobContext,
        timeout: float | None,
    ) -> Returned | Raised | Died | None:
        """Call the handler there; None where it took too long. Unless it answered, the process has ended."""
        order = (
            handler.function,
            handler.retry_on,
            handler.never_on,
            arguments,
            context.facts(),
        )
        try:
            if not self._leads:  # what its start takes is not the handler's
                self._leads = self._ours.recv() == READY
            self._ours.send(order)
            if self._ours.poll(timeout):
                answer: Returned | Raised = self._ours.recv()
                return answer
        except (EOFError, OSError):
            return self._died()
        self.kill()
        self._died()
        return None

    def kill(self) -> None:
        """Kill it and what it has started."""
        with self._lock:
            if self._reaped:  # its number may be another's by now
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid or 0, signal.SIGKILL) if self._leads else self._process.kill()

    @property
    def alive(self) -> bool:
        """Whether it may be called."""
        return not self._reaped and self._process.is_alive()

    def end(self) -> None:
        """Kill it, and wait for its end."""
        self.kill()
        self._died()

    def _died(self) -> Died:
        # closed its pipe and goes on? then it is no use either
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self.kill()
            self._process.join()
        with self._lock:
            self._reaped = True
        self._ours.close()
        code = self._process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            return Died(f"killed by {name}", name)
        return Died(f"its process ended with exit code {code}", None)


class HandlerProcesses:
    """As many as there are calls at once, made when they are needed."""

    def __init__(self) -> None:
        self._idle: list[HandlerProcess] = []
        self._all: set[HandlerProcess] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def one(self) -> Iterator[HandlerProcess]:
        """A process for one call."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        if process is None or not process.alive:
            if process is not None:
                process.end()
            process = HandlerProcess()
        with self._lock:
            self._all.add(process)
            closed = self._closed
        try:
            if closed:
                process.kill()
            yield process
        finally:
            with self._lock:
                if process.alive and not self._closed:
                    self._idle.append(process)
                else:
                    self._all.discard(process)

    def close(self) -> None:
        """Kill all of them."""
        with self._lock:
            self._closed = True
            processes, self._idle = list(self._all), []
        for process in processes:
            process.kill()


def serve(channel: Connection) -> None:
    """In the process: call what is ordered, until the channel closes."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the worker, which drains
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    channel.send(READY)
    while True:
        try:
            order = channel.recv()
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - a function that cannot be imported here
            channel.send(Raised.of(error, (), ()))
            continue
        channel.send(_called(*order))


def _called(
    function: Any,
    retry_on: tuple[type[BaseException], ...],
    never_on: tuple[type[BaseException], ...],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    facts: tuple[Any, ...],
) -> Returned | Raised:
    CURRENT.set(JobContext(*facts))
    args, keywords = arguments
    try:
        return Returned(to_jsonable_python(function(*args, **keywords), fallback=repr))
    except BaseException as error:  # noqa: BLE001 - a customer's code, and its exception is its result
        return Raised.of(error, retry_on, never_on)


def _end_with_the_worker() -> None:
    worker = parent_process()
    if worker is not None:
        wait([worker.sentinel])
        os.killpg(0, signal.SIGKILL)
