"""One attempt: its beginning, its events in the log, and what follows from its end.

Events and their fields (with LOG_FORMAT=json they are members of one object a line; programs may rely on them).
All carry `cluster`, `job`, `id`, `run_id`, `attempt`, `max_attempts`.

- `job started`: `late_ms`, from when this attempt was due to its start.
- `job output`: `line`.
- `run finished`: `outcome` (`succeeded`, `failed`, `timed-out`, `killed`, `skipped`, `replaced`, `lost`), `exit`
  (`exit 0`, `killed by SIGTERM`, `timed out after 2s`, ..), `late_ms`, `seconds`, `last_line` of the output that is not
  blank (at most 200 characters), and `then`: null, `retry in 4.0s`, `dead letter`, or `given back` where the worker had
  to stop it and another takes over.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from scheduler.backoff import jitter_of
from scheduler.clock import rfc3339
from scheduler.job import FailedAttempt
from scheduler.runtime.logs import fields, tell
from worker.attempts import LOST, DeadLetter, RetryAt, after
from worker.outcome import FAILURES, Ended, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.clock import Clock
    from scheduler.job import Job
    from worker.commands import Attempt
    from worker.metrics import Metrics
    from worker.runs import Run

log = logging.getLogger("worker")

ERROR_CHARACTERS = 500


class Performer(Protocol):
    """Does what a job says: runs its command, or calls its handler."""

    def accept(self, job: Job) -> Job:
        """The job as it will be run.

        Raises:
            InputError: it is none for this worker.
        """
        ...

    def start(self, run: Run, tell: Callable[[str], None], done: Callable[[Ended], None]) -> Attempt:
        """Begin, and return at once; `tell` gets what it says line by line, `done` its end, on another thread."""
        ...

    def close(self) -> None:
        """End what runs, as far as that is possible, and begin nothing more."""
        ...


@dataclass(slots=True, eq=False)
class Finished:
    """An attempt that has ended, and what follows; None where nothing does. Equal only to itself."""

    run: Run
    ended: Ended
    started_ms: int
    ended_ms: int
    then: RetryAt | DeadLetter | None


class Running:
    """An attempt under way, from the moment it has a slot."""

    __slots__ = (
        "_attempt", "_done", "_late_ms", "_over", "_replaced_by", "_runner", "_started_ms", "_to_stop", "began",
        "noted", "run",
    )  # fmt: skip

    def __init__(self, runner: Runner, run: Run, done: Callable[[Finished], None], *, noted: bool) -> None:
        self.run = run
        self.noted = noted
        """Whether somebody has been told to note that it has begun."""
        self._runner = runner
        self._done = done
        self._replaced_by: str | None = None
        self._to_stop = self._over = False
        self._attempt: Attempt | None = None
        self._started_ms, self.began = runner.clock.now_ms(), runner.clock.monotonic()
        self._late_ms = self._started_ms - run.due_ms

    def start(self) -> None:
        """Begin it; its end may be told before this returns."""
        self._runner.tell_start(self.run, self._late_ms)
        attempt = self._runner.performer.start(self.run, self._said, self._ended)
        if not self._over:
            self._attempt = attempt
        if self._to_stop:  # asked for from another thread before there was anything to stop
            attempt.stop()

    def stop(self, *, replaced_by: str | None = None) -> None:
        """Ask for its end: to give it back, or because a later run takes its place."""
        self._replaced_by = self._replaced_by or replaced_by
        self._to_stop = True
        attempt = self._attempt
        if attempt is not None:
            attempt.stop()

    def _said(self, line: str) -> None:
        tell(log, "job output", {**self.run.log_fields(), "line": line})

    def _ended(self, ended: Ended) -> None:
        # the attempt holds this method: for the collector to find such a cycle each time cost a quarter of the rate
        self._over, self._attempt = True, None
        if ended.stopped and self._replaced_by is not None:
            ended = replace(ended, outcome=Outcome.REPLACED, exit=f"replaced by {self._replaced_by}", stopped=False)
        seconds = self._runner.clock.monotonic() - self.began
        self._done(self._runner.finished(self.run, ended, self._started_ms, seconds, self._late_ms))


class Runner:
    """Begins attempts, and says what follows from their end. Safe to use from any thread."""

    def __init__(self, performer: Performer, *, clock: Clock, metrics: Metrics) -> None:
        self.performer = performer
        self.clock = clock
        self._metrics = metrics

    def begin(self, run: Run, done: Callable[[Finished], None], *, noted: bool) -> Running:
        """An attempt that is still to be started; `done` gets its end, on any thread."""
        return Running(self, run, done, noted=noted)

    def tell_start(self, run: Run, late_ms: int) -> None:
        """It begins."""
        if log.isEnabledFor(logging.INFO):  # its fields cost a twentieth of a handler that does nothing
            tell(log, "job started", {**run.log_fields(), "late_ms": late_ms})
        self._metrics.start_lateness_seconds.observe(max(0, late_ms) / 1000)

    def finished(self, run: Run, ended: Ended, started_ms: int, seconds: float, late_ms: int) -> Finished:
        """It has ended."""
        if ended.output.untold_lines:
            log.warning("job output left out", extra=fields(**run.log_fields(), lines=ended.output.untold_lines))
        self._metrics.run_seconds.observe(seconds)
        return self._told(self._decided(run, ended, started_ms, seconds), late_ms, seconds)

    def refused(self, run: Run) -> Finished | None:
        """The end of a run that must not be made again, because too many attempts at it were lost; else None."""
        if not run.given_up:
            return None
        now_ms = self.clock.now_ms()
        how = Ended(Outcome.LOST, LOST)
        reason = f"{LOST} ({run.lost} times)" if run.lost > 1 else LOST
        if run.job.delivery == "at-most-once":
            reason += "; delivery is at most once"
        return self._told(Finished(run, how, now_ms, now_ms, DeadLetter(run.job, reason)), now_ms - run.due_ms, 0.0)

    def skipped(self, run: Run, why: str) -> Finished:
        """The end of a run that is not made."""
        now_ms = self.clock.now_ms()
        ended = Ended(Outcome.SKIPPED, f"skipped: {why}")
        return self._told(Finished(run, ended, now_ms, now_ms, None), now_ms - run.due_ms, 0.0)

    def given_back(self, run: Run) -> Finished:
        """The end of a run that had a slot and was not begun."""
        now_ms = self.clock.now_ms()
        return Finished(run, Ended(Outcome.KILLED, "given back", stopped=True), now_ms, now_ms, None)

    def _decided(self, run: Run, ended: Ended, started_ms: int, seconds: float) -> Finished:
        # by the monotonic clock: a wall clock that jumps must not make an attempt end before its start
        ended_ms = started_ms + round(seconds * 1000)
        once = run.job.delivery == "at-most-once"
        if ended.outcome not in FAILURES or (ended.stopped and not once):
            return Finished(run, ended, started_ms, ended_ms, None)
        failure = FailedAttempt(
            attempt=run.job.attempt, started=rfc3339(started_ms), ended=rfc3339(ended_ms), error=error_text(ended)
        )
        if ended.stopped:
            job = run.job.model_copy(update={"errors": (*run.job.errors, failure)})
            dead = DeadLetter(job, "stopped by the worker; delivery is at most once")
            return Finished(run, replace(ended, stopped=False), started_ms, ended_ms, dead)
        then = after(
            run.job,
            failure,
            now_ms=self.clock.now_ms(),
            jitter=jitter_of(run.run_id, run.job.attempt),
            exit_code=ended.shell_code,
            final=ended.final,
            delay_seconds=ended.retry_after_seconds,
        )
        return Finished(run, ended, started_ms, ended_ms, then)

    def _told(self, finished: Finished, late_ms: int, seconds: float) -> Finished:
        ended = finished.ended
        if log.isEnabledFor(logging.INFO):
            what = {
                **finished.run.log_fields(),
                "outcome": ended.outcome.value,
                "exit": ended.exit,
                "late_ms": late_ms,
                "seconds": round(seconds, 3),
                "last_line": ended.output.last_line,
                "then": _then(finished),
            }
            tell(log, "run finished", what)
        self._metrics.ended(ended.outcome.value)
        return finished


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
