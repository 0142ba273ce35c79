"""The doctor on real brokers whose topics, rights and transactions are wrong on purpose."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from dev.local_kafka import LocalKafka
from scheduler.broker.cluster import Cluster
from scheduler.cli import cli
from scheduler.needs import needed_topics
from scheduler.runtime.settings import Settings
from scheduler.topics import history_topic
from tests.support.schedules import clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.broker import Topics
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000


def doctor(environment: dict[str, str], *options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and what was found by check."""
    done = CliRunner().invoke(cli, ["doctor", "--json", *options], env=environment, standalone_mode=False)
    assert done.exception is None, done.exception
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(done.stdout):
        found.setdefault(row["check"], []).append(row)
    return int(done.return_value), found


@pytest.fixture
def names(installation: Installation, topics: Topics) -> dict[str, str]:
    """Variables of an installation that is complete."""
    unique = installation.schedules.rpartition("-")[2]
    cluster, results = f"work-{unique}", f"results-{unique}"
    settings = installation.settings(clusters=[cluster], results_topic=results)
    missing = [spec for spec in needed_topics(settings) if spec.name in (results, cluster, f"{cluster}-retry")]
    assert set(Cluster(settings, "test").create(missing, 1, -1).values()) == {None}
    topics.adopt(*(spec.name for spec in missing))
    return {**installation.environment(), "CLUSTERS": cluster, "RESULTS_TOPIC": results}


def statuses(rows: list[dict[str, Any]]) -> list[str]:
    return [row["status"] for row in rows]


def test_a_sound_installation_passes(installation: Installation, names: dict[str, str]) -> None:
    installation.write(installation.schedule(b"a", due_ms=clock.now_ms() + HOUR_MS), partitioner="murmur2_random")
    with installation.replica():
        code, found = doctor(names)

    assert code == 0, found
    assert statuses(found[f"restore of {installation.schedules}"]) == ["ok"]
    assert found[f"restore of {installation.schedules}"][0]["seen"].startswith("1 in force, read in ")
    assert found[f"group {installation.group_id}"][0]["seen"] == "1 replica for 1 partitions"
    assert statuses(found["transactions"] + found["open transactions"]) == ["ok", "ok"]


def test_topics_that_lose_schedules_are_found(install: Callable[..., Installation], topics: Topics) -> None:
    installation = install(
        partitions=2,
        config={
            "cleanup.policy": "delete",
            "retention.ms": "86400000",
            "min.compaction.lag.ms": "0",
            "segment.ms": "604800000",
            "delete.retention.ms": "60000",
            "max.message.bytes": "2000000",
        },
    )
    due_ms = clock.now_ms() + HOUR_MS
    installation.write(*(installation.schedule(b"twice", due_ms=due_ms, partition=each) for each in range(2)))
    unstamped = topics.create("history", config=history_topic("").config | {"message.timestamp.type": "CreateTime"})
    code, found = doctor({**installation.environment(), "HISTORY_TOPIC": unstamped})

    assert code == 1
    rows = found[f"settings of {installation.schedules}"]
    assert {row["seen"].partition("=")[0]: row["status"] for row in rows} == {
        "cleanup.policy": "failed",
        "retention.ms": "failed",
        "min.compaction.lag.ms": "failed",
        "delete.retention.ms": "warning",
        "segment.ms": "warning",
    }
    (command,) = rows[0]["commands"]
    assert command.endswith(f"--entity-name {installation.schedules} --add-config cleanup.policy=compact")
    assert [row["status"] for row in found[f"settings of {unstamped}"]] == ["failed", "warning"]
    assert statuses(found["clock"]) == ["unknown"]
    (keys,) = found[f"keys of {installation.schedules}"]
    assert keys["status"] == "failed"
    assert "twice in 0, 1" in keys["seen"]


def test_fix_creates_what_is_missing_and_changes_nothing_else(
    install: Callable[..., Installation], topics: Topics
) -> None:
    installation = install(config={"cleanup.policy": "delete"})
    unique = installation.schedules.rpartition("-")[2]
    environment = {
        **installation.environment(),
        "CLUSTERS": f"work-{unique}",
        "RESULTS_TOPIC": f"results-{unique}",
        "PARTITIONS": "1",
    }
    missing = [f"results-{unique}", f"work-{unique}", f"work-{unique}-retry"]
    code, found = doctor(environment)
    assert code == 1
    assert [found[f"topic {name}"][0]["seen"] for name in missing] == ["missing"] * 3
    topics.adopt(*missing)
    code, found = doctor(environment, "--fix")
    assert [found[f"topic {name}"][0]["status"] for name in missing] == ["ok"] * 3
    assert code == 1  # the schedules topic is as it was
    assert Cluster(installation.settings(), "test").config(installation.schedules)["cleanup.policy"] == "delete"


def test_a_transaction_that_stays_open_is_named(installation: Installation) -> None:
    """Readers of committed records wait for it; the doctor does not."""
    installation.write(installation.schedule(b"a", due_ms=clock.now_ms() + HOUR_MS))
    producer = installation.transaction(
        f"stays-open-{installation.schedules}", installation.schedule(b"b", due_ms=clock.now_ms() + HOUR_MS)
    )
    _, found = doctor(installation.environment())
    producer.abort_transaction(30)

    (row,) = found[f"open transaction on {installation.schedules}"]
    assert row["status"] == "warning"
    assert row["seen"].startswith("partition 0: readers wait at offset 1 of 2, its first record is ")
    assert found[f"restore of {installation.schedules}"][0]["seen"].startswith("1 in force, read in ")


def test_the_clock_is_compared_while_something_fires(installation: Installation) -> None:
    """Two looks at the history with a firing in between bound the difference on both sides."""
    installation.write(installation.schedule(b"a", cron="@every 100ms", due_ms=clock.now_ms()))
    with installation.replica():
        installation.wait_for(installation.history)
        _, found = doctor(installation.environment())

    (row,) = found["clock"]
    assert row["status"] in ("ok", "unknown")  # unknown where so slow a machine leaves wide bounds
    assert row["seen"].startswith("between ") or row["status"] == "unknown"


def test_brokers_that_do_not_answer_are_a_failure(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.doctor.survey.REQUEST_SECONDS", 1.0)
    _, found = doctor({**installation.environment(), "TARGET_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert statuses(found["brokers of targets"]) == ["failed"]
    code, found = doctor({**installation.environment(), "BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert code == 1
    assert list(found) == ["brokers"]
    assert found["brokers"][0]["seen"].startswith("127.0.0.1:1: ")


# -- rights --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Settings]:
    """An installation on a broker of its own with an authorizer, that lets everybody do what no rule is about."""
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with ExitStack() as until_the_end:
        kafka = until_the_end.enter_context(LocalKafka(properties=authorizer, heap="512m"))
        settings = Settings.load(
            bootstrap_servers=kafka.bootstrap_servers, clusters=["work"], partitions=1, group_id="guarded"
        )
        made = Cluster(settings, "test").create(needed_topics(settings), 1, 1)
        assert set(made.values()) == {None}
        yield settings


def deny(settings: Settings, *denied: tuple[ResourceType, str, AclOperation, ResourcePatternType]) -> None:
    """Make rules; where there is a rule about a resource, what no rule allows is denied as well."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers, "log_level": 0})
    rules = []
    for kind, name, operation, pattern in denied:
        rules += [
            AclBinding(kind, name, pattern, "User:ANONYMOUS", "*", AclOperation.ALL, AclPermissionType.ALLOW),
            AclBinding(kind, name, pattern, "User:ANONYMOUS", "*", operation, AclPermissionType.DENY),
        ]
    for made in admin.create_acls(rules).values():
        made.result(20)


def test_each_right_that_is_missing_is_named(guarded: Settings) -> None:
    environment = {
        "BOOTSTRAP_SERVERS": guarded.bootstrap_servers,
        "CLUSTERS": "work",
        "GROUP_ID": "guarded",
        "PARTITIONS": "1",
    }
    code, found = doctor(environment)
    assert code == 0, found
    literal = ResourcePatternType.LITERAL
    deny(
        guarded,
        (ResourceType.TOPIC, "schedules", AclOperation.WRITE, literal),
        (ResourceType.TOPIC, "history", AclOperation.DESCRIBE_CONFIGS, literal),
        (ResourceType.TOPIC, "dead-letters", AclOperation.DESCRIBE, literal),
        (ResourceType.TOPIC, "work", AclOperation.WRITE, literal),
        (ResourceType.GROUP, "guarded", AclOperation.READ, literal),
        (ResourceType.TRANSACTIONAL_ID, "guarded-", AclOperation.WRITE, ResourcePatternType.PREFIXED),
    )
    answers: list[tuple[int, dict[str, list[dict[str, Any]]]]] = []

    def all_are_known() -> bool:
        # a broker learns of a rule a moment after it was made
        answers.append(doctor(environment))
        return "rights on dead-letters" in answers[-1][1] and answers[-1][1]["transactions"][0]["status"] == "failed"

    wait_until(all_are_known, "the rules are in force")
    code, found = answers[-1]
    seen = {check: (row["status"], row["seen"]) for check, (row, *_) in found.items() if row["status"] != "ok"}
    assert code == 1
    assert seen["rights on schedules"] == ("failed", "Write is missing")
    assert seen["settings of history"] == ("unknown", "these credentials may not DescribeConfigs")
    assert seen["rights on dead-letters"] == ("failed", "Describe is missing")
    assert seen["rights on work"] == ("warning", "Write is missing")
    assert seen["group guarded"][0] == "failed"
    assert seen["transactions"] == (
        "failed",
        "Write or Describe is missing on transactional ids that begin with guarded-",
    )
    (command,) = found["rights on schedules"][0]["commands"]
    assert command.endswith("--operation Write --topic schedules")
    assert any("--transactional-id guarded-" in line for line in found["transactions"][0]["commands"])
