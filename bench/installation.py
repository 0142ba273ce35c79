"""Topics of its own on a broker, contenders as processes on them, and what they take of the machine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from confluent_kafka.admin import AdminClient, NewTopic

from bench.load import schedule
from bench.reader import Reader
from bench.usage import Meter
from dev.kafka_node import free_port
from scheduler.runtime.settings import Settings
from scheduler.topics import cluster_topic, dead_letter_topic, history_topic, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

READY_SECONDS = 180.0
STOP_SECONDS = 30.0
OURS = (sys.executable, "-m", "scheduler", "run")


@dataclass
class Replica:
    """A contender that runs."""

    process: psutil.Process
    log: Path
    started: float = field(default_factory=time.time)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def resident_bytes(self) -> int:
        """Its memory."""
        return int(self.process.memory_info().rss)

    def events(self, name: str | None = None) -> list[dict[str, object]]:
        """What it has logged, under that name or any; ours alone logs so."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if name in (None, event["event"])]

    def partitions(self) -> set[str]:
        """Which it fires in, by its own log; ours alone."""
        held: set[str] = set()
        for event in self.events():
            if event["event"] == "restored":
                held.add(f"{event['topic']}/{event['partition']}")
            elif event["event"] in {"revoked", "lost"}:
                held.difference_update(str(event["partitions"]).split(","))
        return held

    def wait_for(self, name: str, count: int) -> float:
        """Wait until it has logged that event so often; the Unix time of the last one."""
        end = time.time() + READY_SECONDS
        while len(events := self.events(name)) < count:
            if time.time() > end or not self.process.is_running():
                raise SystemExit(f"the replica did not say {name!r} {count} times; see {self.log}")
            time.sleep(0.02)
        return unix(str(events[count - 1]["time"]))


class Installation:
    """Schedules, target, history; every run has ids of its own.

    Args:
        bootstrap_servers: of the broker.
        partitions: of the schedules topic.
        replication: copies of each topic.
        broker: its process ids, where it runs on this machine.
    """

    def __init__(
        self, bootstrap_servers: str, *, partitions: int = 8, replication: int = 1, broker: Sequence[int] = ()
    ) -> None:
        self.partitions = partitions
        self.broker = broker
        self.settings = Settings.load(bootstrap_servers=bootstrap_servers)
        name = f"bench-{time.time_ns()}"
        self.topic, self.target = f"{name}-schedules", f"{name}-target"
        self.history, self.dead_letters = f"{name}-history", f"{name}-dead-letters"
        self._runs = 0
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        specs = (
            (schedules_topic(self.topic), partitions),
            (cluster_topic(self.target), 8),
            (history_topic(self.history), 8),
            (dead_letter_topic(self.dead_letters), 1),
        )
        wanted = [NewTopic(spec.name, count, replication, config=spec.config) for spec, count in specs]
        for future in admin.create_topics(wanted).values():
            future.result()

    def run_id(self) -> str:
        """A prefix for ids that no run before had."""
        self._runs += 1
        return f"run{self._runs}"

    def schedule(self, dues_ms: Iterable[int], *, size: int = 100) -> None:
        """Write a schedule for each due time."""
        schedule(self.settings, self.topic, self.target, dues_ms, self.run_id(), size=size)

    def reader(self) -> Reader:
        """A read_committed reader that stands at the target's end."""
        return Reader(self.settings, self.target)

    def meter(self, **processes: Sequence[int]) -> Meter:
        """CPU from now on, of the broker, of these, and of the reader."""
        return Meter({**processes, "broker": self.broker})

    def clear(self) -> None:
        """Delete the topics: a disk holds only so many benches."""
        admin = AdminClient({"bootstrap.servers": self.settings.bootstrap_servers, "log_level": 3})
        for future in admin.delete_topics([self.topic, self.target, self.history, self.dead_letters]).values():
            future.result()

    @contextmanager
    def replica(self, command: tuple[str, ...] = OURS, *, ready: bool = True, **environment: str) -> Iterator[Replica]:
        """A contender; `ready` waits until it has fired a schedule that was due at once in each partition."""
        with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".log", delete=False) as log:
            process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
                    "SCHEDULES_TOPICS": self.topic,
                    "HISTORY_TOPIC": self.history,
                    "DEAD_LETTER_TOPIC": self.dead_letters,
                    "GROUP_ID": self.topic,
                    "LOG_FORMAT": "json",
                    **_addresses(command),
                    **environment,
                },
                stdout=log,
                stderr=log,
            )
        try:
            replica = Replica(psutil.Process(process.pid), Path(log.name))
            if ready:
                self.probe()
            yield replica
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def probe(self) -> None:
        """Return once schedules that are due now are fired, from every partition."""
        reader = self.reader()
        now_ms = int(time.time()) * 1000
        schedule(
            self.settings,
            self.topic,
            self.target,
            [now_ms] * self.partitions,
            self.run_id(),
            partitions=range(self.partitions),
        )
        reader.count(self.partitions, seconds=READY_SECONDS)
        reader.close()


def peer_command() -> tuple[str, ...] | None:
    """The command in the variable PEER: another scheduler that speaks the contract and reads the same variables."""
    given = os.environ.get("PEER")
    return tuple(shlex.split(given)) if given else None


def _addresses(command: tuple[str, ...]) -> dict[str, str]:
    # others may not know `off`, and end where an address is none
    if command == OURS:
        return {"METRICS_HTTP_ADDR": "off", "SERVER_ADDR": "off"}
    return {name: f"127.0.0.1:{free_port()}" for name in ("METRICS_HTTP_ADDR", "SERVER_ADDR")}


def unix(rfc3339: str) -> float:
    """A time in a log as Unix time."""
    return datetime.fromisoformat(rfc3339).timestamp()
