"""`make bench`: ours, the raw client and a peer in turn, on one broker; medians and ranges in one table.

Figures of one machine say little; the ratio of two of the same run does. A peer is any scheduler that speaks the
contract and reads its settings from the same variables: PEER="path/to/command" make bench.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil
from confluent_kafka import libversion
from confluent_kafka import version as client_version

from bench import scenarios
from bench.installation import Installation, peer_command
from dev.kafka_distribution import KAFKA_VERSION
from dev.local_kafka import LocalKafka
from scheduler.runtime.cli import echo_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.scenarios import Figure

SCENARIOS = ("burst", "seconds", "spread", "fast", "restore", "payloads", "restoring", "writing", "scale", "millions")
USUAL = ("burst", "seconds", "spread", "restore")


class Table:
    """Figures by name, in the order in which they came; each with its values of all rounds."""

    def __init__(self) -> None:
        self.figures: dict[str, tuple[list[float], int]] = {}

    def add(self, figures: list[Figure]) -> None:
        """Those of one round."""
        group = ""
        for name, value, digits in figures:
            group = name if not name.startswith(" ") else group
            # what belongs to a figure above it is named after that one, so that two groups do not mix
            key = name if not name.startswith(" ") else f"{group}\n{name}"
            self.figures.setdefault(key, ([], digits))[0].append(value)

    def rows(self) -> list[tuple[str, str]]:
        """For people: the median, and the range where there is one."""
        return [(key.partition("\n")[2] or key, _spread(*figure)) for key, figure in self.figures.items()]


def _spread(values: list[float], digits: int) -> str:
    median = f"{statistics.median(values):,.{digits}f}"
    return median if len(values) == 1 else f"{median}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def machine() -> str:
    """What was measured on."""
    return (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total // 2**30} GiB, {platform.platform()}, "
        f"Python {platform.python_version()}, confluent-kafka {client_version()}, librdkafka {libversion()[0]}, "
        f"Apache Kafka {KAFKA_VERSION}; broker, reader and load on the same machine, 8 partitions"
    )


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Of each scenario; the median counts.")
@click.option("--burst", default=100_000, show_default=True, help="Schedules due at one instant.")
@click.option("--pending", default=1_000_000, show_default=True, help="Schedules to restore.")
@click.option(
    "--only",
    default=",".join(USUAL),
    show_default=True,
    help=f"Which scenarios, separated by commas; `all` is every one of {', '.join(SCENARIOS)}.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, burst: int, pending: int, only: str, as_json: bool) -> None:
    """Measure a replica against the raw client, and a peer where PEER names one, on one broker in one run."""
    chosen = SCENARIOS if only == "all" else tuple(only.split(","))
    if unknown := set(chosen) - set(SCENARIOS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}", param_hint="--only")
    table, peer, given = Table(), peer_command(), os.environ.get("BOOTSTRAP_SERVERS")
    with ExitStack() as until_the_end:
        servers = given or until_the_end.enter_context(LocalKafka()).bootstrap_servers

        def fresh() -> Installation:
            return Installation(servers)

        plans: dict[str, tuple[int, Callable[[], list[Figure]]]] = {
            "burst": (rounds, lambda: scenarios.bursts(standing, peer, burst)),
            "seconds": (rounds, lambda: scenarios.whole_seconds(standing, peer)),
            "spread": (rounds, lambda: scenarios.spread(standing, 1_000, 10)),
            "fast": (1, lambda: scenarios.spread(standing, 10_000, 60)),
            "restore": (1, lambda: scenarios.restore(fresh(), pending)),
            "payloads": (1, lambda: scenarios.restore(fresh(), pending // 10, size=10_000)),
            "restoring": (1, lambda: scenarios.restore_under_load(fresh(), pending)),
            "writing": (1, lambda: scenarios.firing_while_written(fresh())),
            "scale": (1, lambda: scenarios.scale(servers, burst)),
            "millions": (1, lambda: scenarios.millions(fresh(), 10_000_000)),
        }
        standing = fresh()
        scenarios.raw_rate(standing, 10_000)  # warms the broker
        for name in chosen:
            times, plan = plans[name]
            for number in range(times):
                click.echo(f"{name}, round {number + 1} of {times}", err=True)
                table.add(plan())
    if as_json:
        measured = {key.replace("\n", ""): values for key, (values, _) in table.figures.items()}
        at = datetime.now(UTC).date().isoformat()
        click.echo(json.dumps({"machine": machine(), "date": at, "figures": measured}, indent=2))
    else:
        echo_table(("figure", "median (range)"), table.rows())
        click.echo("\n" + machine())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
