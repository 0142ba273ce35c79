"""What follows a failed attempt: another one after a delay that grows, or the dead letter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.job import FailedAttempt, Job, Retry

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


def after(job: Job, failure: FailedAttempt, *, now_ms: int, jitter: float) -> RetryAt | DeadLetter:
    """Decide what follows the failure of the job's current attempt.

    Args:
        job: as this attempt received it.
        failure: this attempt's.
        now_ms: when it ended, Unix milliseconds; the delay counts from here.
        jitter: from 0 to 1, drawn by the caller.
    """
    errors = _kept([*job.errors, failure])
    if job.attempt >= job.max_attempts:
        reason = f"attempt {job.attempt} of {job.max_attempts} failed: {failure.error}"
        return DeadLetter(job.model_copy(update={"errors": errors}), reason)
    delay_ms = round(backoff_seconds(job.retry, job.attempt) * (1 + JITTER * jitter) * 1000)
    again = job.model_copy(update={"attempt": job.attempt + 1, "errors": errors})
    return RetryAt(now_ms + delay_ms, delay_ms, again)


def backoff_seconds(retry: Retry, attempt: int) -> float:
    """The delay after the given attempt (from 1), before jitter."""
    try:
        grown = retry.delay_seconds * retry.factor ** (attempt - 1)
    except OverflowError:
        grown = retry.max_delay_seconds if retry.delay_seconds else 0.0
    return min(grown, retry.max_delay_seconds)


def _kept(errors: list[FailedAttempt]) -> list[FailedAttempt]:
    if len(errors) <= FIRST_ERRORS_KEPT + LAST_ERRORS_KEPT:
        return errors
    return errors[:FIRST_ERRORS_KEPT] + errors[-LAST_ERRORS_KEPT:]
