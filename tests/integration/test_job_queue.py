"""The job queue on a real broker: enqueued once, run by its worker, retried and delayed by a scheduler."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from scheduler import wire
from scheduler.job import Job
from scheduler.records import Write
from scheduler.schedule import Schedule
from tests.support.schedules import wait_until
from tests.support.shop import open_shop
from tests.support.workers import SECONDS, WorkerProcess
from worker import JobQueue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics
    from tests.support.shop import Shop


@pytest.fixture
def shop(broker: Broker, topics: Topics, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(broker, topics, tmp_path) as made:
        yield made


def test_init_creates_the_topics_once_as_they_have_to_be(shop: Shop) -> None:
    config = shop.queue.config
    wanted = {config.default_queue, f"{config.default_queue}-retry", config.delayed_queue, config.dead_queue}

    assert wanted | {config.results} < set(shop.created)
    assert shop.queue.init() == []


def test_jobs_are_called_and_chained_and_what_is_none_is_given_up(shop: Shop) -> None:
    sender = JobQueue(config=shop.queue.config)  # knows no handler
    enqueued = sender.enqueue("sum-doubled", "1", 2)
    sender.enqueue("unknown")
    gone = sender.enqueue("hopeless")
    wrong = sender.enqueue("Add", "three", 5)
    sender.send(
        [Write(shop.queue.config.default_queue, b"k", Job(id="x", job="x", cluster="c", command="id").to_json())]
    )
    sender.close()
    with shop.worker():
        results = shop.results(5)
        dead = shop.read(shop.queue.config.dead_queue, 4)

    run_id = enqueued.run_id
    chained = sorted((r for r in results if r["run_id"].startswith(run_id)), key=lambda result: len(result["run_id"]))
    assert [(result["run_id"], result["output"]) for result in chained] == [
        (run_id, "3"),
        (f"{run_id}/double", "6"),
        (f"{run_id}/double/shout", '"6!"'),
    ]
    reasons = sorted(record["dead-letter-reason"] or b"" for record in dead)
    given_up = {result["run_id"]: result["then"] for result in results if result["outcome"] == "failed"}
    assert given_up == {gone.run_id: "dead-letter", wrong.run_id: "dead-letter"}
    assert reasons[0].startswith(b"attempt 1 of 4 failed for good: wrong arguments: arguments of Add(x: int, y: int)")
    assert reasons[1] == b"attempt 1 of 6 failed for good: GiveUp: the customer has gone"
    assert reasons[2] == b"command: this worker calls handlers, it runs no commands"
    assert reasons[3].startswith(b"handler: 'unknown' is not registered")


def test_delays_and_retries_wait_in_kafka_and_count_to_the_dead_letter(shop: Shop) -> None:
    with shop.scheduler(), shop.worker(slots=3):
        good = shop.queue.enqueue("flaky", 3)
        bad = shop.queue.enqueue("flaky", 9)
        delayed = shop.queue.enqueue("Add", 3, 5, delay="500ms")
        results = shop.results(7)
        (dead,) = shop.read(shop.queue.config.dead_queue, 1)

    by_run = {
        run_id: [result for result in results if result["run_id"] == run_id]
        for run_id in (good.run_id, bad.run_id, delayed.run_id)
    }
    assert [(r["attempt"], r["then"]) for r in by_run[good.run_id]] == [(1, "retry"), (2, "retry"), (3, None)]
    assert by_run[good.run_id][-1]["output"] == f'"{good.run_id} 3"'
    assert [(r["attempt"], r["then"]) for r in by_run[bad.run_id]] == [(1, "retry"), (2, "retry"), (3, "dead-letter")]
    (sum_,) = by_run[delayed.run_id]
    assert sum_["output"] == "8"
    assert delayed.receipt.topic == shop.queue.config.delayed_queue
    letter = json.loads(dead.value or b"")
    assert letter["arguments"] == [9]  # as deep as they were given, after all attempts
    assert len(letter["errors"]) == 3


def test_a_handlers_own_delay_is_that_of_the_next_attempt(shop: Shop) -> None:
    shop.queue.enqueue("later", "15m")
    with shop.worker(retry_slots=0):
        (result,) = shop.results(1)
    (written,) = shop.read(shop.queue.config.delayed_queue, 1)

    schedule = wire.decode(written.key, written.value, written.headers, timestamp_ms=written.timestamp_ms)
    assert isinstance(schedule, Schedule)
    assert schedule.target_topic == f"{shop.queue.config.default_queue}-retry"
    assert 890_000 < schedule.due_ms - written.timestamp_ms < 1_000_000
    assert result["error"] == "RetryLater: busy"


def test_jobs_of_a_fifo_handler_are_run_one_by_one_in_their_order(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "order"
    shop.queue.send([shop.queue.draft("appended", str(file), str(number)) for number in range(60)])
    with shop.worker(slots=20, retry_slots=0):
        shop.results(60)

    assert file.read_text().split() == [str(number) for number in range(60)]


def test_a_killed_worker_leaves_no_process_behind_and_its_job_is_called_again(shop: Shop, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    shop.queue.enqueue("endless_process", str(told))
    arguments = ("--handlers", "tests.support.handlers:jobs")
    killed = WorkerProcess(shop.environment(), *arguments)
    wait_until(lambda: told.exists() and told.read_text() != "", "the handler has begun", SECONDS)
    handler = psutil.Process(int(told.read_text()))
    told.unlink()

    os.kill(killed.pid, signal.SIGKILL)
    killed.end()

    psutil.wait_procs([handler], SECONDS)
    assert not handler.is_running()
    again = WorkerProcess(shop.environment(), *arguments)
    again.wait_for("job started")
    wait_until(told.exists, "the handler has begun again", SECONDS)
    again.end()
