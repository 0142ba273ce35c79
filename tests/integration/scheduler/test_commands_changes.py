"""The `scheduler` command against a broker: what is in force, and changes to it, through Kafka alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from scheduler.cli import cli
from scheduler.clock import rfc3339
from scheduler.errors import NotFoundError
from tests.support.replica_process import run_command
from tests.support.schedules import clock, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation

HOUR_MS = 3_600_000


def run(installation: Installation, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command, run in this process: starting one takes a second."""
    done = CliRunner().invoke(cli, arguments, env=installation.environment(), standalone_mode=False)
    assert done.exception is None, done.exception
    return int(done.return_value), done.stdout


def objects(installation: Installation, *arguments: str) -> list[dict[str, Any]]:
    """What a command that succeeds says to a program."""
    code, output = run(installation, *arguments, "--json")
    assert code == 0
    return [json.loads(line) for line in output.splitlines()]


def ids(installation: Installation, *arguments: str) -> list[str]:
    return [each["schedule_id"] for each in objects(installation, "list", *arguments)]


def outcomes(installation: Installation) -> list[tuple[bytes | None, bytes | None]]:
    return [(record.key, record["scheduler-outcome"]) for record in installation.read(installation.history)]


def test_list_filters_and_sorts_by_due_time(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2, schedules_topics=2)
    now_ms = clock.now_ms()
    first, second = installation.schedules_topics
    installation.write(
        installation.schedule(b"b-late", due_ms=now_ms + 3 * HOUR_MS, partition=0),
        installation.schedule(b"a-soon", due_ms=now_ms + HOUR_MS, partition=1),
        installation.schedule(b"a-next", due_ms=now_ms + 2 * HOUR_MS, partition=0, topic=second),
        installation.schedule(b"gone", due_ms=now_ms + HOUR_MS, partition=0),
        installation.cancel(b"gone", partition=0),
        installation.schedule(b"other", due_ms=now_ms + 4 * HOUR_MS, target_topic="elsewhere", partition=0),
    )

    assert ids(installation) == ["a-soon", "a-next", "b-late", "other"]
    assert ids(installation, "--prefix", "a-") == ["a-soon", "a-next"]
    assert ids(installation, "--target", "elsewhere") == ["other"]
    assert ids(installation, "--topic", first) == ["a-soon", "b-late", "other"]
    assert ids(installation, "--due-before", rfc3339(now_ms + 2 * HOUR_MS)) == ["a-soon"]
    assert ids(installation, "--due-before", "150m") == ["a-soon", "a-next"]
    assert ids(installation, "--limit", "2") == ["a-soon", "a-next"]
    _, table = run(installation, "list", "--limit", "1")
    assert table.split()[:2] == ["due", "schedule"]
    assert "a-soon" in table


def test_get_shows_everything_and_what_stands_behind_it(installation: Installation) -> None:
    """A malformed update behind the version in force is told, with its reason."""
    due_ms = 1_893_456_000_000
    old, good, bad = installation.write(
        installation.schedule(b"a/\xff", b"old", due_ms=due_ms),
        installation.schedule(
            b"a/\xff",
            b"\xfe\x00",
            due_ms=due_ms,
            cron="0 * * * *",
            timezone="Europe/Riga",
            target_key="k",
            headers=[("trace", b"7")],
        ),
        installation.schedule(b"a/\xff", epoch="tomorrow"),
    )
    (shown,) = objects(installation, "get", r"a/\xff")

    log = shown.pop("log")
    assert [(entry["offset"], entry["in_force"]) for entry in log] == [
        (old.offset, False),
        (good.offset, True),
        (bad.offset, False),
    ]
    assert "scheduler-epoch: 'tomorrow' is not Unix seconds" in log[2]["what"]
    assert shown == {
        "schedule_id": r"a/\xff",
        "due": "2030-01-01T00:00:00Z",
        "target_topic": installation.target,
        "target_key": "k",
        "target_partition": None,
        "target_tombstone": False,
        "cron": "0 * * * *",
        "timezone": "Europe/Riga",
        "misfire": "once",
        "misfire_grace_ms": 60_000,
        "paused": False,
        "headers": [["trace", "7"]],
        "payload": "fe00",
        "payload_encoding": "hex",
        "next": [f"2030-01-01T0{hour}:00:00Z" for hour in range(5)],
        "topic": installation.schedules,
        "partition": 0,
        "partition_paused": False,
        "offset": good.offset,
        "written": rfc3339(good.timestamp_ms),
    }
    _, table = run(installation, "get", r"a/\xff")
    assert "fe00" in table
    assert "trace: 7" in table


@pytest.mark.parametrize("command", ["get", "cancel", "fire", "pause", "resume"])
def test_what_is_not_in_force_is_said_with_where_to_look(installation: Installation, command: str) -> None:
    done = CliRunner().invoke(cli, [command, "no such"], env=installation.environment(), standalone_mode=False)

    said = str(done.exception) if done.exception else done.stderr.removeprefix("scheduler: ").strip()
    assert said == (
        f"no such: no such schedule is in force on {installation.schedules}; "
        "what became of it: scheduler history --key 'no such'"
    )
    assert done.stdout == ""
    assert (done.exception.exit_code if isinstance(done.exception, NotFoundError) else done.return_value) == 1


def test_changes_wait_for_their_outcome(installation: Installation) -> None:
    due_ms = clock.now_ms() + HOUR_MS
    with installation.replica() as replica:
        installation.write(
            *(installation.schedule(key, due_ms=due_ms, headers=[("trace", b"7")]) for key in (b"a", b"b", b"c")),
            installation.schedule(b"hourly", cron="@every 1h", due_ms=due_ms),
            installation.schedule(b"nowhere", due_ms=due_ms, target_topic="unknown-to-the-broker"),
        )
        wait_until_pending(replica, 5)
        assert run(installation, "cancel", "a", "b", "--wait") == (0, "a: cancelled\nb: cancelled\n")
        code, said = run(installation, "fire", "c", "--wait")
        assert (code, said.startswith("c: fired, ")) == (0, True)
        code, said = run(installation, "fire", "nowhere", "--wait")
        assert (code, said.startswith("nowhere: undeliverable: unknown-target-topic")) == (1, True)
        (fired,) = objects(installation, "fire", "hourly", "--wait")
        assert fired["outcome"]["outcome"] == "fired"
        # it goes on from where it fired
        assert ids(installation) == ["hourly"]

    assert sorted(outcomes(installation)) == [
        (b"a", b"cancelled"),
        (b"b", b"cancelled"),
        (b"c", b"fired"),
        (b"hourly", b"fired"),
        (b"nowhere", b"undeliverable"),
    ]
    (message, _) = installation.read(installation.target)
    assert (message["scheduler-key"], message["trace"]) == (b"c", b"7")


def test_a_recurring_one_is_cancelled_while_it_fires(installation: Installation) -> None:
    """Its firings are no answer to the cancel."""
    installation.write(installation.schedule(b"a", cron="@every 300ms", due_ms=clock.now_ms()))
    with installation.replica():
        installation.wait_for(installation.history)
        assert run(installation, "cancel", "a", "--wait") == (0, "a: cancelled\n")
        installation.write(installation.schedule(b"afterwards", delay="700ms"))
        installation.fired(b"afterwards")

    told = [outcome for key, outcome in outcomes(installation) if key == b"a"]
    assert told[-1] == b"cancelled"
    assert told.count(b"cancelled") == 1


def test_changes_need_no_replica(installation: Installation) -> None:
    """They stand in the log, and a replica that starts later acts on them."""
    now_ms = clock.now_ms()
    installation.write(*(installation.schedule(key, due_ms=now_ms + HOUR_MS) for key in (b"a", b"b", b"c", b"d")))
    installation.write(installation.schedule(b"e", due_ms=now_ms + HOUR_MS, paused="true"))
    assert run(installation, "pause", "--all")[0] == 0
    for arguments in (("cancel", "a"), ("pause", "c"), ("resume", "e")):
        assert run(installation, *arguments)[0] == 0
    assert {each["schedule_id"]: each["paused"] for each in objects(installation, "list")} == {
        "b": False,
        "c": True,
        "d": False,
        "e": False,
    }
    refused = run_command("scheduler", "fire", "b", env=installation.environment())
    assert refused.returncode == 65
    assert "scheduler resume --all" in refused.stderr
    assert run(installation, "resume", "--all")[0] == 0
    assert run(installation, "fire", "b")[0] == 0
    with installation.replica():
        installation.wait_for(installation.history, 2)

    assert sorted(outcomes(installation)) == [(b"a", b"cancelled"), (b"b", b"fired")]


def test_waiting_ends_and_says_what_to_look_at(installation: Installation) -> None:
    installation.write(installation.schedule(b"a", due_ms=clock.now_ms() + HOUR_MS))
    done = run_command("scheduler", "fire", "a", "--wait", "--timeout", "300ms", env=installation.environment())

    assert done.returncode == 1
    assert "Does one run? See scheduler doctor" in done.stderr


def test_a_key_in_two_partitions_is_chosen_by_its_partition(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    due_ms = clock.now_ms() + HOUR_MS
    installation.write(*(installation.schedule(b"a", due_ms=due_ms, partition=each) for each in range(2)))
    refused = run_command("scheduler", "cancel", "a", env=installation.environment())
    assert refused.returncode == 65
    assert "--partition" in refused.stderr
    assert [each["partition"] for each in objects(installation, "get", "a")] == [0, 1]
    assert run(installation, "cancel", "a", "--partition", "1")[0] == 0
    assert [each["partition"] for each in objects(installation, "list")] == [0]
