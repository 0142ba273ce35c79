"""The job message: what it holds, what is refused by field, and how it travels."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ExitCode, InputError
from scheduler.job import FailedAttempt, Job, Retry

LEAST = {"id": "a#1", "job": "report", "cluster": "cluster-a", "command": "make report"}


def read(**fields):
    return Job.from_json(json.dumps(LEAST | fields).encode())


def refusal(payload):
    with pytest.raises(InputError) as refused:
        Job.from_json(payload)
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    return str(refused.value)


def test_the_least_job_runs_once_without_a_timeout():
    job = read()

    assert (job.attempt, job.max_attempts, job.timeout_seconds) == (1, 1, None)
    assert (job.environment, job.stdin, job.errors, job.run_id, job.intended_start) == ({}, None, (), None, None)
    assert job.retry == Retry(delay_seconds=10.0, factor=2.0, max_delay_seconds=3600.0)


@pytest.mark.parametrize("command", ["echo 'a b'", ["echo", "a b"], ["true"]])
def test_a_command_is_a_text_for_the_shell_or_a_list_of_arguments(command):
    assert read(command=command).command == command


def test_equal_jobs_are_equal_bytes():
    """A sync that finds the same bytes writes nothing: what is at its default is left out, stated or not."""
    stated = Job(**LEAST, environment={}, attempt=1, max_attempts=1, retry=Retry(), stdin=None)

    assert stated.to_json() == Job(**LEAST).to_json() == json.dumps(LEAST, separators=(",", ":")).encode()


def test_unknown_fields_travel_on():
    """A newer planner's fields reach the retry of an older worker's run."""
    job = read(colour="red", retry={"delay_seconds": 1, "jitter": 0.5})

    assert json.loads(job.to_json()) == LEAST | {"colour": "red", "retry": {"delay_seconds": 1.0, "jitter": 0.5}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *product(["id"], ["", "x" * 250, 7, None]),
        *product(["job"], ["", None]),
        *product(["cluster"], ["", "x" * 250, ["a"]]),
        *product(["command"], ["", [], None, 7, {"a": 1}, ["echo", 7]]),
        *product(["environment"], [{"A": 1}, ["A=1"], {"A": None}]),
        *product(["stdin"], [7]),
        *product(["timeout_seconds"], [0, -1, "60", 365 * 86_400 + 1]),
        *product(["attempt"], [0, -1, 1.5, "1", True]),
        *product(["max_attempts"], [0, 10_001, "3"]),
        *product(["retry"], ["10s", []]),
        *product(["errors"], [{}, [{}], ["x"]]),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value):
    assert refusal(json.dumps(LEAST | {field: value}).encode()).startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [("delay_seconds", -1), ("factor", 0.5), ("factor", 101), ("max_delay_seconds", 365 * 86_400 + 1)],
)
def test_a_wrong_field_of_the_retry_is_refused_by_its_path(field, value):
    assert refusal(json.dumps(LEAST | {"retry": {field: value}}).encode()).startswith(f"retry.{field}: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_timeout_is_a_finite_number(number):
    payload = json.dumps(LEAST)[:-1] + f', "timeout_seconds": {number}}}'

    assert "timeout_seconds" in refusal(payload.encode())


@pytest.mark.parametrize("name", sorted(LEAST))
def test_a_missing_field_is_refused_by_name(name):
    payload = json.dumps({field: value for field, value in LEAST.items() if field != name}).encode()

    assert refusal(payload) == f"{name}: Field required"


def test_all_that_is_wrong_is_said_at_once():
    found = refusal(b'{"id": "a", "job": "", "command": "x"}')

    assert "job: " in found
    assert "cluster: Field required" in found
    assert "\n" not in found


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"x"', b"{", b"\xff", b"{}x", b"[" * 100_000])
def test_what_is_no_job_at_all_is_refused(payload):
    assert refusal(payload)


def test_an_attempt_beyond_the_last_is_refused():
    assert "attempt 4 of 3" in refusal(json.dumps(LEAST | {"attempt": 4, "max_attempts": 3}).encode())


def test_a_refusal_does_not_repeat_the_message():
    """A job's environment may hold secrets; the refusal goes to logs and to the dead letters."""
    found = refusal(json.dumps(LEAST | {"environment": {"TOKEN": ["hunter2"]}, "timeout_seconds": "hunter2"}).encode())

    assert "environment.TOKEN" in found
    assert "hunter2" not in found


@given(
    job=st.builds(
        Job,
        id=st.text(min_size=1, max_size=20),
        job=st.text(min_size=1, max_size=20),
        cluster=st.sampled_from(["cluster-a", "b"]),
        command=st.text(min_size=1) | st.lists(st.text(), min_size=1, max_size=3),
        environment=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        stdin=st.none() | st.text(),
        timeout_seconds=st.none() | st.floats(0.001, 1e6),
        attempt=st.integers(1, 3),
        max_attempts=st.integers(3, 10),
        retry=st.builds(
            Retry,
            delay_seconds=st.floats(0, 1e6),
            factor=st.floats(1, 100),
            max_delay_seconds=st.floats(0, 1e6),
        ),
        run_id=st.none() | st.text(),
        intended_start=st.none() | st.text(),
        errors=st.lists(
            st.builds(FailedAttempt, attempt=st.integers(), started=st.text(), ended=st.text(), error=st.text()),
            max_size=2,
        ),
    )
)
def test_a_job_is_read_back_as_it_was_written(job):
    assert Job.from_json(job.to_json()) == job


HANDLED = {"id": "a", "job": "add", "cluster": "c", "handler": "Add", "arguments": [3, {"deep": [5]}]}


def test_a_job_may_call_a_handler_and_travels_with_all_that_was_stated():
    """What is not stated is the handler's to say, so a default that was stated is more than nothing."""
    job = Job.from_json(json.dumps(HANDLED | {"max_attempts": 1}).encode())

    assert (job.command, job.handler, job.arguments) == (None, "Add", (3, {"deep": [5]}))
    assert json.loads(job.to_json()) == HANDLED | {"max_attempts": 1}


def test_a_job_has_a_command_or_a_handler_and_not_both():
    assert "not both" in refusal(json.dumps(HANDLED | {"command": "true"}).encode())
    assert refusal(json.dumps(HANDLED | {"handler": ""}).encode()).startswith("handler: ")


def test_what_a_job_leaves_out_is_shared_by_all_jobs_and_cannot_be_changed():
    job = read()

    with pytest.raises(TypeError, match="make a copy"):
        job.environment["A"] = "b"
    with pytest.raises(TypeError, match="make a copy"):
        job.keyword_arguments.update(a=1)

    assert job.model_copy(deep=True) == job
    assert json.loads(job.model_dump_json())["environment"] == {}
