"""`make bench-recovery`: how long nothing fires after a fault, with many schedules pending; medians against bounds.

Schedules fall due all the time in every partition. Two replicas share them; one is killed, or asked to stop, or the
broker that leads a partition is killed. Measured by a read_committed reader: how late the latest message is that was
due from the fault on, in any partition. So it is the gap of the partition that was worst off.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.load import PAYLOAD, schedule
from bench.reader import Reader
from dev.local_kafka import LocalKafka
from scheduler import wire
from scheduler.runtime.cli import echo_table
from scheduler.runtime.kafka import producer_conf
from scheduler.runtime.settings import Settings
from scheduler.topics import cluster_topic, dead_letter_topic, history_topic, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTITIONS = 8
RATE = 25  # a second and partition
LEAD_SECONDS = 6.0
"""From the writing of the schedules to when the first is due."""
BEFORE_SECONDS = 2.0
"""Firing before the fault."""
READY_SECONDS = 120.0
END_SECONDS = 30.0


class Bound(NamedTuple):
    """A fault, how long the firing goes on after it, and what is promised."""

    name: str
    seconds: float
    promised: float


KILL = Bound("kill -9 of a replica (session timeout 6 s)", 12.0, 7.5)
STOP = Bound("planned stop of a replica", 6.0, 1.0)
LEADER = Bound("kill -9 of the broker that leads a partition", 18.0, 15.0)


class Replica:
    """`scheduler run`, and which partitions it fires in by its own log."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run"], env=environment, stderr=subprocess.PIPE, text=True
        )
        self.partitions: set[str] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if event["event"] == "restored":
                self.partitions.add(f"{event['topic']}/{event['partition']}")
            elif event["event"] in ("revoked", "lost"):
                self.partitions.difference_update(event["partitions"].split(","))

    def kill(self) -> None:
        """As a crash."""
        self._process.kill()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def end(self) -> None:
        """Stop it if it runs."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Recovery:
    """Topics with so many schedules pending, on a cluster."""

    def __init__(self, bootstrap_servers: str, pending: int, replication: int = 1) -> None:
        self.settings = Settings.load(bootstrap_servers=bootstrap_servers)
        name = f"recovery-{time.time_ns()}"
        self.topic, self.target = f"{name}-schedules", f"{name}-target"
        self._serial = 0
        specs = (
            schedules_topic(self.topic),
            cluster_topic(self.target),
            history_topic(f"{name}-history"),
            dead_letter_topic(f"{name}-dead-letters"),
        )
        self._environment = {
            **os.environ,
            "BOOTSTRAP_SERVERS": bootstrap_servers,
            "SCHEDULES_TOPICS": self.topic,
            "HISTORY_TOPIC": specs[2].name,
            "DEAD_LETTER_TOPIC": specs[3].name,
            "GROUP_ID": self.topic,
            "METRICS_HTTP_ADDR": "off",
            "SERVER_ADDR": "off",
            "LOG_FORMAT": "json",
        }
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        topics = [NewTopic(spec.name, PARTITIONS, replication, config=spec.config) for spec in specs]
        for future in admin.create_topics(topics).values():
            future.result()
        far_ms = int((time.time() + 86_400) * 1000)
        schedule(self.settings, self.topic, self.target, [far_ms + number for number in range(pending)], "pending")

    @contextmanager
    def pair(self) -> Iterator[tuple[Replica, Replica]]:
        """Two replicas that share the partitions and are restored."""
        first = Replica(self._environment)
        replicas = [first]
        try:
            _wait_until(lambda: len(first.partitions) == PARTITIONS, "the first replica is restored")
            second = Replica(self._environment)
            replicas.append(second)
            _wait_until(
                lambda: len(first.partitions) == len(second.partitions) == PARTITIONS // 2, "two replicas share them"
            )
            yield first, second
        finally:
            for replica in replicas:
                replica.end()

    def measure(self, bound: Bound, fault: Callable[[], None]) -> float:
        """Let it happen while schedules fall due; the lateness of the latest due from then on, in seconds."""
        self._serial += 1
        count = int((BEFORE_SECONDS + bound.seconds) * RATE)
        reader = Reader(self.settings, self.target)
        start = time.time() + LEAD_SECONDS
        self._write([int((start + number / RATE) * 1000) for number in range(count)])
        time.sleep(max(0.0, start + BEFORE_SECONDS - time.time()))
        struck = time.time()
        fault()
        late = [ms for due, ms in reader.lateness_by_due(count * PARTITIONS) if due >= struck - 1 / RATE]
        reader.close()
        return max(late) / 1000

    def _write(self, dues_ms: list[int]) -> None:
        producer = Producer({**producer_conf(self.settings, "bench-load"), "log_level": 0})
        for due_ms in dues_ms:
            headers = wire.schedule_headers(self.target, due_ms=due_ms)
            for partition in range(PARTITIONS):
                key = b"tick-%d-%d-%d" % (self._serial, partition, due_ms)
                producer.produce(self.topic, PAYLOAD, key, partition, headers=headers)
        producer.flush()


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {READY_SECONDS:g} s: {what}")
        time.sleep(0.05)


def _replicas(rounds: int, pending: int) -> Iterator[tuple[Bound, float]]:
    with LocalKafka() as kafka:
        recovery = Recovery(kafka.bootstrap_servers, pending)
        for number in range(rounds):
            click.echo(f"replicas, round {number + 1} of {rounds}", err=True)
            with recovery.pair() as (first, _):
                yield KILL, recovery.measure(KILL, first.kill)
            with recovery.pair() as (first, _):
                yield STOP, recovery.measure(STOP, first.ask_to_stop)


def _brokers(rounds: int, pending: int) -> Iterator[tuple[Bound, float]]:
    with LocalKafka(brokers=3, heap="512m") as kafka:
        recovery = Recovery(kafka.bootstrap_servers, pending, replication=3)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        for number in range(rounds):
            click.echo(f"brokers, round {number + 1} of {rounds}", err=True)
            leader = admin.list_topics(recovery.topic, timeout=10).topics[recovery.topic].partitions[0].leader
            with recovery.pair():
                yield LEADER, recovery.measure(LEADER, lambda leader=leader: kafka.kill(leader))  # type: ignore[misc]
            kafka.restart(leader)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Of each fault; the median counts.")
@click.option("--pending", default=1_000_000, show_default=True, help="Schedules far in the future.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, pending: int, as_json: bool) -> None:
    """Measure recovery times; exit code 1 where a median is not within what is promised."""
    found: dict[Bound, list[float]] = {}
    # a broker's loss is not about the restore: fewer are pending
    for bound, seconds in chain(_replicas(rounds, pending), _brokers(rounds, pending // 10)):
        found.setdefault(bound, []).append(seconds)
        click.echo(f"  {bound.name}: {seconds:.2f} s", err=True)
    medians = {bound: statistics.median(seconds) for bound, seconds in found.items()}
    if as_json:
        click.echo(json.dumps({bound.name: seconds for bound, seconds in found.items()}, indent=2))
    else:
        rows = [
            (
                bound.name,
                f"{medians[bound]:.2f}",
                f"{min(found[bound]):.2f} to {max(found[bound]):.2f}",
                f"{bound.promised:g}",
            )
            for bound in found
        ]
        echo_table(("fault", "nothing fires for, s, median", "range", "promised"), rows)
    if any(median > bound.promised for bound, median in medians.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
