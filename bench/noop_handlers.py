"""`python -m bench.noop_handlers`: handlers that do nothing through one worker process: the worker's own cost."""

from __future__ import annotations

import os
import platform
import statistics
from contextlib import ExitStack

import click
import psutil

from bench.short_jobs import PARTITIONS, Cluster
from dev.local_kafka import LocalKafka
from scheduler.runtime.cli import echo_table
from worker import Registry

jobs = Registry()


@jobs.register()
def nothing() -> None:
    """Do nothing."""


@click.command()
@click.option("--rounds", default=3, show_default=True, help="The median counts.")
@click.option("--calls", default=50_000, show_default=True, help="In a round.")
@click.option("--slots", default=8, show_default=True, help="Of the worker.")
@click.option("--log-level", default="warning", show_default=True, help="`info` tells of each beginning and end.")
def main(*, rounds: int, calls: int, slots: int, log_level: str) -> None:
    """Measure how many handlers that do nothing a worker process calls in a second."""
    given = os.environ.get("BOOTSTRAP_SERVERS")
    measured = []
    with ExitStack() as until_the_end:
        servers = given or until_the_end.enter_context(LocalKafka()).bootstrap_servers
        for number in range(rounds):
            cluster = Cluster(servers, number)
            measured.append(cluster.rate(calls, slots, "bench.noop_handlers:jobs", LOG_LEVEL=log_level))
    rates, cpus = zip(*measured, strict=True)
    rows = [
        ("calls per second", f"{statistics.median(rates):,.0f}  ({min(rates):,.0f} to {max(rates):,.0f})"),
        ("CPU of the worker for each, ms", f"{statistics.median(cpus):.3f}"),
    ]
    echo_table(("figure", "median (range)"), rows)
    click.echo(
        f"\n{psutil.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}; "
        f"broker on the same machine, {PARTITIONS} partitions, {slots} slots, {calls:,} calls, LOG_LEVEL={log_level}"
    )


if __name__ == "__main__":
    main()
