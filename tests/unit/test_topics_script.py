"""`topics.sh` says the same about topics as the scheduler does, and its `--print` never asks a broker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scheduler.topics import all_topics

SCRIPT = Path(__file__).resolve().parents[2] / "topics.sh"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Kafka's tools, replaced by one that notes that it was called."""
    for name in ("kafka-topics.sh", "kafka-configs.sh", "scheduler"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "$0 $*" >>"{tmp_path}/called"\n')
        tool.chmod(0o755)
    return tmp_path


def run(tools: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    unset = {"BOOTSTRAP_SERVERS", "SCHEDULES_TOPICS", "HISTORY_TOPIC", "DEAD_LETTER_TOPIC", "RESULTS_TOPIC", "CLUSTERS"}
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"PATH": f"{tools}:{os.environ['PATH']}"} | variables
    return subprocess.run([SCRIPT, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_the_script_and_the_scheduler_want_the_same_settings(tools: Path, replicas: int) -> None:
    printed = run(
        tools, "--print", SCHEDULES_TOPICS="schedules, more", CLUSTERS="eu,us", REPLICATION_FACTOR=str(replicas)
    )

    wanted = all_topics(
        schedules=["schedules", "more"],
        history="history",
        dead_letters="dead-letters",
        results="results",
        clusters=["eu", "us"],
        replication_factor=replicas,
    )
    lines = [line.split() for line in printed.stdout.splitlines()]
    assert {name: dict(word.split("=") for word in words) for name, *words in lines} == {
        spec.name: spec.config for spec in wanted
    }
    assert not (tools / "called").exists()


def test_printing_into_a_closed_pipe_reaches_no_broker(tools: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        command = [str(SCRIPT), "--print"]
        subprocess.run(command, env=env, stdout=closed, stderr=subprocess.DEVNULL, timeout=60, check=False)

    assert not (tools / "called").exists()


def test_a_count_that_is_no_number_is_named(tools: Path) -> None:
    refused = run(tools, PARTITIONS="many")

    assert refused.returncode == 2
    assert "PARTITIONS is 'many'" in refused.stderr
    assert not (tools / "called").exists()


def test_three_replicas_need_two_in_sync(tools: Path) -> None:
    printed = run(tools, "--print", REPLICATION_FACTOR="3").stdout.splitlines()

    assert printed
    assert all(line.endswith("min.insync.replicas=2") for line in printed)
