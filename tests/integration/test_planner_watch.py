"""`planner watch` as a process: what it does on a change, on a broken file, on signals and without a broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from dev.kafka_node import free_port
from dev.local_kafka import LocalKafka
from scheduler.topics import schedules_topic
from tests.support.planner import Planner
from tests.support.schedules import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.support.broker import Broker, Topics

SECONDS = 60.0
JOBS = "NAME=one\n@daily one\nNAME=two\n@daily two\nNAME=three\n@daily three\n"


class Watching:
    """`planner watch` and its events."""

    def __init__(self, planner: Planner, *options: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "planner", "watch", str(planner.crontab), *options],
            env={**os.environ, **planner.environment, "LOG_FORMAT": "json", "METRICS_HTTP_ADDR": "127.0.0.1:0"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.events.append(json.loads(line) if line.startswith("{") else {"event": line})

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The event of this name, the so-manieth."""
        wait_until(
            lambda: len(self.of(event)) >= count or self._process.poll() is not None, f"{count} times {event}", SECONDS
        )
        assert len(self.of(event)) >= count, self.events
        return self.of(event)[count - 1]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Every event of this name so far."""
        return [each for each in self.events if each["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP server."""
        address = self.wait_for("metrics")["address"].removesuffix("/metrics")
        try:
            with urllib.request.urlopen(address + path, timeout=SECONDS) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The value of a metric."""
        (line,) = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self.ended()
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture
def planner(broker: Broker, topics: Topics, tmp_path: Path) -> Planner:
    topic = topics.create("schedules", partitions=2, config=schedules_topic("").config)
    environment = {
        "BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SCHEDULES_TOPICS": topic,
        "CLUSTERS": "cluster-a,cluster-b",
    }
    made = Planner(environment, tmp_path / "crontab" / "jobs")
    made.crontab.parent.mkdir()
    made.crontab.write_text(JOBS)
    return made


def test_the_newest_good_version_is_in_force(planner: Planner) -> None:
    with Watching(planner) as watching:
        assert watching.wait_for("synced")["created"] == 3
        wait_until(lambda: watching.get("/readiness") == (200, "ok\n"), "it is ready")
        assert watching.get("/liveness") == (200, "ok\n")
        assert watching.metric("planner_in_force") == 1

        # as an editor saves: another file takes the place
        new = planner.crontab.with_name(".jobs.new")
        new.write_text(JOBS + "NAME=four\n@daily four\n")
        new.replace(planner.crontab)
        assert watching.wait_for("synced", 2)["created"] == 1
        in_force = planner.in_force()
        assert len(in_force) == 4

        planner.crontab.write_text(JOBS + "61 * * * * wrong\n* * * wrong\n")
        refused = watching.wait_for("the crontab is refused")
        assert refused["then"] == "the last good version stays in force"
        faults = [event["at"] for event in watching.events if event["event"] == "the crontab has an error"]
        assert [fault.rsplit(":", 3)[0] for fault in faults] == [f"{planner.crontab}:7", f"{planner.crontab}:8"]
        assert watching.metric("planner_crontab_valid") == 0
        assert watching.metric("planner_in_force") == 1
        assert watching.get("/readiness")[0] == 200
        # what is in force is the last good version, also when someone else has changed it
        planner.run("sync", os.devnull, "--source", "jobs", "--yes")
        assert planner.in_force() == {}
        watching.signal(signal.SIGHUP)
        assert watching.wait_for("synced", 3)["created"] == 4
        assert planner.in_force().keys() == in_force.keys()

        planner.crontab.write_text(JOBS)
        watching.wait_for("the crontab is good again")
        assert watching.wait_for("synced", 4)["cancelled"] == 1
        assert watching.metric("planner_crontab_valid") == 1

        planner.crontab.write_text("# half-written, perhaps\n")
        # an earlier sync may have been overtaken by that of someone else, and said so
        refusal = "3 of the 3 entries of jobs would be cancelled"
        wait_until(lambda: any(refusal in event["why"] for event in watching.of("not synced")), "it is refused")
        assert len(planner.in_force()) == 3

        watching.signal(signal.SIGTERM)
        assert watching.ended() == 0
        assert watching.events[-1]["event"] == "stopped"


def test_a_broken_file_at_the_start_leaves_what_is_in_force(planner: Planner) -> None:
    planner.sync_well(JOBS)
    planner.crontab.write_text("61 * * * * wrong\n")
    with Watching(planner) as watching:
        assert watching.wait_for("the crontab is refused")["then"] == "what is in force stays as it is"
        code, why = watching.get("/readiness")
        assert (code, why) == (503, f"{planner.crontab} has 1 error, and no version before it was good\n")
        assert len(planner.in_force()) == 3

        planner.crontab.write_text(JOBS)
        wait_until(lambda: watching.get("/readiness")[0] == 200, "it is ready")
        assert not watching.of("synced")  # nothing had to be changed


def test_a_stop_without_a_broker(tmp_path: Path) -> None:
    environment = {"BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "SCHEDULES_TOPICS": "schedules"}
    planner = Planner(environment, tmp_path / "jobs")
    planner.crontab.write_text(JOBS)
    with Watching(planner) as watching:
        watching.wait_for("watching")
        watching.signal(signal.SIGTERM)

        assert watching.ended() == 0
        assert watching.events[-1]["event"] == "stopped"


def test_a_broker_that_is_down_is_waited_for(tmp_path: Path) -> None:
    with LocalKafka() as kafka:
        environment = {"BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SCHEDULES_TOPICS": "schedules"}
        planner = Planner(environment, tmp_path / "jobs")
        planner.crontab.write_text(JOBS)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        admin.create_topics([NewTopic("schedules", 1)])["schedules"].result(SECONDS)
        with Watching(planner) as watching:
            assert watching.wait_for("synced")["created"] == 3
            # a lone broker that is killed before its transaction is told to all partitions may never decide it
            assert len(planner.in_force()) == 3

            kafka.kill(1)
            planner.crontab.write_text(JOBS + "NAME=four\n@daily four\n")
            assert f"Kafka at {kafka.bootstrap_servers}" in watching.wait_for("not synced")["why"]
            assert watching.metric("planner_in_force") == 0
            assert watching.get("/readiness")[0] == 200  # what was in force still is
            kafka.restart(1)
            assert watching.wait_for("synced", 2)["created"] == 1
            wait_until(lambda: watching.metric("planner_in_force") == 1, "it is in force")
