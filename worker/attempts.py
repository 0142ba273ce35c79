"""What follows a failed attempt: another one after a delay that grows, or the dead letter. Pure.

An attempt that was **lost** with its worker (killed, out of memory, gone with its machine) uses itself up like one that
failed, so that a job that kills its worker ends as a dead letter. It is made again at once, and once at least: a
machine may fail a job that has a single attempt. With delivery at most once it is never made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.backoff import grown
from scheduler.job import FailedAttempt

if TYPE_CHECKING:
    from scheduler.job import Job, Retry

LOST = "lost: its worker ended while it ran"

JITTER = 0.1
"""A delay is stretched by up to this part of itself, so that jobs that failed together do not return together."""

FIRST_ERRORS_KEPT = 10
LAST_ERRORS_KEPT = 90
"""A job of 10,000 attempts must still fit into a record: of its errors the first and the last are kept,
each with its attempt number, so that the gap shows."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Another attempt, due at a Unix millisecond; the job is what that attempt receives."""

    due_ms: int
    delay_ms: int
    job: Job


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """No attempt is left; the job carries its errors."""

    job: Job
    reason: str


def after(
    job: Job,
    failure: FailedAttempt,
    *,
    now_ms: int,
    jitter: float,
    exit_code: int | None = None,
    final: bool = False,
    delay_seconds: float | None = None,
) -> RetryAt | DeadLetter:
    """Decide what follows the failure of the job's current attempt.

    Args:
        job: as this attempt received it.
        failure: this attempt's.
        now_ms: when it ended, Unix milliseconds; the delay counts from here.
        jitter: from 0 to 1; `scheduler.backoff.jitter_of` the run.
        exit_code: as a shell would tell it; None where there was none.
        final: the attempt said itself that another would fail too.
        delay_seconds: the delay that the attempt asked for, instead of one that grows.
    """
    errors = _kept((*job.errors, failure))
    if job.attempt >= job.max_attempts:
        reason = f"attempt {job.attempt} of {job.max_attempts} failed: {failure.error}"
        return DeadLetter(job.model_copy(update={"errors": errors}), reason)
    if final:
        reason = f"attempt {job.attempt} of {job.max_attempts} failed for good: {failure.error}"
        return DeadLetter(job.model_copy(update={"errors": errors}), reason)
    if not job.retry.covers(exit_code):
        reason = f"attempt {job.attempt} of {job.max_attempts} failed, exit code {exit_code} is final: {failure.error}"
        return DeadLetter(job.model_copy(update={"errors": errors}), reason)
    wanted = backoff_seconds(job.retry, job.attempt) if delay_seconds is None else delay_seconds
    delay_ms = round(wanted * (1 + JITTER * jitter) * 1000)
    again = job.model_copy(update={"attempt": job.attempt + 1, "errors": errors})
    return RetryAt(now_ms + delay_ms, delay_ms, again)


def backoff_seconds(retry: Retry, attempt: int) -> float:
    """The delay after the given attempt (from 1), before jitter."""
    return grown(retry.delay_seconds, retry.factor, retry.max_delay_seconds, attempt)


def losses_allowed(job: Job) -> int:
    """After how many lost attempts the job is given up."""
    if job.delivery == "at-most-once":
        return 1
    return max(2, job.max_attempts - job.attempt + 1)


def after_losses(job: Job, lost: int, noticed: str) -> Job:
    """The job as its next attempt receives it: each lost one is counted and told.

    Args:
        job: as the first of the lost attempts received it.
        lost: how many.
        noticed: when, RFC 3339; when they began and ended nobody knows.
    """
    errors = [
        FailedAttempt(attempt=min(job.attempt + n, job.max_attempts), started=noticed, ended=noticed, error=LOST)
        for n in range(lost)
    ]
    attempt = min(job.attempt + lost, job.max_attempts)
    return job.model_copy(update={"attempt": attempt, "errors": _kept((*job.errors, *errors))})


def _kept(errors: tuple[FailedAttempt, ...]) -> tuple[FailedAttempt, ...]:
    if len(errors) <= FIRST_ERRORS_KEPT + LAST_ERRORS_KEPT:
        return errors
    return errors[:FIRST_ERRORS_KEPT] + errors[-LAST_ERRORS_KEPT:]
