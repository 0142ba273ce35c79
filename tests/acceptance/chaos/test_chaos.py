"""The promises under faults: three brokers behind proxies, three replicas, ten faults, judged by `scheduler.audit`.

`make chaos` is the same for longer and with more kinds of faults; docs/reliability.md has what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.chaos import plan
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.run import Run, Size

if TYPE_CHECKING:
    from pathlib import Path

SEED = 7
SCHEDULES = 5_000
FAULTS = 10
SECONDS = 30.0


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_torn_whatever_fails(tmp_path: Path) -> None:
    """Each kind of fault strikes replicas, brokers or the network while customers write, change and cancel."""
    with Cluster(tmp_path) as cluster, cluster.installed("quick"):
        report = Run(cluster, tmp_path, SEED, plan.quick(SEED), Size(SCHEDULES), print).play()
        described = cluster.admin.describe_consumer_groups([cluster.names.group])[cluster.names.group].result(SECONDS)
        assert cluster.roles.group_coordinator(cluster.names.group) == described.coordinator.id

    report.check()
    assert len(report.faults) == FAULTS
    assert report.verdict is not None
    assert report.verdict.schedules >= SCHEDULES
