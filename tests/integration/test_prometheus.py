"""A real Prometheus with the rules that are shipped asks the programs while they run, and answers the dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from dev.kafka_node import free_port
from tests.support.processes import Replicas
from tests.support.schedules import Installation, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Broker, Topics

pytestmark = pytest.mark.prometheus

DEPLOY = Path(__file__).parents[2] / "deploy"
SECONDS = 90.0
MISSING = "These tests need Prometheus (Debian: apt-get install prometheus)."
CRONTAB = """\
NAME=succeeds
@every 1s {cluster} true
NAME=fails
@every 1s {cluster} false
"""


class Prometheus:
    """A server on a free port, with the shipped rules and jobs; only where the jobs' programs are is said here."""

    def __init__(self, folder: Path, addresses: dict[str, str]) -> None:
        path = shutil.which("prometheus")
        if path is None:
            pytest.fail(MISSING, pytrace=False)
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        assert {job["job_name"] for job in config["scrape_configs"]} == set(addresses)
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": [addresses[job["job_name"]]]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self._log = (folder / "prometheus.log").open("w+")
        self._process = subprocess.Popen(
            [
                path,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        self._http = httpx.Client(base_url=f"http://{address}/api/v1", timeout=10.0)

    def ask(self, path: str, **query: str) -> Any:
        """The `data` of an answer; None while it does not listen yet."""
        try:
            answer = self._http.get(path, params=query)
        except httpx.TransportError:
            assert self._process.poll() is None, Path(self._log.name).read_text()
            return None
        assert answer.status_code in (200, 503), answer.text
        return answer.json()["data"] if answer.status_code == 200 else None

    def close(self) -> None:
        self._http.close()
        self._process.kill()
        self._process.wait()
        self._log.close()


@pytest.fixture
def prometheus(broker: Broker, topics: Topics, tmp_path: Path) -> Iterator[Prometheus]:
    """Asks a replica, a worker and a planner, between which jobs succeed, fail and are given up."""
    installation = Installation.make(broker.bootstrap_servers, topics)
    cluster = topics.create("cluster")
    environment = {
        **installation.environment(),
        "CLUSTERS": cluster,
        "RESULTS_TOPIC": topics.create("results"),
        "SERVER_ADDR": "off",
    }
    crontab = tmp_path / "crontab.txt"
    crontab.write_text(CRONTAB.format(cluster=cluster))
    with Replicas(environment, tmp_path, clock) as programs:
        started = {
            "scheduler": programs.start("scheduler"),
            "planner": programs.start("planner", ("planner", "watch", str(crontab))),
            "worker": programs.start("worker", ("worker", "--cluster", cluster)),
        }
        addresses = {}
        for name, program in started.items():
            (event, *_) = program.wait_for("metrics", "metrics served", seconds=SECONDS)
            addresses[name] = event["address"].removeprefix("http://").removesuffix("/metrics")
        server = Prometheus(tmp_path, addresses)
        try:
            yield server
        finally:
            server.close()


def test_every_program_is_scraped_every_rule_is_evaluated_and_every_panel_has_data(prometheus: Prometheus) -> None:
    def targets() -> list[dict[str, Any]]:
        found = prometheus.ask("/targets")
        return found["activeTargets"] if found else []

    wait_until(
        lambda: (
            sorted(each["labels"]["job"] for each in targets() if each["health"] == "up")
            == ["planner", "scheduler", "worker"]
        ),
        "each program is scraped",
        SECONDS,
    )
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "scheduler.json").read_text())
    asked = {target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())}
    wanted = set(asked)

    def all_answered() -> bool:
        for expression in list(wanted):
            # as Grafana does, where all is chosen
            query = expression.replace("$__rate_interval", "10s").replace("$topic", ".+").replace("$cluster", ".+")
            if prometheus.ask("/query", query=query)["result"]:
                wanted.discard(expression)
        return not wanted

    try:
        wait_until(all_answered, "each panel has data", SECONDS)
    except AssertionError:
        assert wanted == set()
        raise
    assert len(asked) > 30

    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.ask("/rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), "each rule was evaluated", SECONDS)
    assert [(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"] == []
