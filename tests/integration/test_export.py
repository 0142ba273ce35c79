"""`planner export` on a real broker: what was synced, as a crontab that a sync finds unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from scheduler.client import SchedulerClient
from scheduler.errors import ExitCode
from scheduler.records import Write
from scheduler.runtime.settings import Settings
from scheduler.topics import schedules_topic
from scheduler.wire import schedule_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.broker import Broker, Topics

SECONDS = 120.0
CRONTAB = r"""
@every 90s  one
GREETING="  hello "
CRON_TZ=Europe/Riga
MAX_ATTEMPTS=3
RETRY_FACTOR=1.25
OVERLAP=forbid
JITTER=5m
NAME=nightly
30  3 * * mon-fri  cluster-b  date +\%F%one%two
@daily  same
CRON_TZ=""
@daily  same
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def topic(topics: Topics) -> str:
    return topics.create("schedules", partitions=3, config=schedules_topic("").config)


@pytest.fixture
def planner(broker: Broker, topic: str, tmp_path: Path) -> Callable[..., Ended]:
    """Run `planner ...` as a process."""
    environment = {
        **os.environ,
        "BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SCHEDULES_TOPICS": topic,
        "CLUSTERS": "cluster-a,cluster-b",
    }

    def run(*arguments: str, crontab: str | None = None) -> Ended:
        if crontab is not None:
            file = tmp_path / "crontab"
            file.write_text(crontab)
            arguments = (*arguments, str(file))
        ended = subprocess.run(
            [sys.executable, "-m", "planner", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


def test_what_was_synced_is_exported_and_a_sync_of_it_changes_nothing(planner: Callable[..., Ended]) -> None:
    planner("sync", "--source", "jobs", crontab=CRONTAB)

    code, text, err = planner("export")

    assert code == ExitCode.OK
    assert err == ""
    assert text.startswith("# The schedules of jobs: planner sync --source jobs FILE keeps them as they are.\n")
    document = json.loads(planner("sync", "--source", "jobs", "--json", crontab=text).out)
    counts = [document[what] for what in ("created", "changed", "cancelled", "kept")]
    assert counts == [0, 0, 0, 4]


def test_of_several_sources_one_is_chosen(planner: Callable[..., Ended]) -> None:
    planner("sync", "--source", "mine", crontab="NAME=a\n@daily a\n")
    planner("sync", "--source", "theirs", "--json", crontab="NAME=b\n@daily b\n")

    code, out, err = planner("export")
    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert err == "planner: there are several sources, choose one with --source: mine, theirs\n"
    assert planner("export", "--source", "theirs").out.endswith("\nNAME=b\n@daily  cluster-a  b\n")
    code, _, err = planner("export", "--source", "nobody")
    assert code == ExitCode.BAD_INPUT
    assert err == "planner: the source nobody has no schedules; sources that have: mine, theirs\n"


def test_what_is_no_entry_is_left_out_and_told(planner: Callable[..., Ended], broker: Broker, topic: str) -> None:
    """Another client's schedule under the source's mark; and a retry that waits, which is not the planner's."""
    planner("sync", "--source", "jobs", crontab="@daily run")
    mark = [("planner-source", b"jobs")]
    settings = Settings.load(bootstrap_servers=broker.bootstrap_servers, schedules_topics=[topic])
    with SchedulerClient(settings) as client, client.writer(f"{topic}-test") as writer:
        writer.apply(
            [
                Write(topic, b"jobs/odd", b"?", schedule_headers("t", cron="@daily", headers=mark)),
                Write(topic, b"jobs/x@1#2", b"{}", schedule_headers("t", due_ms=4_102_444_800_000, headers=mark)),
            ]
        )

    code, out, err = planner("export")
    assert (code, out.splitlines()[1:]) == (ExitCode.OK, ["@daily  cluster-a  run"])
    assert err.startswith("jobs/odd is left out: its payload is no job: ")
    assert err.count("\n") == 1
    document = json.loads(planner("export", "--json").out)
    assert (document["source"], document["entries"], document["system"]) == ("jobs", 1, False)
    assert [left["schedule_id"] for left in document["left_out"]] == ["jobs/odd"]


def test_nothing_to_export_is_an_error(planner: Callable[..., Ended]) -> None:
    """An empty crontab, synced, would cancel what is only somewhere else."""
    assert planner("export") == (ExitCode.BAD_INPUT, "", "planner: Kafka holds no schedules of a crontab\n")
