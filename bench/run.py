"""`make bench`: ours and the raw client in turn, on one broker; medians and ranges.

Figures of one machine say little; the ratio of two of the same run does.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil
from confluent_kafka import libversion
from confluent_kafka import version as client_version
from confluent_kafka.admin import AdminClient, NewTopic

from bench.load import raw, schedule
from bench.reader import Reader
from dev.local_kafka import LocalKafka
from scheduler.runtime.cli import echo_table
from scheduler.runtime.settings import Settings
from scheduler.topics import cluster_topic, dead_letter_topic, history_topic, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 8
LEAD_SECONDS = 3.0


class Bench:
    """Topics of its own, a replica as a process, a reader."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.settings = Settings.load(bootstrap_servers=bootstrap_servers)
        name = f"bench-{time.time_ns()}"
        self.topic, self.target = f"{name}-schedules", f"{name}-target"
        self.history, self.dead_letters = f"{name}-history", f"{name}-dead-letters"
        self._serial = 0
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        specs = (
            schedules_topic(self.topic),
            cluster_topic(self.target),
            history_topic(self.history),
            dead_letter_topic(self.dead_letters),
        )
        for future in admin.create_topics(
            [NewTopic(spec.name, PARTITIONS, 1, config=spec.config) for spec in specs]
        ).values():
            future.result()

    def run_id(self) -> str:
        """Ids that no run before had."""
        self._serial += 1
        return f"run{self._serial}"

    @contextmanager
    def replica(self) -> Iterator[tuple[psutil.Process, float]]:
        """A running, restored replica; yields its process and its start-up seconds by its own log."""
        environment = {
            **os.environ,
            "BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SCHEDULES_TOPICS": self.topic,
            "HISTORY_TOPIC": self.history,
            "DEAD_LETTER_TOPIC": self.dead_letters,
            "GROUP_ID": self.topic,
            "METRICS_HTTP_ADDR": "off",
            "SERVER_ADDR": "off",
            "LOG_FORMAT": "json",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run"], env=environment, stderr=subprocess.PIPE, text=True
        )
        assigned = restored = 0.0
        left = PARTITIONS
        for line in process.stderr or ():
            if not line.startswith("{"):
                raise SystemExit(f"the replica says: {line}")
            event = json.loads(line)
            if event["event"] == "assigned":
                assigned = time.time()
            elif event["event"] == "restored":
                left -= 1
            if left == 0:
                restored = time.time()
                break
        threading.Thread(target=process.communicate, daemon=True).start()  # or a full pipe would hold it up
        try:
            yield psutil.Process(process.pid), restored - assigned
        finally:
            process.terminate()
            process.wait(20)

    def raw_rate(self, count: int) -> float:
        """Schedules per second whose three records the bare client writes, until a reader has them all."""
        reader = Reader(self.settings, self.target)
        start = time.time()
        writer = threading.Thread(
            target=raw, args=(self.settings, self.topic, self.target, self.history, count, PARTITIONS)
        )
        writer.start()
        end = reader.count(count)
        writer.join()
        reader.close()
        return count / (end - start)

    def burst_rate(self, count: int) -> tuple[float, float]:
        """All due at one instant: fired per second until a reader has them all, and CPU µs for each."""
        with self.replica() as (process, _):
            reader = Reader(self.settings, self.target)
            due_ms = int((time.time() + LEAD_SECONDS + count / 50_000) * 1000)
            schedule(self.settings, self.topic, self.target, [due_ms] * count, self.run_id())
            before = sum(process.cpu_times()[:2])
            end = reader.count(count)
            cpu = sum(process.cpu_times()[:2]) - before
            reader.close()
        return count / (end - due_ms / 1000), cpu / count * 1e6

    def spread(self, rate: int, seconds: int) -> tuple[float, float, float]:
        """Spread over milliseconds: lateness p50 and p99 at a reader, in ms, and cores used."""
        with self.replica() as (process, _):
            reader = Reader(self.settings, self.target)
            for warm in (True, False):
                count = rate if warm else rate * seconds
                start_ms = int((time.time() + LEAD_SECONDS) * 1000)
                dues = [start_ms + number * 1000 // rate for number in range(count)]
                schedule(self.settings, self.topic, self.target, dues, self.run_id())
                before = sum(process.cpu_times()[:2]), time.time()
                late = sorted(reader.lateness_ms(count))
            cores = (sum(process.cpu_times()[:2]) - before[0]) / (time.time() - before[1])
            reader.close()
        return statistics.median(late), late[int(len(late) * 0.99)], cores

    def restore(self, count: int) -> tuple[float, float]:
        """That many far in the future: seconds from the assignment to the last partition, and bytes for each."""
        with self.replica() as (process, _):
            empty = process.memory_info().rss
        far_ms = int((time.time() + 86_400) * 1000)
        schedule(self.settings, self.topic, self.target, [far_ms + n for n in range(count)], self.run_id())
        with self.replica() as (process, seconds):
            return seconds, (process.memory_info().rss - empty) / count


def _spread(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):,.{digits}f}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Of each pair; the median counts.")
@click.option("--burst", default=100_000, show_default=True, help="Schedules due at one instant.")
@click.option("--pending", default=300_000, show_default=True, help="Schedules to restore.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, burst: int, pending: int, as_json: bool) -> None:
    """Measure a replica against the raw transactional loop on the same broker in the same run."""
    given = os.environ.get("BOOTSTRAP_SERVERS")
    with ExitStack() as until_the_end:
        bench = Bench(given or until_the_end.enter_context(LocalKafka()).bootstrap_servers)
        bench.raw_rate(10_000)  # warms the broker
        raws, bursts, cpus, ratios = [], [], [], []
        for number in range(rounds):
            click.echo(f"round {number + 1} of {rounds}", err=True)
            raws.append(bench.raw_rate(burst))
            rate, cpu = bench.burst_rate(burst)
            bursts.append(rate)
            cpus.append(cpu)
            ratios.append(rate / raws[-1])
        click.echo("lateness", err=True)
        p50, p99, cores = zip(*(bench.spread(1000, 10) for _ in range(rounds)), strict=True)
        click.echo("restore", err=True)
        seconds, size = bench.restore(pending)
    rows = [
        (f"{burst:,} due at one instant, raw loop, per second", _spread(raws)),
        (f"{burst:,} due at one instant, fired per second", _spread(bursts)),
        ("  ratio to the raw loop of its round", _spread(ratios, 2)),
        ("  CPU of the replica for each, µs", _spread(cpus, 1)),
        ("1,000/s spread over milliseconds, lateness p50, ms", _spread(list(p50), 1)),
        ("  p99, ms", _spread(list(p99), 1)),
        ("  cores used by the replica", _spread(list(cores), 2)),
        (f"{pending:,} pending, restored in, s", f"{seconds:,.2f}"),
        ("  bytes for each", f"{size:,.0f}"),
    ]
    machine = (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total // 2**30} GiB, {platform.platform()}, "
        f"Python {platform.python_version()}, confluent-kafka {client_version()}, librdkafka {libversion()[0]}; "
        f"broker and reader on the same machine, {PARTITIONS} partitions, 100-byte payloads"
    )
    if as_json:
        click.echo(json.dumps({"machine": machine, "figures": dict(rows)}, indent=2))
    else:
        echo_table(("figure", "median (range)"), rows)
        click.echo("\n" + machine)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
