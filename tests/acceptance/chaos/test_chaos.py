"""The promises under faults: three brokers behind proxies, three replicas, ten faults, judged by `scheduler.audit`.

`make chaos` is the same for longer and with more kinds of faults; docs/reliability.md has what came of it.
"""

from __future__ import annotations

import shutil

import pytest

from tests.support.chaos import plan
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.log import ROOT
from tests.support.chaos.run import Run, Size

SEED = 7
SCHEDULES = 5_000
FAULTS = 10
SECONDS = 30.0
FOLDER = ROOT / ".local" / "chaos" / "quick"
"""Journal, recording and logs of the last run: of one that fails, they are what to look at."""


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_torn_whatever_fails() -> None:
    """Each kind of fault strikes replicas, brokers or the network while customers write, change and cancel."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with Cluster(FOLDER) as cluster, cluster.installed("quick"):
        report = Run(cluster, FOLDER, SEED, plan.quick(SEED), Size(SCHEDULES), print).play()
        described = cluster.admin.describe_consumer_groups([cluster.names.group])[cluster.names.group].result(SECONDS)
        assert cluster.roles.group_coordinator(cluster.names.group) == described.coordinator.id

    report.check()
    assert len(report.faults) == FAULTS
    assert report.verdict is not None
    assert report.verdict.schedules >= SCHEDULES
