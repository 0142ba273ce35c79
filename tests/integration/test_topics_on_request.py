"""A cluster that creates what a client asks for: of the scheduler's own topics, none is made by asking for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from dev.local_kafka import LocalKafka
from tests.support.broker import Topics
from tests.support.schedules import SECONDS, Installation, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with LocalKafka(heap="512m", properties={"auto.create.topics.enable": "true", "num.partitions": "3"}) as started:
        yield started


@pytest.fixture
def topics(kafka: LocalKafka) -> Iterator[Topics]:
    made = Topics(kafka.bootstrap_servers)
    yield made
    made.delete()


class Client:
    """Somebody's client, whose questions are orders."""

    def __init__(self, servers: str, topics: Topics) -> None:
        self._admin = AdminClient({"bootstrap.servers": servers})
        self._topics = topics

    def known(self) -> set[str]:
        """Every topic, except for Kafka's own."""
        names = self._admin.list_topics(timeout=SECONDS).topics
        return {name for name in names if not name.startswith("__")}

    def ask_for(self, topic: str) -> None:
        """Ask for a topic, and wait until it is there: so is by then whatever was asked for before."""
        self._topics.adopt(topic)
        self._admin.list_topics(topic, timeout=SECONDS)
        wait_until(lambda: topic in self.known(), f"{topic} is created")


def test_no_topic_of_the_scheduler_is_created_by_asking_for_it(
    kafka: LocalKafka, topics: Topics, tmp_path: Path
) -> None:
    client = Client(kafka.bootstrap_servers, topics)
    before = client.known()
    absent = Installation(kafka.bootstrap_servers, ("s-absent",), "h-absent", "d-absent", "t-absent", "g-absent", 1)
    crontab = tmp_path / "crontab"
    crontab.write_text("* * * * * true\n")

    for command in (
        "scheduler run",
        "scheduler topics",
        "scheduler doctor",
        "scheduler list",
        "scheduler get one",
        "scheduler history",
        f"planner sync {crontab} --yes",
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            env={**os.environ, **absent.environment()},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert "absent" in done.stdout + done.stderr, f"{command} does not tell of what is missing: {done}"
    client.ask_for("canary")

    assert client.known() - before == {"canary"}


def test_a_target_comes_to_be_with_its_first_message(kafka: LocalKafka, topics: Topics) -> None:
    installation = Installation.make(kafka.bootstrap_servers, topics)
    topics.adopt("made-on-request")
    installation.write(installation.schedule(b"one", due_ms=clock.now_ms() + 200, target_topic="made-on-request"))

    with installation.replica():
        (event,) = installation.wait_for(installation.history, 1)

    assert event["scheduler-outcome"] == b"fired"
    assert len(installation.read("made-on-request")) == 1
