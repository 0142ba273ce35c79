"""The steps of docs/migration.md: a running system gains clusters, with no run lost and none that comes twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scheduler.errors import ExitCode
from scheduler.instants import parse_instant
from tests.support.planner import Planner
from tests.support.schedules import Installation, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics

SECONDS = 60.0
BEFORE = """\
# every run of a late scheduler or a busy machine counts
MISFIRE=all
NAME=named
@every 1s true
@every 4s true
@every 5s echo still here
"""
PERIODS_MS = {"named": 1_000, "true": 4_000, "echo": 5_000}


class Site:
    """Clusters' topics and workers on them."""

    def __init__(self, place: Installation, topics: Topics, folder: Path) -> None:
        self.place = place
        self._folder = folder
        self.results = topics.create("results")
        self.old, self.europe, self.america = (
            topics.create(name, partitions=2) for name in ("jobs", "europe", "america")
        )

    @contextmanager
    def worker(self, cluster: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of the cluster; it is asked to stop at the end, and ends well."""
        environment = {**os.environ, **self.place.environment(), "RESULTS_TOPIC": self.results}
        with (self._folder / f"{cluster}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "--cluster", cluster, "--metrics-addr", "off"],
                env=environment,
                stderr=log,
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()

    def runs(self, cluster: str | None = None) -> list[dict[str, Any]]:
        """Every attempt in the books, or those of a cluster."""
        found = [json.loads(record.value or b"") for record in self.place.read(self.results)]
        return [run for run in found if cluster in (None, run["cluster"])]

    def wait_for_runs(self, cluster: str, **counts: int) -> None:
        """Return once so many more runs of each of these jobs are in the books of the cluster."""
        wanted = {name: self._count(cluster, name) + count for name, count in counts.items()}
        wait_until(
            lambda: all(self._count(cluster, name) >= count for name, count in wanted.items()),
            f"{counts} more runs on {cluster}",
            SECONDS,
        )

    def _count(self, cluster: str, name: str) -> int:
        return sum(run["job"].partition("-")[0] == name for run in self.runs(cluster))

    def drained(self, *clusters: str) -> bool:
        """Whether whatever was sent to the clusters has been run."""
        return all(len(self.place.read(cluster)) == len(self.runs(cluster)) for cluster in clusters)


def sync(planner: Planner, text: str) -> str:
    """Sync until nothing is left for later: on a busy machine a moment may not be quiet enough."""
    ended = planner.sync(text)
    while ended.code == ExitCode.FAILED:
        assert "left as it was" in ended.err
        ended = planner.sync(text)
    assert (ended.code, ended.err) == (ExitCode.OK, "")
    return ended.summary


def test_a_running_system_gains_clusters(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    place = Installation.make(broker.bootstrap_servers, topics, partitions=3)
    site = Site(place, topics, tmp_path)
    planner = Planner({**place.environment(), "CLUSTERS": site.old}, tmp_path / "jobs")
    with place.replica(), site.worker(site.europe), site.worker(site.america):
        with site.worker(site.old):
            assert sync(planner, BEFORE) == "3 created, 0 changed, 0 cancelled, 0 kept"
            site.wait_for_runs(site.old, named=1, true=1, echo=1)

            # 1. The planner knows the clusters, the old one first: nothing changes.
            planner.environment["CLUSTERS"] = f"{site.old},{site.europe},{site.america}"
            planned = planner.run("plan", str(planner.crontab))
            assert (planned.code, planned.summary) == (ExitCode.OK, "0 created, 0 changed, 0 cancelled, 3 kept")

            # 2. Entries move, line by line; a named one and one without a name.
            some = BEFORE.replace("1s true", f"1s {site.europe} true").replace("4s true", f"4s {site.america} true")
            assert sync(planner, some).endswith("0 cancelled, 1 kept")
            site.wait_for_runs(site.europe, named=2)
            site.wait_for_runs(site.america, true=2)

            # 3. The rest, by a line above.
            everything = f"CLUSTER={site.europe}\n{some}"
            assert sync(planner, everything).endswith("0 cancelled, 2 kept")
            site.wait_for_runs(site.europe, echo=2)
            assert {stored.schedule.target_topic for stored in planner.in_force().values()} == {
                site.europe,
                site.america,
            }

            # 4. The old cluster's topic has been run to its end, and nothing more comes there.
            wait_until(lambda: site.drained(site.old), "the old cluster is drained", SECONDS)
        planner.environment["CLUSTERS"] = f"{site.europe},{site.america}"
        assert planner.run("plan", str(planner.crontab)).code == ExitCode.OK
        site.wait_for_runs(site.europe, named=1)

        planner.sync_well("", "--yes")
        wait_until(lambda: site.drained(site.europe, site.america), "all is run", SECONDS)

    for name, period_ms in PERIODS_MS.items():
        dues = sorted(parse_instant(run["due"]) or 0 for run in site.runs() if run["job"].partition("-")[0] == name)
        assert dues == list(range(dues[0], dues[-1] + 1, period_ms)), f"{name}: a run is lost or doubled"
