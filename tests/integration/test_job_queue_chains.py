"""Chains whose worker comes to harm while it books one of their jobs: each job is enqueued once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from scheduler.job import Job
from tests.support.schedules import wait_until
from tests.support.shop import open_shop
from tests.support.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics
    from tests.support.shop import Shop

HANDLERS = ("--handlers", "tests.support.handlers:jobs")
SAME_MEMBER = "group.instance.id=the-one\n"
"""A worker that comes back after a kill is the same member: the group does not wait for its session."""


@pytest.fixture
def shop(broker: Broker, topics: Topics, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(broker, topics, tmp_path) as made:
        yield made


class Harmed:
    """A worker that comes to harm, and the one that takes over."""

    def __init__(self, shop: Shop, failpoint: str, properties: Path) -> None:
        properties.touch()
        self._environment = {
            **shop.environment(),
            "CONFIGURATION_FILE": str(properties),
            "TRANSACTION_TIMEOUT": "2000",
        }
        self.first = WorkerProcess(
            {**self._environment, "FAILPOINT": failpoint}, *HANDLERS, module="tests.support.failing_worker"
        )
        self._started = [self.first]

    def second(self) -> WorkerProcess:
        self._started.append(WorkerProcess(self._environment, *HANDLERS))
        return self._started[-1]

    def close(self) -> None:
        for worker in self._started:
            worker.end()


def assert_each_job_of_the_chain_was_enqueued_once(shop: Shop, run_id: str, calls: int) -> None:
    """To the end: what was enqueued, and one success for each."""
    results = shop.results(3)
    assert {result["outcome"] for result in results} == {"succeeded"}
    assert sorted((result["run_id"], result["output"]) for result in results) == [
        (run_id, str(calls)),
        (f"{run_id}/double", str(2 * calls)),
        (f"{run_id}/double/shout", f'"{2 * calls}!"'),
    ]
    enqueued = [Job.from_json(record.value or b"").run_id for record in shop.read(shop.queue.config.default_queue, 3)]
    assert sorted(enqueued, key=lambda it: len(it or "")) == [run_id, f"{run_id}/double", f"{run_id}/double/shout"]


@pytest.mark.parametrize(
    ("failpoint", "calls"),
    [("halfway:kill:1", 2), ("committed:kill:1", 1), ("written:kill:2", 1)],
)
def test_a_chain_goes_on_once_where_its_worker_is_killed(
    shop: Shop, tmp_path: Path, failpoint: str, calls: int
) -> None:
    file, properties = tmp_path / "calls", tmp_path / "client.config"
    properties.write_text(SAME_MEMBER)
    enqueued = shop.queue.enqueue("counted", str(file))
    harmed = Harmed(shop, failpoint, properties)
    try:
        assert harmed.first.ended() == -signal.SIGKILL
        harmed.second()

        assert_each_job_of_the_chain_was_enqueued_once(shop, enqueued.run_id, calls)
    finally:
        harmed.close()
    assert len(file.read_text().splitlines()) == calls


@pytest.mark.parametrize("point", ["written", "committed"])
def test_a_chain_goes_on_once_where_the_end_of_a_transaction_is_uncertain(
    shop: Shop, tmp_path: Path, point: str
) -> None:
    file = tmp_path / "calls"
    enqueued = shop.queue.enqueue("counted", str(file))
    harmed = Harmed(shop, f"{point}:fail:1", tmp_path / "client.config")
    try:
        assert_each_job_of_the_chain_was_enqueued_once(shop, enqueued.run_id, 1)
        assert len(harmed.first.all("bookkeeping failed")) == 1
    finally:
        harmed.close()
    assert file.read_text().splitlines() == ["called"]


def test_a_chain_goes_on_once_where_its_worker_was_frozen_past_its_session(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "calls"
    enqueued = shop.queue.enqueue("counted", str(file))
    harmed = Harmed(shop, "before:freeze:1", tmp_path / "client.config")
    try:
        wait_until(file.exists, "the handler was called")
        harmed.second()
        assert_each_job_of_the_chain_was_enqueued_once(shop, enqueued.run_id, 2)

        harmed.first.signal(signal.SIGCONT)
        for event in ("bookkeeping failed", "partitions lost"):
            wait_until(lambda said=event: harmed.first.all(said), f"the first worker says: {event}")
        harmed.first.signal(signal.SIGTERM)

        assert harmed.first.ended() == 0
        assert_each_job_of_the_chain_was_enqueued_once(shop, enqueued.run_id, 2)
    finally:
        harmed.close()
