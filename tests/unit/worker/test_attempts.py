"""What follows a failed attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.job import FailedAttempt, Job, Retry
from worker.attempts import JITTER, DeadLetter, RetryAt, after, backoff_seconds

NOW = 1_893_456_000_000


def failure(attempt: int = 1, error: str = "exit 3") -> FailedAttempt:
    return FailedAttempt(attempt=attempt, started="2030-01-01T00:00:00Z", ended="2030-01-01T00:00:01Z", error=error)


def job(**given_fields: object) -> Job:
    return Job.model_validate({"id": "backup", "job": "backup", "cluster": "a", "command": "true", **given_fields})


def test_a_failure_with_attempts_left_is_due_again_after_the_delay() -> None:
    decided = after(job(max_attempts=3), failure(), now_ms=NOW, jitter=0.0)

    assert isinstance(decided, RetryAt)
    assert decided.due_ms == NOW + 10_000
    assert decided.job.attempt == 2
    assert [error.error for error in decided.job.errors] == ["exit 3"]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 4.0), (2, 12.0), (3, 36.0), (4, 60.0), (9_999, 60.0)])
def test_the_delay_grows_by_its_factor_up_to_its_cap(attempt: int, seconds: float) -> None:
    assert backoff_seconds(Retry(delay_seconds=4, factor=3, max_delay_seconds=60), attempt) == seconds


def test_no_delay_stays_no_delay_however_often_it_is_multiplied() -> None:
    assert backoff_seconds(Retry(delay_seconds=0, factor=100), 9_999) == 0


def test_the_last_attempt_leads_to_the_dead_letter_with_every_error() -> None:
    earlier = [failure(1, "exit 1").model_dump(), failure(2, "exit 2").model_dump()]

    decided = after(job(max_attempts=3, attempt=3, errors=earlier), failure(3), now_ms=NOW, jitter=0.5)

    assert isinstance(decided, DeadLetter)
    assert [error.error for error in decided.job.errors] == ["exit 1", "exit 2", "exit 3"]
    assert decided.reason == "attempt 3 of 3 failed: exit 3"
    assert decided.job.attempt == 3


def test_of_very_many_errors_the_first_and_the_last_are_kept() -> None:
    earlier = [failure(n).model_dump() for n in range(1, 150)]

    decided = after(job(max_attempts=200, attempt=150, errors=earlier), failure(150), now_ms=NOW, jitter=0.0)

    attempts = [error.attempt for error in decided.job.errors]
    assert attempts == [*range(1, 11), *range(61, 151)]


def test_what_the_worker_does_not_know_in_a_job_travels_to_the_next_attempt() -> None:
    decided = after(job(max_attempts=2, owner="ops"), failure(), now_ms=NOW, jitter=0.0)

    assert Job.from_json(decided.job.to_json()).model_extra == {"owner": "ops"}


@given(
    attempt=st.integers(1, 9_999),
    jitter=st.floats(0, 1),
    delay=st.floats(0, 1e6),
    factor=st.floats(1, 100),
    cap=st.floats(0, 1e6),
)
def test_a_delay_never_exceeds_its_cap_and_the_jitter(
    attempt: int, jitter: float, delay: float, factor: float, cap: float
) -> None:
    policy = {"delay_seconds": delay, "factor": factor, "max_delay_seconds": cap}

    decided = after(job(max_attempts=10_000, attempt=attempt, retry=policy), failure(), now_ms=NOW, jitter=jitter)

    assert isinstance(decided, RetryAt)
    assert 0 <= decided.due_ms - NOW <= cap * 1000 * (1 + JITTER) + 1
    assert decided.due_ms - NOW >= min(delay, cap) * 1000 - 1
