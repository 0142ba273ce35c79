"""The `scheduler` command against a broker: its history and its topics."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from scheduler.cli import cli
from scheduler.clock import rfc3339
from tests.support.replica_process import product_environment, run_command
from tests.support.schedules import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Broker
    from tests.support.schedules import Installation


@pytest.fixture
def names(broker: Broker) -> Iterator[dict[str, str]]:
    """Variables that name the topics of an installation of its own; the topics are deleted after the test."""
    unique = uuid.uuid4().hex[:8]
    topics = {
        "SCHEDULES_TOPICS": f"commands-schedules-{unique}",
        "HISTORY_TOPIC": f"commands-history-{unique}",
        "DEAD_LETTER_TOPIC": f"commands-dead-letters-{unique}",
        "RESULTS_TOPIC": f"commands-results-{unique}",
        "CLUSTERS": f"commands-cluster-{unique}",
    }
    yield {"BOOTSTRAP_SERVERS": broker.bootstrap_servers, "PARTITIONS": "3", **topics}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    there = [name for name in admin.list_topics(timeout=20).topics if unique in name]
    for deletion in (admin.delete_topics(there) if there else {}).values():
        deletion.result(20)


def answer(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command, run in this process: starting one takes a second."""
    done = CliRunner().invoke(cli, arguments, env=env, standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.stderr == ""
    return int(done.return_value), done.stdout


def test_topics_creates_what_is_missing_and_says_the_same_the_second_time(names: dict[str, str]) -> None:
    def states(*arguments: str) -> tuple[int, list[tuple[str, str, int]]]:
        code, output = answer(names, "topics", "--json", *arguments)
        return code, [(row["topic"], row["state"], row["partitions"]) for row in json.loads(output)]

    cluster = names["CLUSTERS"]
    expected = [names["SCHEDULES_TOPICS"], names["HISTORY_TOPIC"], names["DEAD_LETTER_TOPIC"], names["RESULTS_TOPIC"]]
    expected += [cluster, f"{cluster}-retry"]
    assert states() == (1, [(topic, "missing", 0) for topic in expected])
    assert states("--create") == (0, [(topic, "created", 3) for topic in expected])
    assert states("--create") == (0, [(topic, "there", 3) for topic in expected])
    assert states() == (0, [(topic, "there", 3) for topic in expected])


def test_a_replica_that_misses_a_topic_ends_and_says_how_to_create_it(names: dict[str, str]) -> None:
    done = run_command("scheduler", "run", env={**names, "SERVER_ADDR": "off", "METRICS_HTTP_ADDR": "off"})

    assert done.returncode == 78
    last = done.stderr.splitlines()[-1]
    assert names["SCHEDULES_TOPICS"] in last
    assert names["DEAD_LETTER_TOPIC"] in last
    assert "scheduler topics --create" in last


def test_history_filters_by_key_outcome_target_and_time(installation: Installation) -> None:
    with installation.replica():
        installation.write(
            installation.schedule(b"a", b"payload of a", epoch=0),
            installation.schedule(b"b", epoch=0),
            installation.schedule(b"unknown", epoch=0, target_topic="unknown-to-the-broker"),
            installation.schedule(b"bad", epoch="tomorrow"),
        )
        installation.wait_for(installation.history, 4)
        installation.write(installation.schedule(b"a", b"again", epoch=1))
        *_, last = installation.wait_for(installation.history, 5)

    def shown(*arguments: str) -> list[tuple[str, str]]:
        code, output = answer(installation.environment(), "history", "--json", *arguments)
        assert code == 0
        return [(event["schedule_id"], event["outcome"]) for event in map(json.loads, output.splitlines())]

    assert sorted(shown()) == [
        ("a", "fired"),
        ("a", "fired"),
        ("b", "fired"),
        ("bad", "rejected"),
        ("unknown", "undeliverable"),
    ]
    assert shown("--key", "a") == [("a", "fired")] * 2
    assert shown("--outcome", "rejected") == [("bad", "rejected")]
    assert shown("--target", "unknown-to-the-broker") == [("unknown", "undeliverable")]
    assert shown("--key", "a", "--outcome", "undeliverable") == []
    assert shown("--limit", "1") == [("a", "fired")]
    assert shown("--since", rfc3339(last.timestamp_ms)) == [("a", "fired")]
    assert shown("--since", rfc3339(clock.now_ms() + 60_000)) == []


def test_history_says_all_that_a_program_needs(installation: Installation) -> None:
    with installation.replica():
        installation.write(installation.schedule(b"a", b"payload", epoch="1.250"))
        (record,) = installation.wait_for(installation.history)

    done = run_command("scheduler", "history", "--json", env=installation.environment())
    assert (done.returncode, done.stderr) == (0, "")
    event = json.loads(done.stdout)
    assert event.pop("lateness_ms") == int(record["scheduler-lateness-ms"] or b"")
    assert event == {
        "time": rfc3339(record.timestamp_ms),
        "schedule_id": "a",
        "outcome": "fired",
        "due": "1970-01-01T00:00:01.250Z",
        "target_topic": installation.target,
        "fire_id": "a@1250",
        "reason": None,
        "detail": None,
        "partition": 0,
        "offset": 0,
        "payload": "payload",
    }


def test_history_follows_what_comes_until_it_is_interrupted(installation: Installation) -> None:
    """Each event is written at once; the test's own time limit is the deadline of the reads."""
    following = subprocess.Popen(
        [sys.executable, "-m", "scheduler", "history", "--follow", "--json", "--outcome", "fired"],
        env=product_environment(installation.environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    try:
        with installation.replica():
            for key in ("first", "second"):
                installation.write(
                    installation.schedule(b"bad", epoch="tomorrow"), installation.schedule(key.encode(), epoch=0)
                )
                assert json.loads(following.stdout.readline())["schedule_id"] == key
        following.send_signal(signal.SIGINT)
        _, complaints = following.communicate(timeout=10)
    finally:
        following.kill()

    assert (following.returncode, complaints) == (0, "")
