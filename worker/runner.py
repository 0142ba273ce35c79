"""One attempt: its environment, its events in the log, and what follows from its end.

Events and their fields (with LOG_FORMAT=json they are members of one object a line; programs may rely on them).
All carry `cluster`, `job`, `id`, `run_id`, `attempt`, `max_attempts`.

- `job started`: `late_ms`, from when this attempt was due to its start.
- `job output`: `line`.
- `run finished`: `outcome` (`succeeded`, `failed`, `timed-out`, `killed`), `exit` (`exit 0`, `killed by SIGTERM`,
  `timed out after 2s`, ..), `late_ms`, `seconds`, `last_line` of the output that is not blank (at most 200
  characters), and `then`: null, `retry in 4.0s`, `dead letter`, or `given back` where the worker had to stop it
  and another takes over.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.clock import rfc3339
from scheduler.job import FailedAttempt
from scheduler.runtime.logs import fields
from worker.attempts import DeadLetter, RetryAt, after
from worker.execution import Command, Ended, Execution, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from scheduler.clock import Clock
    from worker.metrics import Metrics
    from worker.runs import Run

log = logging.getLogger("worker")

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a command gets of the worker's environment; the rest may hold the worker's own secrets."""
ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An attempt that has ended, and what follows; None where nothing does. Equal only to itself."""

    run: Run
    ended: Ended
    started_ms: int
    ended_ms: int
    then: RetryAt | DeadLetter | None


class Runner:
    """Performs attempts, each on the thread of the caller."""

    def __init__(
        self,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        metrics: Metrics,
        grace_seconds: float,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._metrics = metrics
        self._grace = grace_seconds
        self._passed_on = {name: environment[name] for name in PASSED_ON if name in environment}

    def perform(self, run: Run, stop: threading.Event) -> Finished:
        """Run the command to its end, or until the event is set."""
        about = run.log_fields()
        started_ms, started = self._clock.now_ms(), self._clock.monotonic()
        late_ms = started_ms - run.due_ms
        log.info("job started", extra=fields(**about, late_ms=late_ms))
        self._metrics.start_lateness_seconds.observe(max(0, late_ms) / 1000)
        with self._metrics.running.track_inprogress():
            ended = Execution(
                self._command(run),
                clock=self._clock,
                tell=lambda line: log.info("job output", extra=fields(**about, line=line)),
                stop=stop,
                grace_seconds=self._grace,
            ).run()
        seconds = self._clock.monotonic() - started
        finished = self._finished(run, ended, started_ms, seconds)
        if ended.output.untold_lines:
            log.warning("job output left out", extra=fields(**about, lines=ended.output.untold_lines))
        log.info(
            "run finished",
            extra=fields(
                **about,
                outcome=ended.outcome.value,
                exit=ended.exit,
                late_ms=late_ms,
                seconds=round(seconds, 3),
                last_line=ended.output.last_line,
                then=_then(finished),
            ),
        )
        self._metrics.run_seconds.observe(seconds)
        self._metrics.ended(ended.outcome.value)
        return finished

    def _command(self, run: Run) -> Command:
        job = run.job
        environment = {
            **self._passed_on,
            **job.environment,
            "JOB_NAME": job.job,
            "JOB_ID": job.id,
            "JOB_CLUSTER": job.cluster,
            "JOB_FIRE_ID": run.run_id,
            "JOB_ATTEMPT": str(job.attempt),
            "JOB_MAX_ATTEMPTS": str(job.max_attempts),
            "JOB_DUE_AT": run.intended_start,
        }
        return Command(job.command, environment, job.stdin, job.timeout_seconds)

    def _finished(self, run: Run, ended: Ended, started_ms: int, seconds: float) -> Finished:
        # by the monotonic clock: a wall clock that jumps must not make an attempt end before its start
        ended_ms = started_ms + round(seconds * 1000)
        if ended.outcome is Outcome.SUCCEEDED or ended.stopped:
            return Finished(run, ended, started_ms, ended_ms, None)
        failure = FailedAttempt(
            attempt=run.job.attempt, started=rfc3339(started_ms), ended=rfc3339(ended_ms), error=error_text(ended)
        )
        then = after(run.job, failure, now_ms=self._clock.now_ms(), jitter=self._jitter())
        return Finished(run, ended, started_ms, ended_ms, then)


def error_text(ended: Ended) -> str:
    """How it ended, and the last it said: `exit 3: no such file`."""
    last_line = ended.output.last_line
    return (f"{ended.exit}: {last_line}" if last_line else ended.exit)[:ERROR_CHARACTERS]


def _then(finished: Finished) -> str | None:
    match finished.then:
        case RetryAt(delay_ms=delay_ms):
            return f"retry in {delay_ms / 1000:.1f}s"
        case DeadLetter():
            return "dead letter"
        case None:
            return "given back" if finished.ended.stopped else None
