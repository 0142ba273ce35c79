"""Runs of one job that meet: beside one another, left out, or in each other's place."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.workers import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics)
    yield made
    made.close()


def until(gate: Path) -> str:
    return f"echo running; until [ -e {gate} ]; do sleep 0.05; done; echo done"


def test_allowed_runs_go_side_by_side(bench: Bench, tmp_path: Path) -> None:
    worker = bench.ready_worker()
    for _ in range(3):
        bench.send(until(tmp_path / "gate"), name="job", overlap="allow")
    for _ in range(3):
        worker.wait_for("job output")  # none of them has ended
    (tmp_path / "gate").touch()

    assert [result["outcome"] for result in bench.read_results(3)] == ["succeeded"] * 3


def test_a_forbidden_run_is_skipped_and_recorded_and_the_next_one_is_made(bench: Bench, tmp_path: Path) -> None:
    worker = bench.ready_worker()
    bench.send(until(tmp_path / "gate"), name="job", overlap="forbid")
    worker.wait_for("job output")
    for _ in range(2):
        bench.send("true", name="job", overlap="forbid", max_attempts=3)
    skipped = bench.read_results(2)
    (tmp_path / "gate").touch()
    bench.read_results(3)
    bench.send("echo again", name="job", overlap="forbid")

    results = bench.read_results(4)

    assert [result["outcome"] for result in skipped] == ["skipped"] * 2
    assert {(result["then"], result["exit"]) for result in skipped} == {(None, "skipped: an earlier run has not ended")}
    assert [result["output"] for result in results[2:]] == ["running\ndone\n", "again\n"]
    assert bench.read(bench.schedules, 0) == []


def test_a_run_that_replaces_ends_the_one_before_it_and_those_that_wait(bench: Bench) -> None:
    worker = bench.ready_worker("--kill-grace", "300ms")
    bench.send("trap '' TERM; echo $$; while :; do sleep 600; done", name="job", overlap="replace", max_attempts=3)
    worker.wait_for("job output")
    for number in range(3):
        bench.send(f"echo {number}", name="job", overlap="replace", max_attempts=3)

    results = {result["run_id"]: result for result in bench.read_results(4)}

    first, *between, last = (results[run_id] for run_id in sorted(results))
    assert (first["outcome"], first["signal"], first["then"]) == ("replaced", "SIGKILL", None)
    assert {result["outcome"] for result in between} == {"skipped"}
    assert (last["outcome"], last["output"]) == ("succeeded", "2\n")
    assert bench.read(bench.schedules, 0) == []


def test_a_crowd_of_one_job_does_not_keep_another_job_waiting(bench: Bench) -> None:
    for _ in range(30):
        bench.send("sleep 0.2", name="crowd")
    bench.send("true", name="other")
    bench.ready_worker("--slots", "2")

    order = [result["job"] for result in bench.read_results(6)]

    assert "other" in order[:6]


def test_a_crowd_larger_than_what_is_made_side_by_side_keeps_nobody_waiting_and_is_made_once_over_a_kill(
    bench: Bench, tmp_path: Path
) -> None:
    size, gate, properties = 400, tmp_path / "gate", tmp_path / "client.config"
    properties.write_text("group.instance.id=the-one\n")  # who comes back is the same member, at once
    for _ in range(size):
        bench.put(f"until [ -e {gate} ]; do sleep 0.02; done", name="crowd")
    bench.put("true", name="other")
    bench.flush()
    first = bench.worker(CONFIGURATION_FILE=str(properties))
    (other,) = bench.read_results(1)
    assert other["job"] == "other"
    first.signal(signal.SIGKILL)
    first.ended()

    gate.touch()
    bench.send("true", name="last")
    bench.worker(CONFIGURATION_FILE=str(properties))
    results = bench.read_results(size + 2)

    assert len({(result["source"]["offset"]) for result in results}) == len(results) == size + 2
    crowd = [result["source"]["offset"] for result in results if result["job"] == "crowd"]
    assert crowd == list(range(size))
    last = next(number for number, result in enumerate(results) if result["job"] == "last")
    assert last < size // 2
