"""What is written of an attempt that ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scheduler import wire
from scheduler.job import FailedAttempt, Job
from scheduler.schedule import Schedule
from worker.attempts import DeadLetter, RetryAt
from worker.execution import Ended, Outcome
from worker.output import Output
from worker.records import Books
from worker.runner import Finished
from worker.runs import Poison, Run, Source

if TYPE_CHECKING:
    from scheduler.records import Write

BOOKS = Books("schedules", "results", "dead-letters", "cluster-a", "host-1")
ERRORS = [
    FailedAttempt(attempt=n, started=f"2030-01-01T00:00:0{n}Z", ended=f"2030-01-01T00:00:1{n}Z", error=f"exit {n}")
    for n in (1, 2)
]
JOB = Job(
    id="backup",
    job="Backup",
    cluster="cluster-a",
    command="backup --all",
    attempt=2,
    max_attempts=3,
    run_id="backup@1",
    intended_start="2030-01-01T00:00:00Z",
    errors=ERRORS[:1],
)
SOURCE = Source("cluster-a-retry", 1, 7)
RUN = Run(SOURCE, JOB, "backup@1", "2030-01-01T00:00:00Z", 1_893_456_002_000, [("trace", b"t")])
OUTPUT = Output("one\nno such file\n", "no such file", 17)


def finished(then: RetryAt | DeadLetter | None, *, ended: Ended | None = None) -> Finished:
    failed = Ended(Outcome.FAILED, "exit 2", OUTPUT, 2)
    return Finished(RUN, ended or failed, 1_893_456_002_250, 1_893_456_003_000, then)


def retry() -> RetryAt:
    again = JOB.model_copy(update={"attempt": 3, "errors": tuple(ERRORS)})
    return RetryAt(1_893_456_023_000, 20_000, again)


def dead() -> DeadLetter:
    return DeadLetter(JOB.model_copy(update={"attempt": 3, "errors": tuple(ERRORS)}), "attempt 3 of 3 failed: exit 2")


def by_topic(writes: list[Write]) -> dict[str, Write]:
    assert len({write.topic for write in writes}) == len(writes)
    return {write.topic: write for write in writes}


def test_a_success_is_one_result() -> None:
    (result,) = BOOKS.records(finished(None, ended=Ended(Outcome.SUCCEEDED, "exit 0", OUTPUT, 0)))

    assert (result.topic, result.key) == ("results", b"backup@1")
    assert json.loads(result.value or b"") == {
        "run_id": "backup@1",
        "id": "backup",
        "job": "Backup",
        "cluster": "cluster-a",
        "attempt": 2,
        "max_attempts": 3,
        "intended_start": "2030-01-01T00:00:00Z",
        "due": "2030-01-01T00:00:02Z",
        "started": "2030-01-01T00:00:02.250Z",
        "ended": "2030-01-01T00:00:03Z",
        "outcome": "succeeded",
        "exit": "exit 0",
        "exit_code": 0,
        "signal": None,
        "error": None,
        "then": None,
        "retry_at": None,
        "output": "one\nno such file\n",
        "output_bytes": 17,
        "worker": "host-1",
        "source": {"topic": "cluster-a-retry", "partition": 1, "offset": 7},
    }


def test_a_retry_is_a_schedule_of_the_next_attempt_for_the_retry_topic() -> None:
    writes = by_topic(BOOKS.records(finished(retry())))

    written = writes["schedules"]
    schedule = wire.decode(written.key, written.value, written.headers, timestamp_ms=0)
    assert isinstance(schedule, Schedule)
    assert schedule.schedule_id == "backup@1#3"
    assert (schedule.target_topic, schedule.target_key) == ("cluster-a-retry", b"backup")
    assert schedule.due_ms == 1_893_456_023_000
    assert schedule.headers == [("trace", b"t")]
    assert Job.from_json(schedule.value) == retry().job
    result = json.loads(writes["results"].value or b"")
    assert (result["then"], result["retry_at"]) == ("retry", "2030-01-01T00:00:23Z")
    assert result["error"] == "exit 2: no such file"


def test_a_dead_letter_has_the_command_all_errors_and_the_first_and_last_time() -> None:
    writes = by_topic(BOOKS.records(finished(dead())))

    written = writes["dead-letters"]
    job = Job.from_json(written.value or b"")
    assert (job.command, [error.error for error in job.errors]) == ("backup --all", ["exit 1", "exit 2"])
    assert written.headers == [
        ("trace", b"t"),
        ("dead-letter-reason", b"attempt 3 of 3 failed: exit 2"),
        ("dead-letter-first-failure", b"2030-01-01T00:00:11Z"),
        ("dead-letter-last-failure", b"2030-01-01T00:00:12Z"),
        ("dead-letter-source", b"cluster-a-retry-1@7"),
        ("dead-letter-output", b"one\nno such file\n"),
    ]
    assert json.loads(writes["results"].value or b"")["then"] == "dead-letter"


def test_a_message_that_is_no_job_goes_to_the_dead_letters_as_it_came() -> None:
    old = ("dead-letter-reason", b"an earlier one")
    poison = Poison(SOURCE, b"k", b"\xff", [("trace", b"t"), old], 1_893_456_000_000, "not JSON")

    (written,) = BOOKS.records(poison)

    assert (written.topic, written.key, written.value) == ("dead-letters", b"k", b"\xff")
    assert written.headers[:2] == [("trace", b"t"), ("dead-letter-reason", b"not JSON")]
    assert dict(written.headers)["dead-letter-first-failure"] == b"2030-01-01T00:00:00Z"


def test_what_is_too_large_for_kafka_is_given_up_without_its_value() -> None:
    writes = by_topic(BOOKS.records(finished(retry()), brief=True))

    assert writes.keys() == {"results", "dead-letters"}
    assert writes["dead-letters"].value is None
    assert dict(writes["dead-letters"].headers)["dead-letter-reason"] == b"too large to be scheduled again"
    result = json.loads(writes["results"].value or b"")
    assert (result["output"], result["then"]) == ("", "dead-letter")
