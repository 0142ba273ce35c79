"""docker-compose.yml: what runs is locked down, reachable from this machine only, and can be scaled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.runtime.settings import Settings
from tests.support.command_lines import parse

ROOT = Path(__file__).parents[3]
DOCUMENT = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("kafka-delay-scheduler:")}
ONE_SHOT = {"topics"}
VARIABLES = {name.upper() for name in Settings.model_fields}

every_service = pytest.mark.parametrize("name", SERVICES)


@every_service
def test_a_service_may_do_nothing_that_it_need_not(name: str) -> None:
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"]
    assert not service.keys() & {"privileged", "network_mode", "pid", "ipc", "devices", "cap_add", "user"}
    # Kafka's image writes its configuration into itself
    assert service.get("read_only", False) is (name != "kafka")


@every_service
def test_a_service_is_reachable_from_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@every_service
def test_a_service_is_pinned_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]

    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert ("healthcheck" in service) is (name not in ONE_SHOT)
    assert ("restart" in service) is (name not in ONE_SHOT)


@every_service
def test_what_a_service_mounts_is_there_and_is_not_written_to(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in DOCUMENT["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_ours_say_what_the_programs_understand(name: str) -> None:
    service = OURS[name]

    parse(*service["command"])
    assert set(service["environment"]) <= VARIABLES
    assert "container_name" not in service
    assert "stop_grace_period" in service


def test_the_image_is_built_once_for_all_that_run_it() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["scheduler"]
    assert len({service["image"] for service in OURS.values()}) == 1
    # no registry is asked for it: whoever took the name there would run here
    assert {service["pull_policy"] for service in OURS.values()} == {"never"}


def test_replicas_can_be_added() -> None:
    low, high = map(int, SERVICES["scheduler"]["ports"][0].split(":")[1].split("-"))

    assert SERVICES["scheduler"]["deploy"]["replicas"] == 3
    assert high - low + 1 >= int(SERVICES["topics"]["environment"]["PARTITIONS"])


def test_replicas_share_a_folder_for_snapshots_that_is_theirs_in_the_image() -> None:
    folder = SERVICES["scheduler"]["environment"]["SNAPSHOT_DIR"]

    (volume,) = SERVICES["scheduler"]["volumes"]
    assert volume == f"snapshots:{folder}"
    # Docker gives a new volume the owner and the mode of what it is mounted on
    made = re.search(r"install --directory --owner (\d+) --group (\d+) --mode 700 (\S+)", DOCKERFILE)
    assert made is not None
    assert made[3] == folder
    assert f"USER {made[1]}:{made[2]}" in DOCKERFILE


def test_prometheus_asks_every_program_where_it_answers() -> None:
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    asked = {name: sd["port"] for job in scraped for sd in job["dns_sd_configs"] for name in sd["names"]}

    assert asked == {
        name: int(service["environment"]["METRICS_HTTP_ADDR"].removeprefix(":")) for name, service in OURS.items()
    }


def test_each_cluster_has_workers_for_first_runs_and_for_retries() -> None:
    (clusters,) = {service["environment"]["CLUSTERS"] for service in OURS.values()}
    run = sorted(tuple(service["command"]) for service in OURS.values() if service["command"][0] == "worker")

    assert run == sorted(
        ("worker", "--cluster", cluster, *retry) for cluster in clusters.split(",") for retry in ((), ("--retry",))
    )
