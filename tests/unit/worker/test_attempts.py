"""What follows a failed attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.backoff import jitter_of
from scheduler.job import FailedAttempt, Job, Retry
from worker.attempts import (
    JITTER,
    DeadLetter,
    RetryAt,
    after,
    after_losses,
    backoff_seconds,
    losses_allowed,
)

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


@pytest.mark.parametrize(
    ("policy", "exit_code", "retried"),
    [
        ({}, 3, True),
        ({"on_exit_codes": [75]}, 75, True),
        ({"on_exit_codes": [75]}, 1, False),
        ({"never_on": [64, 65]}, 65, False),
        ({"never_on": [64, 65]}, 1, True),
        ({"on_exit_codes": [1, 2], "never_on": [2]}, 2, False),
        ({"on_exit_codes": [75]}, None, True),  # it could not even be started
        ({"on_exit_codes": [124]}, 124, True),
        ({"never_on": [137]}, 137, False),
    ],
)
def test_exit_codes_say_what_is_retried(policy: dict[str, object], exit_code: int | None, retried: bool) -> None:
    decided = after(job(max_attempts=3, retry=policy), failure(), now_ms=NOW, jitter=0.0, exit_code=exit_code)

    assert isinstance(decided, RetryAt) is retried
    if isinstance(decided, DeadLetter):
        assert decided.reason == f"attempt 1 of 3 failed, exit code {exit_code} is final: exit 3"


def test_the_jitter_is_the_runs_own_and_differs_between_runs_and_attempts() -> None:
    drawn = [jitter_of(f"job-{n}@0", attempt) for n in range(100) for attempt in (1, 2)]

    assert drawn == [jitter_of(f"job-{n}@0", attempt) for n in range(100) for attempt in (1, 2)]
    assert len(set(drawn)) == 200
    assert 0.4 < sum(drawn) / 200 < 0.6
    assert all(0 <= value < 1 for value in drawn)


@pytest.mark.parametrize(
    ("given_fields", "losses"),
    [
        ({}, 2),  # one machine that fails costs nobody a job
        ({"max_attempts": 2}, 2),
        ({"max_attempts": 5}, 5),
        ({"max_attempts": 5, "attempt": 3}, 3),
        ({"max_attempts": 5, "attempt": 5}, 2),
        ({"max_attempts": 5, "delivery": "at-most-once"}, 1),
    ],
)
def test_a_job_is_given_up_after_as_many_losses_as_it_had_attempts_left(
    given_fields: dict[str, object], losses: int
) -> None:
    assert losses_allowed(job(**given_fields)) == losses


def test_the_attempt_after_a_loss_is_the_next_one_and_tells_of_the_loss() -> None:
    resumed = after_losses(job(max_attempts=3), 1, "2030-01-01T00:00:00Z")

    assert resumed.attempt == 2
    assert [(error.attempt, error.error) for error in resumed.errors] == [(1, "lost: its worker ended while it ran")]
    assert after_losses(job(), 1, "2030-01-01T00:00:00Z").attempt == 1
