"""`make bench-endurance`: short jobs without end through one worker, and what it holds before and after.

What a worker keeps of a job that is done is a leak: memory, a descriptor, a thread, a process that nobody reaped.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click
import psutil

from bench.short_jobs import PARTITIONS, Cluster
from dev.local_kafka import LocalKafka
from scheduler.runtime.cli import echo_json, echo_table

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: list[dict[str, Any]] = [
    {"command": ["true"]},
    {"command": "echo said"},
    {"command": "cat", "stdin": "said"},
    {"command": "exit 3", "max_attempts": 2},
    {"command": "kill -9 $$"},
    {"command": ["/does/not/exist"]},
]
"""Each way in which a short job begins and ends, in turn."""
ROUNDS = 10
WARM_SHARE = 10
"""A tenth of the jobs are run before the first look: libraries and buffers have their size then."""
SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class Held:
    """What a worker's process and its guardian hold, and the processes that nobody has reaped."""

    jobs: int
    worker_mb: float
    guardian_mb: float
    worker_files: int
    guardian_files: int
    threads: int
    zombies: int

    @classmethod
    def by(cls, worker: psutil.Process, jobs: int) -> Self:
        """Look now."""
        (guardian,) = [child for child in worker.children() if "worker.guardian" in child.cmdline()]
        everybody = [*worker.children(recursive=True)]
        return cls(
            jobs,
            worker.memory_info().rss / 2**20,
            guardian.memory_info().rss / 2**20,
            worker.num_fds(),
            guardian.num_fds(),
            worker.num_threads(),
            sum(1 for process in everybody if process.status() == psutil.STATUS_ZOMBIE),
        )


def rounds(cluster: Cluster, jobs: int, slots: int) -> Iterator[Held]:
    """Run that many jobs after the first tenth; what is held after each part of them."""
    warm, part = jobs // WARM_SHARE, jobs // ROUNDS
    reader = cluster.reader()
    worker = cluster.worker("--slots", str(slots), LOG_LEVEL="warning")
    done = 0
    try:
        for count in (warm, *(part,) * ROUNDS):
            cluster.put(count, KINDS, done)
            reader.count(count)
            done += count
            time.sleep(SETTLED_SECONDS)  # a result can be read before the worker has put its books away
            yield Held.by(psutil.Process(worker.pid), done)
    finally:
        worker.terminate()
        worker.wait(30)
        reader.close()


@click.command()
@click.option("--jobs", default=20_000, show_default=True, help="Short jobs, after a tenth of them to warm up.")
@click.option("--slots", default=8, show_default=True, help="Of the worker.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, jobs: int, slots: int, as_json: bool) -> None:
    """Run short jobs through one worker and show what it holds after each tenth of them."""
    given = os.environ.get("BOOTSTRAP_SERVERS")
    began = time.monotonic()
    held = []
    with ExitStack() as until_the_end:
        servers = given or until_the_end.enter_context(LocalKafka()).bootstrap_servers
        for look in rounds(Cluster(servers, 0), jobs, slots):
            held.append(look)
            click.echo(f"{look.jobs:,} jobs", err=True)
    names = ("jobs", "worker MiB", "guardian MiB", "worker files", "guardian files", "threads", "zombies")
    rows = [
        (
            f"{it.jobs:,}",
            f"{it.worker_mb:.1f}",
            f"{it.guardian_mb:.1f}",
            str(it.worker_files),
            str(it.guardian_files),
            str(it.threads),
            str(it.zombies),
        )
        for it in held
    ]
    machine = (
        f"{psutil.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}; broker on the same "
        f"machine, {PARTITIONS} partitions, {slots} slots, {time.monotonic() - began:.0f} s"
    )
    if as_json:
        echo_json({"machine": machine, "held": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        echo_table(names, rows)
        click.echo("\n" + machine)


if __name__ == "__main__":
    main()
