"""A job queue for tests of programs that enqueue: it needs no Kafka, and runs each job at once, where it is enqueued.

Jobs travel as bytes and meet the same checks as on their way through Kafka. Delays are noted and not waited for,
retries follow each other, and a job that is given up raises.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler.clock import SystemClock, rfc3339
from scheduler.errors import SchedulerError
from scheduler.job import Job
from worker.calls import failure_of, hook
from worker.context import CURRENT, JobContext
from worker.handlers import acall, ahook, call
from worker.outcome import Ended, Outcome
from worker.queue import new_job, when

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from scheduler.clock import Clock
    from worker.registry import Failure, Handler, Registry


class JobFailedError(SchedulerError):
    """A job was given up: it would be a dead letter."""


@dataclass(frozen=True, slots=True)
class Done:
    """A job that was run at once."""

    run_id: str
    name: str
    attempts: int
    result: Any
    delay: str | float | timedelta | None = None
    at: datetime | int | None = None
    failures: tuple[Failure, ...] = ()


class ImmediateQueue:
    """Has `JobQueue`'s `enqueue`, and runs the job in it. `done` has what was run, jobs of a chain included.

    Timeouts of processes are not kept: everything is called in this thread.
    """

    def __init__(self, registry: Registry, *, clock: Clock | None = None) -> None:
        self.registry = registry
        self.done: list[Done] = []
        self._clock = clock or SystemClock()

    def enqueue(
        self,
        name: str,
        *args: Any,
        delay: str | float | timedelta | None = None,
        at: datetime | int | None = None,
        key: str | None = None,
        keywords: Mapping[str, Any] | None = None,
        then: str | Sequence[str] = (),
        run_id: str | None = None,
        **options: Any,
    ) -> Done:
        """Call the handler, as often as it may be retried, and those of its chain.

        Raises:
            InputError: as `JobQueue.enqueue`; or the handler is not registered.
            JobFailedError: no attempt succeeded.
        """
        when(delay, at)
        job = new_job(
            self.registry, "test", name, args, key=key, keywords=keywords, then=then, run_id=run_id, **options
        )
        return self._run(Job.from_json(job.to_json()), delay, at)

    def _run(self, job: Job, delay: str | float | timedelta | None = None, at: datetime | int | None = None) -> Done:
        handler = self.registry.find(job.handler)
        job = handler.complete(job)
        failures: list[Failure] = []
        while True:
            ended, value = self._attempt(handler, job)
            if ended.outcome is Outcome.SUCCEEDED:
                break
            failures.append(failure_of(job, ended))
            if failures[-1].last:
                raise JobFailedError(f"{job.job}: attempt {job.attempt} of {job.max_attempts}: {failures[-1].error}")
            job = job.model_copy(update={"attempt": job.attempt + 1})
        done = Done(job.run_id or "", job.job, job.attempt, value, delay, at, tuple(failures))
        self.done.append(done)
        for following in ended.follows:
            self._run(Job.from_json(following.to_json()))
        return done

    def _attempt(self, handler: Handler, job: Job) -> tuple[Ended, Any]:
        context = JobContext.of(job, job.intended_start or rfc3339(self._clock.now_ms()))
        token = CURRENT.set(context)
        try:
            if handler.coroutine:
                return asyncio.run(_awaited(handler, context, job))
            ended, value = call(handler, job)
            hook(handler, context, job, ended, value)
            return ended, value
        finally:
            CURRENT.reset(token)


async def _awaited(handler: Handler, context: JobContext, job: Job) -> tuple[Ended, Any]:
    ended, value = await acall(handler, job)
    await ahook(handler, context, job, ended, value)
    return ended, value
