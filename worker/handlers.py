"""Jobs that are handlers: called in threads, in one event loop, or in processes that can be killed.

A function in a thread cannot be ended from outside, so it has no timeout, and a worker that stops leaves it behind
with its own process; the job is given back. A coroutine is cancelled, a process is killed.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.durations import format_duration
from scheduler.errors import InputError
from worker.calls import Raised, failed, hook, returned, tell_of_hook, wrong_arguments
from worker.context import CURRENT, JobContext
from worker.handler_processes import Died, HandlerProcesses, Returned
from worker.outcome import Ended, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.job import Job
    from worker.handler_processes import HandlerProcess
    from worker.registry import Handler, Registry
    from worker.runs import Run

END_SECONDS = 5.0
STOPPED = Ended(Outcome.KILLED, "stopped", stopped=True)


class _Call(Protocol):
    def stop(self) -> None: ...


class _Mine(threading.local):
    """What a thread that makes calls knows of itself."""

    ending = False
    """Whether it is telling the end of its call."""
    next: _ThreadCall | None = None
    """The call that it makes after this one."""


class HandlerJobs:
    """Calls the handlers of jobs.

    Args:
        registry: the handlers.
        slots: how many calls there may be at once.
        broken: told when nothing can be called any more; from another thread.
    """

    def __init__(self, registry: Registry, slots: int, broken: Callable[[BaseException], None]) -> None:
        self._registry = registry
        self._broken = broken
        self._slots = slots
        self._calls: queue.SimpleQueue[_ThreadCall | None] = queue.SimpleQueue()
        self._mine = _Mine()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._processes = HandlerProcesses()
        for number in range(slots):
            # daemons: a function that never returns must not keep the process from ending
            threading.Thread(target=self._serve, name=f"handler-{number}", daemon=True).start()

    def accept(self, job: Job) -> Job:
        """The job as its handler was registered.

        Raises:
            InputError: it is a command, or its handler is not known here.
        """
        if job.handler is None:
            raise InputError("command: this worker calls handlers, it runs no commands")
        return self._registry.find(job.handler).complete(job)

    def start(self, run: Run, tell: Callable[[str], None], done: Callable[[Ended], None]) -> _Call:
        """Call the job's handler."""
        del tell  # what a function prints is the worker's own output
        handler = self._registry.find(run.job.handler)
        context = JobContext.of(run.job, run.intended_start)
        if handler.coroutine:
            loop = self._loop or self._start_loop()
            call = _CoroutineCall(handler, context, run.job, self._guarded(done), loop)
            loop.call_soon_threadsafe(self._begin, call)
            return call
        threaded = (
            _ProcessCall(handler, context, run.job, done, self._processes)
            if handler.process
            else _ThreadCall(handler, context, run.job, done)
        )
        mine = self._mine
        if mine.ending and mine.next is None:
            # this thread's own call has just ended, and begins this one: it goes on with it, nobody has to be woken
            mine.next = threaded
        else:
            self._calls.put(threaded)
        return threaded

    def close(self) -> None:
        """Begin nothing more, kill the processes, cancel the coroutines. Threads are left to what they do."""
        for _ in range(self._slots):
            self._calls.put(None)
        self._processes.close()
        if self._loop is not None and self._loop_thread is not None:
            loop = self._loop
            loop.call_soon_threadsafe(loop.stop)
            self._loop_thread.join(END_SECONDS)

    def _guarded(self, done: Callable[[Ended], None]) -> Callable[[Ended], None]:
        def tell_end(ended: Ended) -> None:
            try:
                done(ended)
            except BaseException as error:  # noqa: BLE001 - raised again in the poll loop, which ends the worker
                self._broken(error)

        return tell_end

    def _serve(self) -> None:
        mine = self._mine
        while (call := self._calls.get()) is not None:
            following: _ThreadCall | None = call
            while following is not None:
                mine.next = None
                try:
                    ended = following.run()
                    mine.ending = True
                    following.done(ended)
                except BaseException as error:  # noqa: BLE001 - raised again in the poll loop, which ends the worker
                    self._broken(error)
                finally:
                    mine.ending = False
                following = mine.next

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._serve_loop, args=(self._loop,), name="handlers", daemon=True)
        self._loop_thread.start()
        return self._loop

    def _serve_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            loop.run_until_complete(asyncio.wait(self._tasks, timeout=1.0))
        loop.close()

    def _begin(self, call: _CoroutineCall) -> None:
        # the loop itself holds tasks weakly
        task = call.task = asyncio.get_running_loop().create_task(call.perform())
        self._tasks.add(task)
        task.add_done_callback(self._performed)

    def _performed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)


class _ThreadCall:
    """A call in a thread."""

    __slots__ = ("_context", "_handler", "_job", "done")

    def __init__(self, handler: Handler, context: JobContext, job: Job, done: Callable[[Ended], None]) -> None:
        self._handler = handler
        self._context = context
        self._job = job
        self.done = done

    def stop(self) -> None:
        """Ask; the function may look, and nothing can make it."""
        self._context.stop()

    def run(self) -> Ended:
        if self._context.stops:
            return STOPPED
        token = CURRENT.set(self._context)
        try:
            ended, value = self._called()
            if not ended.stopped:
                hook(self._handler, self._context, self._job, ended, value)
        finally:
            CURRENT.reset(token)
        return ended

    def _called(self) -> tuple[Ended, Any]:
        return call(self._handler, self._job)


def call(handler: Handler, job: Job) -> tuple[Ended, Any]:
    """Call a plain function here; how it ended, and what it returned."""
    try:
        args, keywords = handler.arguments(job.arguments, job.keyword_arguments)
    except InputError as error:
        return failed(wrong_arguments(error)), None
    try:
        value = handler.function(*args, **keywords)
    except BaseException as error:  # noqa: BLE001 - a customer's code, and its exception is its result
        return failed(Raised.of(error, handler.retry_on, handler.never_on)), None
    return returned(job, value), value


class _ProcessCall(_ThreadCall):
    """A call in another process, waited for in a thread."""

    __slots__ = ("_lock", "_process", "_processes")

    def __init__(
        self,
        handler: Handler,
        context: JobContext,
        job: Job,
        done: Callable[[Ended], None],
        processes: HandlerProcesses,
    ) -> None:
        super().__init__(handler, context, job, done)
        self._processes = processes
        self._lock = threading.Lock()
        self._process: HandlerProcess | None = None

    def stop(self) -> None:
        with self._lock:
            self._context.stop()
            if self._process is not None:
                self._process.kill()

    def _called(self) -> tuple[Ended, Any]:
        handler, job = self._handler, self._job
        try:
            arguments = handler.arguments(job.arguments, job.keyword_arguments)
        except InputError as error:
            return failed(wrong_arguments(error)), None
        with self._processes.one() as process:
            with self._lock:
                if self._to_stop():
                    return STOPPED, None
                self._process = process
            answer = process.call(handler, arguments, self._context, job.timeout_seconds)
            with self._lock:
                self._process = None
                stopped = self._to_stop()
            if stopped:
                process.end()  # it may have been killed after its answer: nobody else is to get it
        if stopped and isinstance(answer, Died):
            return STOPPED, None
        return self._ended_by(answer), answer.value if isinstance(answer, Returned) else None

    def _to_stop(self) -> bool:
        return self._context.stops

    def _ended_by(self, answer: Returned | Raised | Died | None) -> Ended:
        match answer:
            case Returned(value):
                return returned(self._job, value)
            case Raised() as raised:
                return failed(raised)
            case Died(exit, signal):
                return Ended(Outcome.KILLED if signal else Outcome.FAILED, exit, signal=signal)
            case None:
                return _timed_out(self._job.timeout_seconds)


class _CoroutineCall:
    """A call in the event loop."""

    def __init__(
        self,
        handler: Handler,
        context: JobContext,
        job: Job,
        done: Callable[[Ended], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._handler = handler
        self._context = context
        self._job = job
        self._done = done
        self._loop = loop
        self.task: asyncio.Task[None] | None = None
        self._begun = False

    def stop(self) -> None:
        self._context.stop()
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        # one that is cancelled before its first step never takes it, and nobody would be told of its end
        if self.task is not None and self._begun:
            self.task.cancel()

    async def perform(self) -> None:
        self._begun = True
        CURRENT.set(self._context)  # a task has variables of its own
        ended = STOPPED
        try:
            if not self._context.stops:
                ended, value = await acall(self._handler, self._job)
                await ahook(self._handler, self._context, self._job, ended, value)
        except asyncio.CancelledError:
            ended = STOPPED
        self._done(ended)


async def acall(handler: Handler, job: Job) -> tuple[Ended, Any]:
    """Await a coroutine function; how it ended, and what it returned.

    Raises:
        CancelledError: from outside.
    """
    try:
        args, keywords = handler.arguments(job.arguments, job.keyword_arguments)
    except InputError as error:
        return failed(wrong_arguments(error)), None
    timeout = asyncio.timeout(job.timeout_seconds)
    try:
        async with timeout:
            value = await handler.function(*args, **keywords)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return failed(Raised.of(error, handler.retry_on, handler.never_on)), None
    except BaseException as error:  # noqa: BLE001 - a customer's code, and its exception is its result
        if timeout.expired():
            return _timed_out(job.timeout_seconds), None
        return failed(Raised.of(error, handler.retry_on, handler.never_on)), None
    return returned(job, value), value


async def ahook(handler: Handler, context: JobContext, job: Job, ended: Ended, value: Any) -> None:
    """Call the hook that is due, and await it where it is to be awaited."""
    waits = hook(handler, context, job, ended, value)
    if inspect.isawaitable(waits):
        try:
            await waits
        except Exception as error:  # noqa: BLE001 - a customer's code; the job has ended as it has
            tell_of_hook(context, error)


def _timed_out(timeout: float | None) -> Ended:
    return Ended(Outcome.TIMED_OUT, f"timed out after {format_duration(round((timeout or 0) * 1000))}")
