"""A group's coordinator that does not answer in time, and does later, ends nobody's process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dev.local_kafka import LocalKafka

ROOT = Path(__file__).parents[2]
SECONDS = 60
START_SECONDS = 240.0

ASKS = """
import sys
from confluent_kafka import KafkaException
from scheduler.broker.cluster import Cluster
from scheduler.runtime.settings import Settings

asked = Cluster(Settings.load(bootstrap_servers=sys.argv[1]), "asks")
asked.topics(seconds=10)
print("connected", flush=True)
input()
for seconds in (1.0, 1.0, 20.0):
    try:
        asked.members("group", seconds)
        print("answered", flush=True)
    except KafkaException as error:
        # that it is still being loaded, or knows no such group, is an answer as well
        print("silent" if error.args[0].name() == "_TIMED_OUT" else "answered", flush=True)
    input()
"""


@pytest.mark.timeout(400)
def test_an_answer_that_comes_after_its_time_ends_no_process() -> None:
    """In a process of its own, because the client library would end it by an assertion."""
    with LocalKafka(proxied=True, start_seconds=START_SECONDS) as kafka:
        (proxy,) = kafka.proxies.values()
        process = subprocess.Popen(
            [sys.executable, "-c", ASKS, kafka.bootstrap_servers],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            proxy.hold(client="asks")
            said = []
            for _ in range(2):
                _tell(process)
                said.append(process.stdout.readline())
            proxy.release()
            answered, _ = process.communicate("\n\n", timeout=SECONDS)
        finally:
            process.kill()
            process.wait()

    assert said == ["silent\n", "silent\n"]
    assert (process.returncode, answered) == (0, "answered\n")


def _tell(process: subprocess.Popen[str]) -> None:
    """To go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
