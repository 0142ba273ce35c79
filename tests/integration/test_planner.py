"""`planner sync` on a real broker: what it writes, where, and what it leaves alone."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.job import Job
from scheduler.records import Write
from scheduler.topics import schedules_topic
from tests.support.planner import Planner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Broker, Topics

SECONDS = 60.0
PARTITIONS = 4
CRONTAB = """\
MAX_ATTEMPTS=3
NAME=tick
@every 1h cluster-a echo tick
CRON_TZ=Europe/Riga
NAME=nightly
30 2 * * * cluster-b report%in
NAME=weekly
@weekly other
"""


class Bench(Planner):
    """A schedules topic of its own, and a crontab."""

    def __init__(self, bootstrap_servers: str, topic: str, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        environment = {
            "BOOTSTRAP_SERVERS": bootstrap_servers,
            "SCHEDULES_TOPICS": topic,
            "CLUSTERS": "cluster-a,cluster-b",
        }
        super().__init__(environment, folder / "jobs")

    def ends(self) -> list[int]:
        """The high watermark of each partition: it grows with whatever is written, a transaction's marker too."""
        self.in_force()  # a commit returns before its markers stand in the log; who has read to the end has seen them
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "reads-without-joining", "log_level": 0}
        )
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=SECONDS)[1]
                for partition in range(PARTITIONS)
            ]
        finally:
            consumer.close()


@pytest.fixture
def bench(broker: Broker, topics: Topics, tmp_path: Path) -> Bench:
    config = schedules_topic("").config
    return Bench(broker.bootstrap_servers, topics.create("schedules", partitions=PARTITIONS, config=config), tmp_path)


def test_sync_creates_a_standing_schedule_for_each_entry(bench: Bench) -> None:
    assert bench.sync_well(CRONTAB) == "3 created, 0 changed, 0 cancelled, 0 kept"

    found = bench.in_force()
    assert found.keys() == {"jobs/tick", "jobs/nightly", "jobs/weekly"}
    nightly = found["jobs/nightly"].schedule
    assert (nightly.target_topic, nightly.target_key) == ("cluster-b", b"jobs/nightly")
    assert nightly.rule is not None
    assert (nightly.rule.text, nightly.rule.timezone) == ("30 2 * * *", "Europe/Riga")
    assert nightly.due_ms == nightly.rule.next_after(nightly.timestamp_ms, 0)
    assert nightly.headers == [("planner-source", b"jobs")]
    job = Job.from_json(nightly.value)
    assert (job.job, job.command, job.stdin, job.max_attempts) == ("nightly", "report", "in\n", 3)


def test_a_second_sync_writes_nothing(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    ends = bench.ends()

    assert bench.sync_well() == "0 created, 0 changed, 0 cancelled, 3 kept"
    assert bench.ends() == ends


def test_a_dry_run_says_what_a_sync_would_do_and_writes_nothing(bench: Bench) -> None:
    ended = bench.sync(CRONTAB, "--dry-run")

    assert ended.summary == "3 created, 0 changed, 0 cancelled, 0 kept (dry run: nothing was written)"
    assert bench.ends() == [0] * PARTITIONS


def test_json_says_what_was_done_and_where(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    partition = bench.in_force()["jobs/weekly"].partition

    document = json.loads(bench.sync(CRONTAB.replace("NAME=weekly\n@weekly other\n", ""), "--json").out)

    counts = {name: document[name] for name in ("created", "changed", "cancelled", "kept")}
    assert counts == {"created": 0, "changed": 0, "cancelled": 1, "kept": 2}
    assert (document["source"], document["dry_run"]) == ("jobs", False)
    last = document["schedules"][-1]
    assert (last["action"], last["schedule_id"], last["partition"]) == ("cancel", "jobs/weekly", partition)


def test_changed_settings_replace_a_schedule_in_its_partition_and_leave_its_occurrence(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    before = bench.in_force()

    summary = bench.sync_well(CRONTAB.replace("NAME=weekly", "MAX_ATTEMPTS=5\nNAME=weekly"))

    assert summary == "0 created, 1 changed, 0 cancelled, 2 kept"
    after = bench.in_force()
    changed = after["jobs/weekly"]
    assert Job.from_json(changed.schedule.value).max_attempts == 5
    assert changed.partition == before["jobs/weekly"].partition
    assert changed.schedule.due_ms == before["jobs/weekly"].schedule.due_ms
    assert changed.schedule.offset > before["jobs/weekly"].schedule.offset
    assert {name: after[name] for name in ("jobs/tick", "jobs/nightly")} == {
        name: before[name] for name in ("jobs/tick", "jobs/nightly")
    }


@pytest.mark.parametrize("change", ["", "MAX_ATTEMPTS=7\n" + CRONTAB.partition("\n")[2]])
def test_a_schedule_that_another_partitioner_placed_is_changed_and_cancelled_where_it_stands(
    bench: Bench, change: str
) -> None:
    bench.sync_well(CRONTAB)
    hashed = bench.in_force()["jobs/tick"]
    elsewhere = (hashed.partition + 1) % PARTITIONS
    schedule = hashed.schedule
    bench.write(
        Write(bench.topic, schedule.key, None, partition=hashed.partition),
        Write(bench.topic, schedule.key, schedule.value, schedule.headers + schedule.own_headers, partition=elsewhere),
    )
    assert bench.in_force()["jobs/tick"].partition == elsewhere

    bench.sync_well(change, "--yes")

    found = bench.in_force()  # which also says that no id is in force twice
    if change:
        assert found["jobs/tick"].partition == elsewhere
        assert Job.from_json(found["jobs/tick"].schedule.value).max_attempts == 7
    else:
        assert found == {}


def test_schedules_of_other_sources_and_of_no_source_are_left_alone(bench: Bench) -> None:
    bench.sync_well(CRONTAB, "--source", "theirs")
    bench.write(
        Write(
            bench.topic,
            b"order-1",
            b"",
            [("scheduler-epoch", b"4102444800"), ("scheduler-target-topic", b"orders")],
        )
    )
    others = bench.in_force()

    assert bench.sync_well(CRONTAB, "--source", "mine", "--yes") == "3 created, 0 changed, 0 cancelled, 0 kept"
    assert bench.sync_well("", "--source", "mine", "--yes") == "0 created, 0 changed, 3 cancelled, 0 kept"
    assert bench.in_force() == others


def test_a_file_with_an_error_changes_nothing(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    ends = bench.ends()

    ended = bench.sync("@daily new\n61 * * * * wrong\n")

    assert (ended.code, ended.out) == (ExitCode.BAD_INPUT, "")
    assert ended.err == (
        f"{bench.crontab}:2:1: minute: 61 is out of range, 0 to 59\n"
        f"planner: {bench.crontab} has 1 error; nothing was changed\n"
    )
    assert bench.ends() == ends


def test_an_id_that_someone_else_uses_stops_the_sync(bench: Bench) -> None:
    bench.write(
        Write(
            bench.topic,
            b"jobs/tick",
            b"",
            [("scheduler-epoch", b"4102444800"), ("scheduler-target-topic", b"orders")],
        )
    )
    ends = bench.ends()

    ended = bench.sync(CRONTAB)

    assert ended.code == ExitCode.BAD_INPUT
    assert "jobs/tick" in ended.err
    assert bench.ends() == ends


def test_a_planner_fences_another_one_of_the_same_source(bench: Bench) -> None:
    """The other one has frozen before its transaction: when it wakes, what it writes does not count."""
    frozen = Producer(
        {"bootstrap.servers": bench.bootstrap_servers, "transactional.id": "planner-jobs", "log_level": 0}
    )
    frozen.init_transactions(SECONDS)

    bench.sync_well(CRONTAB)

    frozen.begin_transaction()
    for partition in range(PARTITIONS):
        frozen.produce(bench.topic, None, b"jobs/tick", partition)
    with pytest.raises(KafkaException) as refused:
        frozen.commit_transaction(SECONDS)
    frozen.purge()
    frozen.flush(SECONDS)
    assert refused.value.args[0].name() in ("_FENCED", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED")
    assert bench.in_force().keys() == {"jobs/tick", "jobs/nightly", "jobs/weekly"}


def test_a_topic_that_does_not_exist_is_named(bench: Bench) -> None:
    bench.environment["SCHEDULES_TOPICS"] = "no-such-topic"

    ended = bench.sync(CRONTAB)

    assert ended.code == ExitCode.BAD_INPUT
    assert "no-such-topic does not exist" in ended.err


def test_a_broker_that_does_not_answer_is_named(bench: Bench) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody else gets the port
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"

        bench.environment["BOOTSTRAP_SERVERS"] = address
        ended = bench.sync(CRONTAB)

    assert (ended.code, ended.out) == (ExitCode.UNAVAILABLE, "")
    assert f"planner: Kafka at {address}: " in ended.err
    assert "Traceback" not in ended.err


def test_plan_tells_what_would_change_field_by_field_and_writes_nothing(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    ends = bench.ends()
    assert bench.run("plan", str(bench.crontab)).code == ExitCode.OK
    bench.crontab.write_text(CRONTAB.replace("cluster-a echo tick", "cluster-b echo tock") + "@daily new\n")

    ended = bench.run("plan", str(bench.crontab), "--json")

    assert (ended.code, ended.err) == (ExitCode.CHANGES, "")
    document = json.loads(ended.out)
    assert (document["created"], document["changed"], document["kept"], document["doubts"]) == (1, 1, 2, [])
    assert document["schedules"][0]["changes"] == [
        {"field": "cluster", "before": "cluster-a", "after": "cluster-b"},
        {"field": "command", "before": "echo tick", "after": "echo tock"},
    ]
    assert "command: echo tick -> echo tock" in bench.run("plan", str(bench.crontab)).out
    assert bench.ends() == ends


def test_more_than_half_is_cancelled_only_where_that_is_meant(bench: Bench) -> None:
    bench.sync_well(CRONTAB)

    ended = bench.sync("NAME=weekly\n@weekly other\n")

    assert (ended.code, ended.out) == (ExitCode.BAD_INPUT, "")
    assert ended.err == (
        "planner: 2 of the 3 entries of jobs would be cancelled; nothing was changed; if that is meant, run it again "
        "with --yes\n"
    )
    planned = bench.run("plan", str(bench.crontab))
    assert "a sync would ask first: 2 of the 3 entries of jobs would be cancelled" in planned.err
    assert len(bench.in_force()) == 3
    assert bench.sync_well(CRONTAB.replace("NAME=weekly\n@weekly other\n", "")).startswith("0 created, 0 changed, 1 c")
    assert bench.sync_well("", "--yes") == "0 created, 0 changed, 2 cancelled, 0 kept"


def test_a_renamed_file_runs_nothing_twice(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    before = bench.in_force()
    bench.crontab = bench.crontab.rename(bench.crontab.with_name("jobs-2"))

    ended = bench.sync()

    assert ended.code == ExitCode.BAD_INPUT
    assert "the source jobs holds 3 of these 3 entries already, and they would run twice" in ended.err
    assert "give --source jobs" in ended.err
    assert bench.sync_well(None, "--source", "jobs") == "0 created, 0 changed, 0 cancelled, 3 kept"
    assert bench.in_force() == before


def test_a_directory_is_one_source(bench: Bench) -> None:
    folder = bench.crontab.with_name("jobs.d")
    folder.mkdir()
    (folder / "a").write_text("CLUSTER=cluster-b\nNAME=first\n@daily a\n")
    (folder / "b.crontab").write_text("NAME=second\n@daily b\n")
    (folder / "README.md").write_text("no crontab")
    bench.crontab = folder

    ended = bench.sync()

    assert (ended.code, ended.summary) == (ExitCode.OK, "2 created, 0 changed, 0 cancelled, 0 kept")
    found = bench.in_force()
    assert {name: stored.schedule.target_topic for name, stored in found.items()} == {
        "jobs.d/first": "cluster-b",
        "jobs.d/second": "cluster-a",
    }
    (folder / "b.crontab").write_text("NAME=first\n@daily b\n61 * * * * c\n")
    ended = bench.sync()
    assert ended.code == ExitCode.BAD_INPUT
    assert f"{folder}/b.crontab:2:1: " in ended.err
    assert f"{folder}/b.crontab:3:1: minute: 61 is out of range" in ended.err
    assert bench.in_force() == found


def test_list_shows_what_is_in_force_by_source(bench: Bench) -> None:
    bench.sync_well(CRONTAB)
    bench.sync_well("NAME=hourly\n0 * * * * run\n", "--source", "ahead", "--horizon", "3h")
    headers = [("scheduler-epoch", b"4102444800"), ("scheduler-target-topic", b"cluster-a-retry")]
    bench.write(
        Write(bench.topic, b"jobs/tick@1893456000000#2", b"{}", [*headers, ("planner-source", b"jobs")]),
        Write(bench.topic, b"order-1", b"", headers),
    )

    ahead = sum(name.startswith("ahead/") for name in bench.in_force())
    rows = json.loads(bench.run("list", "--json").out)

    told = [(row["source"], row["id"], row["kind"], row["schedules"], row["target"]) for row in rows]
    assert told[0] == ("ahead", "hourly", "planned", ahead, "cluster-a")
    assert sorted(told[1:]) == [
        ("jobs", "nightly", "standing", 1, "cluster-b"),
        ("jobs", "tick", "retry", 1, "cluster-a-retry"),
        ("jobs", "tick", "standing", 1, "cluster-a"),
        ("jobs", "weekly", "standing", 1, "cluster-a"),
    ]
    assert [row["next"] for row in rows[1:]] == sorted(row["next"] for row in rows[1:])
    table = bench.run("list", "--source", "ahead").out
    assert f"{ahead} planned" in table
    assert "nightly" not in table


def test_occurrences_up_to_a_horizon_and_back(bench: Bench) -> None:
    text = "NAME=daily\n30 2 * * * run\nNAME=hourly\n@hourly run\n"
    created = bench.sync_well(text, "--horizon", "48h")
    ends = bench.ends()
    ahead = bench.in_force()
    assert created == f"{len(ahead)} created, 0 changed, 0 cancelled, 0 kept"
    assert 48 <= len(ahead) <= 50  # what is due at once is not planned any more
    assert all(stored.schedule.rule is None for stored in ahead.values())
    assert {stored.schedule.target_key for stored in ahead.values()} == {b"jobs/daily", b"jobs/hourly"}

    again = bench.sync_well(text, "--horizon", "47h")
    assert again.startswith("0 created, 0 changed, 0 cancelled")
    assert bench.ends() == ends

    assert bench.sync_well(text).startswith("2 created, 0 changed, ")
    standing = bench.in_force()
    assert {"jobs/daily", "jobs/hourly"} <= standing.keys()
    for name in ("jobs/daily", "jobs/hourly"):
        first = min(stored.schedule.due_ms for key, stored in ahead.items() if key.startswith(name))
        left = [key for key in standing if key.startswith(f"{name}/")]
        assert standing[name].schedule.due_ms == first or left  # at the full hour, the first is left to fire


def test_ten_thousand_entries(bench: Bench) -> None:
    """As one transaction; again, nothing is written. Generous limits: the machine may be busy."""
    text = "".join(f"{number % 60} {number // 60 % 24} * * * run-{number}\n" for number in range(10_000))
    clock = SystemClock()
    started = clock.monotonic()
    assert bench.sync_well(text) == "10000 created, 0 changed, 0 cancelled, 0 kept"
    first = clock.monotonic() - started
    ends = bench.ends()

    started = clock.monotonic()
    assert bench.sync_well(text) == "0 created, 0 changed, 0 cancelled, 10000 kept"
    second = clock.monotonic() - started

    assert bench.ends() == ends
    assert max(first, second) < 30, f"{first:.1f} s, {second:.1f} s"
