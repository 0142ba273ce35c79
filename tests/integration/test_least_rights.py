"""Every component does its work with the rights that the runbook gives it, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException, Producer

from planner.cli import cli as planner
from scheduler.cli import cli as scheduler
from scheduler.errors import ExitCode
from tests.support.guarded_kafka import (
    CLUSTER,
    GuardedKafka,
    Resource,
    credentials,
    give_all,
    groups,
    topics,
    transactions,
)
from tests.support.schedules import Installation, clock
from tests.support.workers import WorkerProcess
from worker.cli import command as worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

COMPONENTS = ("scheduler", "worker", "planner", "operator", "doctor", "client")
GROUP = "scheduler-cg"
CLUSTERS = "cluster-a,target"
"""The second one's topic is where the test's own schedules go."""
ALL = ("schedules", "history", "dead-letters", "results", "cluster-a", "cluster-a-retry", "target", "target-retry")
MEANT: dict[str, list[Resource]] = {
    "schedules topics": topics("schedules"),
    "history, dead letters": topics("history", "dead-letters"),
    "history": topics("history"),
    "targets": topics("target", "cluster-a", "cluster-a-retry"),
    "group `<GROUP_ID>`": groups(GROUP),
    "group `scheduler-reader`": groups("scheduler-reader"),
    "transactional ids that begin with `<GROUP_ID>-`": transactions(f"{GROUP}-"),
    "the topics of its cluster": topics("cluster-a", "cluster-a-retry"),
    "schedules topics, results, dead letters": topics("schedules", "results", "dead-letters"),
    "groups `worker-<topic>`": groups("worker-cluster-a", "worker-cluster-a-retry"),
    "transactional ids that begin with `worker-`": transactions("worker-"),
    "transactional ids that begin with `planner-`": transactions("planner-"),
    "transactional id `scheduler-hold-<GROUP_ID>`": transactions(f"scheduler-hold-{GROUP}"),
    "dead letters": topics("dead-letters"),
    "transactional ids that begin with `worker-dead-letters-`": transactions("worker-dead-letters-"),
    "all topics of the installation, `__consumer_offsets`, `__transaction_state`": topics(
        *ALL, "__consumer_offsets", "__transaction_state"
    ),
    "the cluster": CLUSTER,
}
CRONTAB = """
NAME=works
@every 1s  echo it works
MAX_ATTEMPTS=2
RETRY_DELAY=1s
NAME=fails
@every 1s  exit 3
"""
HOUR_MS = 3_600_000


class World:
    """The broker, and commands that each component runs as itself."""

    def __init__(self, kafka: GuardedKafka, folder: Path) -> None:
        self.kafka = kafka
        self.folder = folder
        # what the test itself does comes by the port that is trusted
        self.installation = Installation(
            kafka.bootstrap_servers, ("schedules",), "history", "dead-letters", "target", GROUP, 1
        )

    def environment(self, user: str | None) -> dict[str, str]:
        given = {"BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers, "CLUSTERS": CLUSTERS, "PARTITIONS": "1"}
        if user is not None:
            given["BOOTSTRAP_SERVERS"] = self.kafka.users
            given["CONFIGURATION_FILE"] = str(credentials(self.folder, user))
        return given

    def run(self, user: str | None, program: click.Command, *arguments: str) -> str:
        done = CliRunner().invoke(program, arguments, env=self.environment(user), standalone_mode=False)
        assert done.exception is None, f"{user}: {arguments}: {done.exception}"
        assert done.return_value in (None, ExitCode.OK), f"{user}: {arguments}: {done.output}"
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with GuardedKafka(COMPONENTS) as kafka:
        made = World(kafka, tmp_path_factory.mktemp("users"))
        made.run(None, scheduler, "topics", "--create")
        give_all(kafka, MEANT)
        yield made


def test_the_rights_of_the_runbook_are_enough(world: World) -> None:
    installation = world.installation
    scheduler_file = credentials(world.folder, "scheduler")
    crontab = world.folder / "crontab.txt"
    crontab.write_text(CRONTAB)
    sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}
    as_client = {"bootstrap.servers": world.kafka.users, **sasl, "sasl.username": "client", "sasl.password": "client"}

    with installation.replica(bootstrap_servers=world.kafka.users, configuration_file=scheduler_file):
        far_ms = clock.now_ms() + HOUR_MS
        installation.write(
            installation.schedule(b"due", epoch=0),
            installation.schedule(b"far", due_ms=far_ms),
            installation.schedule(b"unknown", epoch=0, target_topic="nowhere"),
            **as_client,
        )
        installation.fired(b"due")
        world.run("planner", planner, "sync", str(crontab))
        options = ("--cluster", "cluster-a")
        workers = [WorkerProcess(world.environment("worker"), *options, *retry) for retry in ((), ("--retry",))]
        try:
            installation.wait_for("results", 1)
            installation.wait_for("dead-letters", 2)  # what cannot be delivered, and a job
        finally:
            for each in workers:
                each.end()
        assert "far" in world.run("operator", scheduler, "list")
        world.run("operator", scheduler, "pause", "--all")
        world.run("operator", scheduler, "resume", "--all")
        world.run("operator", scheduler, "cancel", "far", "--wait")
        exported = world.run("operator", scheduler, "export")
        assert {json.loads(line)["key"] for line in exported.splitlines()} >= {"crontab.txt/works", "crontab.txt/fails"}
        letters = json.loads(world.run("operator", worker, "dead", "list", "--json"))
        world.run("operator", worker, "dead", "discard", letters[0]["id"])
        found = json.loads(world.run("doctor", scheduler, "doctor", "--json"))
        assert [each for each in found if each["status"] in ("failed", "unknown") and each["check"] != "clock"] == []


def test_a_client_can_neither_read_schedules_nor_fence_the_scheduler(world: World) -> None:
    with pytest.raises(AssertionError, match="client"):
        world.run("client", scheduler, "list")
    conf = {"bootstrap.servers": world.kafka.users, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}
    conf |= {"sasl.username": "client", "sasl.password": "client", "transactional.id": f"{GROUP}-schedules-0"}
    with pytest.raises(KafkaException, match="authoriz"):
        Producer({**conf, "log_level": 0}).init_transactions(10)
