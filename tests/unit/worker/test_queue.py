"""What is enqueued, and the queue for tests that runs jobs at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from scheduler import wire
from scheduler.errors import ConfigurationError, InputError
from scheduler.job import Job
from scheduler.schedule import Schedule
from tests.support.handlers import jobs
from worker import ImmediateQueue, JobFailedError, JobQueue, QueueConfig
from worker.loading import load

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler.records import Write

DUE = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def sender() -> JobQueue:
    """Of a program that has no handlers."""
    return JobQueue()


def scheduled(write: Write) -> Schedule:
    found = wire.decode(write.key, write.value, write.headers, timestamp_ms=1_000)
    assert isinstance(found, Schedule)
    return found


def test_a_job_goes_to_the_queue_and_its_sender_needs_no_registration(sender: JobQueue) -> None:
    write = sender.draft("Add", 3, 5)

    job = Job.from_json(write.value or b"")
    assert (write.topic, write.key) == ("default-job-queue", (job.run_id or "").encode())
    assert (job.handler, job.arguments, job.id) == ("Add", (3, 5), job.run_id)
    assert "max_attempts" not in job.model_fields_set


@pytest.mark.parametrize(
    ("when", "due_ms"),
    [
        ({"delay": "15m"}, 901_000),
        ({"delay": 1.5}, 2_500),
        ({"delay": timedelta(seconds=2)}, 3_000),
        ({"at": DUE}, 1_893_456_000_000),
        ({"at": 5}, 5),
    ],
)
def test_a_delayed_job_is_a_schedule_on_the_delayed_queue(sender: JobQueue, when: dict[str, Any], due_ms: int) -> None:
    write = sender.draft("Add", 3, 5, key="customer-7", run_id="r", **when)

    schedule = scheduled(write)
    assert (write.topic, schedule.schedule_id, schedule.due_ms) == ("default-delayed-queue", "r", due_ms)
    assert (schedule.target_topic, schedule.target_key) == ("default-job-queue", b"customer-7")
    job = Job.from_json(schedule.value or b"")
    assert (job.id, job.arguments) == ("customer-7", (3, 5))  # as deep as they were given


def test_jobs_with_a_key_and_those_of_a_fifo_handler_have_one_lane(sender: JobQueue) -> None:
    assert {sender.draft("Add", 1, 2, key="k").key for _ in range(3)} == {b"k"}
    assert {JobQueue(jobs).draft("appended", "f", "x").key for _ in range(3)} == {b"appended"}
    assert len({sender.draft("Add", 1, 2).key for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("args", "options", "told"),
    [
        (("Add", "x", 5), {}, "arguments of Add"),
        (("Add", 1), {}, "Missing required argument"),
        (("Add", 1, 2), {"delay": "1m", "at": 5}, "delay and at"),
        (("Add", 1, 2), {"delay": -1}, "not negative"),
        (("Add", 1, 2), {"at": datetime(2030, 1, 1)}, "without an offset"),  # noqa: DTZ001 - that is what is refused
        (("Add", 1, 2), {"colour": "red"}, "colour: no field of a job"),
        (("Add", 1, 2), {"max_attempts": 0}, "max_attempts"),
        (("Add", 1, 2), {"timeout_seconds": 3}, "runs in a thread"),
        (("nothing known of it", object()), {}, "arguments of nothing known of it"),
        (("",), {}, "handler"),
    ],
)
def test_what_cannot_be_run_is_refused_where_it_is_enqueued(
    args: tuple[Any, ...], options: dict[str, Any], told: str
) -> None:
    for queue in (JobQueue(jobs), ImmediateQueue(jobs)):
        with pytest.raises(InputError, match=told):
            queue.enqueue(*args, **options)


def test_the_topics_have_names_of_the_callers_choice() -> None:
    queue = JobQueue(config=QueueConfig("a", "b", "c", "d"))

    assert queue.draft("x").topic == "a"
    assert queue.draft("x", delay=1).topic == "b"
    assert (queue.settings.dead_letter_topic, queue.settings.results_topic) == ("c", "d")
    with pytest.raises(ConfigurationError, match="both name the topic a"):
        JobQueue(config=QueueConfig("a", "a"))


def test_a_properties_file_says_where_kafka_is(tmp_path: Path) -> None:
    file = tmp_path / "librdkafka.config"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        JobQueue(config=QueueConfig(configuration_file=file)).init()


@pytest.mark.parametrize(
    ("name", "why"),
    [("bootstrap_server", "there is no such setting"), ("clusters", "QueueConfig has a field of its own for it")],
)
def test_a_setting_that_is_none_of_the_queues_is_named(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^QueueConfig\(settings=...\): {name}: {why}$"):
        JobQueue(config=QueueConfig(settings={name: "x"}))


def test_the_immediate_queue_runs_retries_and_chains_where_they_are_enqueued() -> None:
    queue = ImmediateQueue(jobs)

    done = queue.enqueue("sum-doubled", 1, 2, delay="1h")
    assert (done.result, done.delay) == (3, "1h")
    assert [(each.name, each.result) for each in queue.done] == [("sum-doubled", 3), ("double", 6), ("shout", "6!")]
    flaky = queue.enqueue("flaky", 3, run_id="r")
    assert (flaky.result, flaky.attempts) == ("r 3", 3)
    assert [failure.error for failure in flaky.failures] == [f"ValueError: attempt {n} is too early" for n in (1, 2)]
    assert [failure.last for failure in flaky.failures] == [False, False]


def test_the_immediate_queue_raises_where_a_job_is_given_up() -> None:
    queue = ImmediateQueue(jobs)

    with pytest.raises(JobFailedError, match=r"flaky: attempt 3 of 3: ValueError: attempt 3 is too early"):
        queue.enqueue("flaky", 9)
    with pytest.raises(JobFailedError, match=r"hopeless: attempt 1 of 6: GiveUp: the customer has gone"):
        queue.enqueue("hopeless")
    with pytest.raises(InputError, match="'unknown' is not registered"):
        queue.enqueue("unknown")


def test_a_registry_is_found_by_the_name_of_its_module() -> None:
    assert load("tests.support.handlers:jobs") is jobs
    for named, told in (
        ("tests.support.handlers", "is not MODULE:NAME"),
        ("no_such_module:jobs", "no module 'no_such_module'"),
        ("tests.support.handlers:SOON", "is no Registry"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            load(named)
