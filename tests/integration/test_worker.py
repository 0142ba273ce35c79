"""Workers as processes on a real broker: what is run, what is written of it, and what survives a worker's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from scheduler import wire
from scheduler.instants import format_epoch, parse_instant
from scheduler.job import Job
from scheduler.schedule import Schedule
from tests.support.raw_produce import produce_raw
from tests.support.schedules import wait_until
from tests.support.workers import CLOCK, PARTITIONS, SECONDS, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics


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


def test_the_shell_is_the_one_that_the_job_names(bench: Bench) -> None:
    bench.send("echo $0", name="default")
    bench.send("echo $0 $((2**10))", name="bash", environment={"SHELL": "/bin/bash"})
    bench.send("echo $0", name="none", environment={"SHELL": "/no/such/shell"}, max_attempts=1)
    bench.ready_worker(SHELL="/bin/false")

    results = {result["job"]: result for result in bench.read_results(3)}

    assert results["default"]["output"] == "/bin/sh\n"
    assert results["bash"]["output"] == "/bin/bash 1024\n"
    assert results["none"]["exit"] == "could not start: [Errno 2] No such file or directory: '/no/such/shell'"


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


def test_a_message_whose_header_names_are_not_utf8_goes_to_the_dead_letters_and_the_next_one_is_run(
    bench: Bench, broker: Broker
) -> None:
    before = 100  # the interpreter calls in another way what it has called often, and the client trips in another way
    for _ in range(before):
        bench.send_raw(b"no job", headers=[("trace", b"1")])
    produce_raw(
        broker.bootstrap_servers, bench.cluster, 0, b"key", b"value", [(b"n\xff", b"1")], timestamp_ms=CLOCK.now_ms()
    )
    bench.send("true")
    worker = bench.ready_worker()

    *_, dead = bench.read(bench.dead_letters, before + 1)
    (result,) = bench.read_results(1)

    assert (dead.key(), dead.value()) == (b"key", b"value")
    assert b"header's name is not UTF-8" in dict(dead.headers() or [])["dead-letter-reason"]
    assert result["outcome"] == "succeeded"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0


def test_a_job_that_grows_too_large_for_kafka_is_given_up_and_blocks_nothing(bench: Bench) -> None:
    # text that does not compress: a broker counts the bytes that are sent
    bench.limit_records(bench.schedules, 50_000)
    bench.send("exit 1", name="large", max_attempts=2, stdin=os.urandom(50_000).hex())
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
    waiting = worker.wait_for("waiting for the topic")
    assert (waiting["level"], waiting["topic"]) == ("warning", name)
    assert waiting["create_it_with"].startswith("CLUSTERS=")

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


def test_the_backlog_of_one_job_holds_up_no_other_on_its_partition(bench: Bench) -> None:
    """Nor the books: the result of what came behind it is there while it waits."""
    for _ in range(800):
        bench.send("sleep 600", name="slow", partition=0)
    bench.send("true", name="quick", partition=0)

    worker = bench.worker("--slots", "2")
    worker.wait_for("run finished", lambda event: event["job"] == "quick")

    (result,) = bench.read_results(1)
    assert result["job"] == "quick"


def test_a_worker_that_leaves_says_that_nothing_is_open(bench: Bench) -> None:
    worker = bench.worker()
    bench.send("true", name="job")
    bench.read_results(1)
    assert bench.metadata().endswith(b";open")

    worker.signal(signal.SIGTERM)

    assert worker.ended() == 0
    assert bench.metadata() == b""


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


def test_metrics_and_health_are_served(bench: Bench) -> None:
    worker = bench.worker("--slots", "1", METRICS_HTTP_ADDR="127.0.0.1:0")
    address = worker.wait_for("metrics served")["address"]
    bench.send("echo running; sleep 600", name="running")
    worker.wait_for("job output")
    bench.send("true", name="waiting")

    def metric(name: str) -> float:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name + "{")).rpartition(" ")[2])

    wait_until(lambda: metric("worker_waiting") == 1 and metric("worker_oldest_waiting_seconds") > 0, "one waits")
    assert metric("worker_running") == 1
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=SECONDS) as answer:
        assert (answer.status, answer.read()) == (200, b"ok\n")


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
