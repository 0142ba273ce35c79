"""`python -m bench.noop_handlers`: handlers that do nothing through one worker process: the worker's own cost."""

from __future__ import annotations

import os
from contextlib import ExitStack

import click

from bench.scenarios import warm
from bench.short_jobs import Cluster, show
from dev.local_kafka import LocalKafka
from worker import Registry

jobs = Registry()


@jobs.register()
def nothing() -> None:
    """Do nothing."""


@click.command()
@click.option("--rounds", default=5, show_default=True, help="The median counts.")
@click.option("--calls", default=100_000, show_default=True, help="In a round.")
@click.option("--slots", default=8, show_default=True, help="Of the worker.")
@click.option("--log-level", default="warning", show_default=True, help="`info` tells of each beginning and end.")
@click.option("--warm-seconds", default=60, show_default=True, help="The broker ends transactions for so long first.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, calls: int, slots: int, log_level: str, warm_seconds: int, as_json: bool) -> None:
    """Measure how many handlers that do nothing a worker process calls in a second."""
    given = os.environ.get("BOOTSTRAP_SERVERS")
    found = []
    with ExitStack() as until_the_end:
        servers = given or until_the_end.enter_context(LocalKafka()).bootstrap_servers
        warm(servers, warm_seconds)
        for number in range(rounds):
            cluster = Cluster(servers, number)
            rate = cluster.rate(calls, slots, "bench.noop_handlers:jobs", LOG_LEVEL=log_level)
            found.append({"calls per second": rate.per_second, "CPU of the worker for each, ms": rate.own_cpu_ms})
    show(found, f"{slots} slots, {calls:,} calls, LOG_LEVEL={log_level}", as_json=as_json)


if __name__ == "__main__":
    main()
