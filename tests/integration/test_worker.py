"""Workers as processes on a real broker: what is run, what is written of it, and what survives a worker's death."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scheduler import wire
from scheduler.clock import Deadline, SystemClock
from scheduler.instants import format_epoch, parse_instant
from scheduler.job import Job
from scheduler.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from confluent_kafka import Message

    from tests.support.broker import Broker, Topics

SECONDS = 40.0
CLOCK = SystemClock()
PARTITIONS = 4

Event = dict[str, Any]


class WorkerProcess:
    """`python -m worker`, and the events that it logs."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.events: list[Event] = []
        self._new: queue.Queue[Event] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            env={**os.environ, **environment, "LOG_FORMAT": "json"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            assert line.startswith("{"), f"not an event: {line}"
            self._new.put(json.loads(line))

    def wait_for(self, event: str, which: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first such event that was not waited for or passed over yet."""
        deadline = Deadline(CLOCK, SECONDS)
        while True:
            try:
                found = self._new.get(timeout=deadline.remaining())
            except queue.Empty:
                pytest.fail(f"no {event!r} in {SECONDS:.0f} s; the worker said: {self.events}")
            self.events.append(found)
            if found["event"] == event and which(found):
                return found

    def all(self, event: str) -> list[Event]:
        """Every such event so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.events.append(self._new.get_nowait())
        return [found for found in self.events if found["event"] == event]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def end(self) -> None:
        """End it, and with it the jobs that it runs."""
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGINT):  # two of a kind may arrive as one
            self.signal(number)
        try:
            self.ended()
        finally:
            self._process.kill()
            assert self._process.stderr is not None
            self._process.stderr.close()


class Bench:
    """A cluster's topics, workers on them, and a look at what they write."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self._servers = broker.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        self._producer = Producer({"bootstrap.servers": self._servers, "log_level": 0})
        self._numbers = itertools.count(1)
        self._workers: list[WorkerProcess] = []
        self._created: list[str] = []
        self.cluster = topics.create("cluster", partitions=PARTITIONS)
        self.schedules = topics.create("schedules")
        self.results = topics.create("results")
        self.dead_letters = topics.create("dead-letters")

    def create(self, name: str) -> str:
        """A topic of exactly that name, with one partition."""
        self._admin.create_topics([NewTopic(name, 1)])[name].result(SECONDS)
        self._created.append(name)
        return name

    def worker(self, *arguments: str, cluster: str | None = None, **environment: str) -> WorkerProcess:
        started = WorkerProcess(
            {
                "BOOTSTRAP_SERVERS": self._servers,
                "SCHEDULES_TOPICS": self.schedules,
                "RESULTS_TOPIC": self.results,
                "DEAD_LETTER_TOPIC": self.dead_letters,
                "WORKER_CLUSTER": cluster or self.cluster,
                "WORKER_KILL_GRACE": "1s",
                **environment,
            },
            *arguments,
        )
        self._workers.append(started)
        return started

    def ready_worker(self, *arguments: str, **environment: str) -> WorkerProcess:
        """A worker that has partitions."""
        started = self.worker(*arguments, **environment)
        started.wait_for("partitions assigned")
        return started

    def send(self, command: str, *, partition: int = 0, name: str | None = None, topic: str = "", **more: Any) -> Job:
        """A job as the scheduler would fire it, due now."""
        name = name or f"job-{next(self._numbers)}"
        job = Job.model_validate({"id": name, "job": name, "cluster": self.cluster, "command": command, **more})
        due_ms = CLOCK.now_ms()
        headers: list[tuple[str, bytes]] = [
            ("scheduler-fire-id", f"{name}@{due_ms}".encode()),
            ("scheduler-epoch", format_epoch(due_ms)),
            ("scheduler-key", name.encode()),
        ]
        self.send_raw(job.to_json(), partition=partition, headers=headers, topic=topic)
        return job

    def send_raw(
        self, value: bytes, *, partition: int = 0, headers: list[tuple[str, bytes]] | None = None, topic: str = ""
    ) -> None:
        self._producer.produce(topic or self.cluster, value, b"key", partition=partition, headers=headers or [])
        assert self._producer.flush(SECONDS) == 0

    def read(self, topic: str, count: int) -> list[Message]:
        """The topic's committed records, once there are that many; to its end, so that more would be seen."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "reads-without-joining",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Message] = []
        deadline = Deadline(CLOCK, SECONDS)
        try:
            while True:
                message = consumer.poll(deadline.remaining())
                if message is None:
                    pytest.fail(f"{topic}: {len(found)} records instead of {count} after {SECONDS:.0f} s")
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    pytest.fail(str(error))
                elif len(found) >= count:
                    return found
        finally:
            consumer.close()

    def read_results(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(message.value() or b"") for message in self.read(self.results, count)]

    def committed(self, partition: int = 0, *, topic: str = "") -> int:
        """The group's offset."""
        topic = topic or self.cluster
        asked = ConsumerGroupTopicPartitions(f"worker-{topic}", [TopicPartition(topic, partition)])
        (answer,) = self._admin.list_consumer_group_offsets([asked]).values()
        return int(answer.result(SECONDS).topic_partitions[0].offset)

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        if self._created:
            for deletion in self._admin.delete_topics(self._created).values():
                deletion.result(SECONDS)


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics)
    yield made
    made.close()


def test_a_job_is_run_and_its_result_and_offset_are_written(bench: Bench) -> None:
    worker = bench.ready_worker()
    bench.send("echo $JOB_NAME $JOB_CLUSTER $JOB_FIRE_ID $JOB_ATTEMPT/$JOB_MAX_ATTEMPTS $JOB_DUE_AT", name="hello")

    finished = worker.wait_for("run finished")
    (result,) = bench.read_results(1)

    said = f"hello {bench.cluster} {result['run_id']} 1/1 {result['intended_start']}"
    assert result["output"] == said + "\n"
    assert result["run_id"].startswith("hello@")
    assert (result["outcome"], result["exit"], result["then"]) == ("succeeded", "exit 0", None)
    assert (finished["last_line"], finished["then"]) == (said, None)
    assert 0 <= finished["late_ms"] < 1000 * SECONDS
    assert [event["line"] for event in worker.all("job output")] == [said]
    assert bench.committed() == 1


def test_a_failing_job_is_scheduled_again_with_growing_delays_and_given_up_with_all_its_errors(bench: Bench) -> None:
    # this test takes the scheduler's place: it sends what a due retry would fire
    retries = bench.create(f"{bench.cluster}-retry")
    worker = bench.ready_worker("--retry")
    policy = {"delay_seconds": 4, "factor": 3}
    bench.send(
        "echo attempt $JOB_ATTEMPT; exit $JOB_ATTEMPT", name="flaky", max_attempts=3, retry=policy, topic=retries
    )
    delays = []
    for attempt in (1, 2):
        finished = worker.wait_for("run finished")
        written = bench.read(bench.schedules, attempt)[attempt - 1]
        schedule = wire.decode(written.key(), written.value(), written.headers(), timestamp_ms=written.timestamp()[1])
        assert isinstance(schedule, Schedule)
        result = bench.read_results(attempt)[attempt - 1]
        assert schedule.schedule_id == f"{result['run_id']}#{attempt + 1}"
        assert schedule.target_topic == retries
        assert finished["then"].startswith("retry in ")
        delays.append(schedule.due_ms - (parse_instant(result["ended"]) or 0))
        fired = [("scheduler-epoch", format_epoch(CLOCK.now_ms())), ("scheduler-fire-id", b"another")]
        bench.send_raw(schedule.value, headers=fired, topic=retries)

    assert worker.wait_for("run finished")["then"] == "dead letter"
    (dead,) = bench.read(bench.dead_letters, 1)

    assert 4000 <= delays[0] <= 4900
    assert 12_000 <= delays[1] <= 13_700
    job = Job.from_json(dead.value() or b"")
    assert [error.error for error in job.errors] == [f"exit {n}: attempt {n}" for n in (1, 2, 3)]
    results = bench.read_results(3)
    assert {result["run_id"] for result in results} == {job.run_id}
    assert {result["intended_start"] for result in results} == {job.intended_start}
    headers = dict(dead.headers() or [])
    assert headers["dead-letter-first-failure"] == job.errors[0].ended.encode()
    assert headers["dead-letter-last-failure"] == job.errors[2].ended.encode()
    assert headers["dead-letter-source"] == f"{retries}-0@2".encode()
    assert bench.committed(topic=retries) == 3


def test_a_message_that_is_no_job_goes_to_the_dead_letters_and_the_next_one_is_run(bench: Bench) -> None:
    bench.send_raw(b'{"id": "x"}', headers=[("trace", b"1")])
    bench.send("true")
    worker = bench.ready_worker()

    (dead,) = bench.read(bench.dead_letters, 1)
    (result,) = bench.read_results(1)

    assert (dead.key(), dead.value()) == (b"key", b'{"id": "x"}')
    headers = dict(dead.headers() or [])
    assert headers["trace"] == b"1"
    assert b"command: Field required" in headers["dead-letter-reason"]
    assert headers["dead-letter-source"] == f"{bench.cluster}-0@0".encode()
    assert result["outcome"] == "succeeded"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert bench.committed() == 2


def test_a_job_that_grows_too_large_for_kafka_is_given_up_and_blocks_nothing(bench: Bench) -> None:
    # it just fits into a record; with the error of its first attempt it does not
    bench.send("exit 1", name="large", max_attempts=2, stdin="x" * 999_600)
    bench.send("true", name="next")
    bench.ready_worker()

    results = {result["job"]: result for result in bench.read_results(2)}
    (dead,) = bench.read(bench.dead_letters, 1)

    assert results["next"]["outcome"] == "succeeded"
    assert results["large"]["then"] == "dead-letter"
    assert dict(dead.headers() or [])["dead-letter-reason"] == b"too large to be scheduled again"
    assert dict(dead.headers() or [])["dead-letter-source"] == f"{bench.cluster}-0@0".encode()


def test_a_worker_waits_for_a_topic_that_does_not_exist_yet(bench: Bench) -> None:
    name = f"{bench.cluster}-later"
    worker = bench.worker(cluster=name)
    worker.wait_for("waiting for the topic")

    bench.create(name)
    bench.send("true", topic=name)

    assert worker.wait_for("run finished")["outcome"] == "succeeded"


def test_two_workers_share_the_partitions_and_each_run_has_one_result(bench: Bench) -> None:
    first = bench.ready_worker()
    second = bench.worker()
    second.wait_for("partitions assigned")
    runs = 40

    for number in range(runs):
        bench.send("true", name=f"job-{number}", partition=number % PARTITIONS)
    results = bench.read_results(runs)

    assert sorted(result["job"] for result in results) == sorted(f"job-{number}" for number in range(runs))
    assert len({result["worker"] for result in results}) == 2
    for worker in (first, second):
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
    assert [bench.committed(partition) for partition in range(PARTITIONS)] == [runs // PARTITIONS] * PARTITIONS
    assert len(bench.read_results(runs)) == runs


def test_runs_of_one_job_are_made_in_order_and_one_at_a_time(bench: Bench, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    for _ in range(5):
        bench.send(f"mkdir {lock} && sleep 0.1 && rmdir {lock}", name="single")
    bench.ready_worker()

    results = bench.read_results(5)

    assert [result["outcome"] for result in results] == ["succeeded"] * 5
    assert [result["run_id"] for result in results] == sorted(result["run_id"] for result in results)


def test_a_job_whose_worker_is_killed_runs_again_elsewhere_and_has_one_result(bench: Bench, tmp_path: Path) -> None:
    first = bench.ready_worker()
    seen = tmp_path / "seen"
    bench.send(f"echo $$; mkdir {seen} || exit 0; exec sleep 600", name="job")
    left_behind = psutil.Process(int(first.wait_for("job output")["line"]))
    second = bench.worker()

    first.signal(signal.SIGKILL)
    first.ended()
    left_behind.wait(SECONDS)
    finished = second.wait_for("run finished")
    results = bench.read_results(1)

    assert (finished["attempt"], finished["outcome"]) == (1, "succeeded")
    assert [result["outcome"] for result in results] == ["succeeded"]


def test_what_is_done_behind_a_long_job_is_booked_at_once_and_not_done_again(bench: Bench, tmp_path: Path) -> None:
    first = bench.ready_worker()
    seen = tmp_path / "seen"
    bench.send(f"echo $$; mkdir {seen} || exit 0; exec sleep 600", name="long")
    first.wait_for("job output")
    bench.send("exit 1", name="short", max_attempts=2)
    (early,) = bench.read_results(1)
    assert early["job"] == "short"
    assert bench.committed() == 0

    first.signal(signal.SIGKILL)
    first.ended()
    second = bench.worker()
    second.wait_for("run finished")
    bench.send("true", name="last")
    results = bench.read_results(3)

    assert [result["job"] for result in results] == ["short", "long", "last"]
    assert len(bench.read(bench.schedules, 1)) == 1
    second.signal(signal.SIGTERM)
    assert second.ended() == 0
    assert [event["job"] for event in second.all("job started")] == ["long", "last"]
    assert bench.committed() == 3


def test_a_job_longer_than_the_poll_interval_is_run_once(bench: Bench, tmp_path: Path) -> None:
    properties = tmp_path / "client.config"
    properties.write_text("max.poll.interval.ms=6000\n")
    worker = bench.ready_worker(CONFIGURATION_FILE=str(properties))
    bench.send("sleep 8; echo done", name="long")

    (result,) = bench.read_results(1)

    assert result["output"] == "done\n"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert len(worker.all("job started")) == 1
    assert worker.all("partitions lost") == []
    assert bench.committed() == 1


def test_sigterm_lets_running_jobs_end_takes_no_new_ones_and_exits_0(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = bench.ready_worker("--slots", "1")
    bench.send(f"until [ -e {gate} ]; do echo running; sleep 0.1; done; echo drained", name="running")
    worker.wait_for("job output")
    bench.send("true", name="waiting")

    worker.signal(signal.SIGTERM)
    worker.wait_for("worker stopping")
    for _ in range(5):
        worker.wait_for("job output")  # it goes on
    gate.touch()

    assert worker.ended() == 0
    (result,) = bench.read_results(1)
    assert (result["job"], result["exit"]) == ("running", "exit 0")
    assert result["output"].endswith("running\ndrained\n")
    assert bench.committed() == 1


def test_a_second_sigterm_kills_running_jobs_and_gives_them_back(bench: Bench) -> None:
    worker = bench.ready_worker()
    bench.send("echo running; sleep 600", name="running", max_attempts=3)
    worker.wait_for("job output")

    worker.signal(signal.SIGTERM)
    worker.wait_for("worker stopping")
    worker.signal(signal.SIGTERM)

    finished = worker.wait_for("run finished")
    assert (finished["outcome"], finished["then"]) == ("killed", "given back")
    assert worker.ended() == 0
    assert bench.committed() <= 0
    again = bench.worker()
    assert again.wait_for("job started")["attempt"] == 1
    again.wait_for("job output")


def test_a_partition_that_goes_to_another_worker_is_drained_first(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = bench.ready_worker("--drain", "30s")
    for partition in range(PARTITIONS):
        command = f"echo running; until [ -e {gate} ]; do sleep 0.05; done; echo drained"
        bench.send(command, name=f"job-{partition}", partition=partition)
    for _ in range(PARTITIONS):
        first.wait_for("job output")

    second = bench.worker()
    first.wait_for("partitions revoked")
    gate.touch()
    results = bench.read_results(PARTITIONS)
    second.wait_for("partitions assigned")
    for worker in (first, second):
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0

    assert sorted(result["job"] for result in results) == [f"job-{n}" for n in range(PARTITIONS)]
    assert len(bench.read_results(PARTITIONS)) == PARTITIONS
    assert second.all("job started") == []
    assert first.all("bookkeeping failed") == []


def test_a_worker_that_was_frozen_past_its_session_writes_nothing_twice(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = bench.ready_worker()
    bench.send(f"echo running; until [ -e {gate} ]; do sleep 0.05; done", name="job")
    first.wait_for("job output")

    first.signal(signal.SIGSTOP)
    second = bench.worker()
    second.wait_for("job output", lambda event: event["line"] == "running")
    gate.touch()  # both attempts end; only one of the workers may say so
    second.wait_for("run finished")
    bench.read_results(1)
    first.signal(signal.SIGCONT)
    first.wait_for("partitions lost")
    for worker in (first, second):
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0

    assert len(bench.read_results(1)) == 1
    assert bench.committed() == 1


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"METRICS_HTTP_ADDR": "nowhere"}, "METRICS_HTTP_ADDR"),
        ({"WORKER_DRAIN": "soon"}, "'--drain'"),
        ({"WORKER_CLUSTER": "no such/name"}, "'--cluster'"),
    ],
)
def test_a_setting_that_does_not_parse_is_named(environment: dict[str, str], named: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker"],
        env={**os.environ, "WORKER_CLUSTER": "a", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert ended.returncode in (64, 78)
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
