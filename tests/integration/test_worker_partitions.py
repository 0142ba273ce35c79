"""How many partitions a cluster's topic has, and what two workers make of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.schedules import wait_until
from tests.support.workers import Bench

if TYPE_CHECKING:
    from tests.support.broker import Broker, Topics


@pytest.mark.parametrize(("partitions", "shares"), [(1, [0, 1]), (2, [1, 1]), (3, [1, 2])])
def test_two_workers_share_one_two_or_three_partitions(
    broker: Broker, topics: Topics, partitions: int, shares: list[int]
) -> None:
    """One partition: a worker stands by. Two: each has one. Three: one of them has twice the other's share."""
    bench = Bench(broker, topics, partitions=partitions)
    try:
        workers = [bench.worker(), bench.worker()]
        wait_until(lambda: bench.owned() == shares, f"the partitions are shared {shares}")
        for number in range(6 * partitions):
            bench.send("true", name=f"job-{number}", partition=number % partitions)

        results = [json.loads(message.value() or b"") for message in bench.read(bench.results, 6 * partitions)]

        ran = sorted(
            len({result["source"]["partition"] for result in results if result["worker"].endswith(f"-{worker.pid}")})
            for worker in workers
        )
        assert ran == shares
        assert len({result["run_id"] for result in results}) == 6 * partitions
    finally:
        bench.close()
