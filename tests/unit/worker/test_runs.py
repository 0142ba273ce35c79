"""From a message to a run, or to the reason why it is none."""

from __future__ import annotations

import pytest

from scheduler.job import Job
from worker.runs import Poison, Run, Source, read

JOB = Job(id="backup", job="Backup", cluster="cluster-a", command="true", max_attempts=3)
FIRED = [("scheduler-fire-id", b"backup@1893456000250"), ("scheduler-epoch", b"1893456000.250")]


class Message:
    """What the client hands out, as far as a run needs it."""

    def __init__(self, value: bytes | None, headers: object = None, timestamp_ms: int = 1_893_456_001_000) -> None:
        self._timestamp_ms = timestamp_ms
        self._value = value
        self._headers = headers
        self.headers_calls = 0

    def topic(self) -> str:
        return "cluster-a"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 42

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp_ms

    def key(self) -> bytes:
        return b"backup"

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> object:
        self.headers_calls += 1
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


def read_run(job: Job, headers: object = None) -> Run:
    run = read(Message(job.to_json(), headers), "cluster-a")
    assert isinstance(run, Run), run
    return run


def read_poison(value: bytes | None, headers: object = None) -> Poison:
    poison = read(Message(value, headers), "cluster-a")
    assert isinstance(poison, Poison), poison
    return poison


def test_a_first_run_is_named_by_its_fire_id_and_was_due_when_the_header_says() -> None:
    run = read_run(JOB, [*FIRED, ("trace", b"1")])

    assert run.run_id == run.job.run_id == "backup@1893456000250"
    assert run.intended_start == run.job.intended_start == "2030-01-01T00:00:00.250Z"
    assert run.due_ms == 1_893_456_000_250
    assert run.headers == [("trace", b"1")]


def test_a_retry_keeps_the_run_id_and_the_intended_start_of_the_first_attempt() -> None:
    known = {"attempt": 2, "run_id": "backup@1", "intended_start": "2029-12-31T00:00:00Z"}

    run = read_run(JOB.model_copy(update=known), FIRED)

    assert (run.run_id, run.intended_start) == ("backup@1", "2029-12-31T00:00:00Z")
    assert run.due_ms == 1_893_456_000_250


def test_a_message_that_no_scheduler_sent_is_named_by_its_place_and_due_at_its_timestamp() -> None:
    run = read_run(JOB)

    assert run.run_id == "cluster-a-3@42"
    assert run.intended_start == "2030-01-01T00:00:01Z"


def test_the_cluster_is_that_of_the_topic() -> None:
    assert read_run(JOB.model_copy(update={"cluster": "other"})).job.cluster == "cluster-a"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the message has no value"),
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid"),
        (b'{"id": "x"}', "command: Field required"),
        (JOB.to_json().replace(b'"true"', b"[]"), "command"),
        (JOB.model_copy(update={"intended_start": "soon"}).to_json(), "intended_start: 'soon' is not RFC 3339"),
    ],
)
def test_what_is_not_a_job_says_why(value: bytes | None, reason: str) -> None:
    poison = read_poison(value, [("trace", b"1")])

    assert reason in poison.reason
    assert (poison.source, poison.value) == (Source("cluster-a", 3, 42), value)
    assert poison.headers == [("trace", b"1")]


@pytest.mark.parametrize("epoch", [b"soon", b"", None, b"1e9", "\uff11".encode(), b"9" * 400, b"999999999999"])
def test_a_due_time_that_cannot_be_read_is_named_by_its_header(epoch: bytes | None) -> None:
    assert read_poison(JOB.to_json(), [("scheduler-epoch", epoch)]).reason.startswith("scheduler-epoch: ")


def test_headers_whose_names_are_not_utf8_are_asked_for_once() -> None:
    # a second call crashes the process
    message = Message(JOB.to_json(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))

    poison = read(message, "cluster-a")

    assert isinstance(poison, Poison)
    assert "name is not UTF-8" in poison.reason
    assert message.headers_calls == 1


@pytest.mark.parametrize(("timestamp_ms", "instant"), [(-1, "1970-01-01T00:00:00"), (2**62, "9999-12-31T23:59:59")])
def test_a_timestamp_beyond_the_calendar_is_brought_back_into_it(timestamp_ms: int, instant: str) -> None:
    run = read(Message(JOB.to_json(), None, timestamp_ms), "cluster-a")

    assert isinstance(run, Run)
    assert run.intended_start.startswith(instant)
