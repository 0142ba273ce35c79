"""A worker whose books cannot be written for a while: what it keeps in memory meanwhile has a bound."""

from __future__ import annotations

import urllib.request
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.schedules import wait_until
from tests.support.workers import SECONDS, Bench
from worker.service import UNBOOKED_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Broker, Topics

PARTITIONS = 8
SAID = 64 * 1024
JOBS = UNBOOKED_BYTES // SAID * 3 // 2
"""One and a half times the bound; of each partition less than what it may read ahead."""
A_WHILE = 100.0


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics, partitions=PARTITIONS)
    yield made
    made.close()


def test_a_worker_that_cannot_book_what_has_ended_begins_nothing_more_until_it_can(bench: Bench) -> None:
    bench.results = f"{bench.results}-late"  # nothing can be booked while it is not there
    registry = ("--handlers", "tests.support.handlers:jobs")
    worker = bench.worker(*registry, METRICS_HTTP_ADDR="127.0.0.1:0", LOG_LEVEL="info")
    address = worker.wait_for("metrics served")["address"]

    def now() -> tuple[int, int, int]:
        """How many have ended, run, and wait."""
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
            told = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
        runs, running, waiting = (
            sum(int(float(value)) for name, _, value in told if name.startswith(f"worker_{counted}{{"))
            for counted in ("runs_total", "running", "waiting")
        )
        return runs, running, waiting

    for number in range(JOBS):
        job = {"handler": "say", "arguments": [SAID]}
        bench.put(None, partition=number % PARTITIONS, name=f"job-{number}", **job)
    bench.flush()

    def at_rest() -> bool:
        ended, running, waiting = now()
        return (running, ended + waiting) == (0, JOBS)

    wait_until(at_rest, "all are read, and nothing runs", A_WHILE)
    ended, _, waiting = now()
    assert ended * SAID > UNBOOKED_BYTES
    assert waiting > 0, "it has gone on, with more and more in memory"

    bench.create(bench.results)
    wait_until(lambda: now() == (JOBS, 0, 0), "it goes on", A_WHILE)
    wait_until(lambda: sum(map(bench.committed, range(PARTITIONS))) == JOBS, "all are booked", A_WHILE)
    results = Counter(message.key() for message in bench.read(bench.results, JOBS))
    assert len(results) == JOBS
    assert set(results.values()) == {1}
