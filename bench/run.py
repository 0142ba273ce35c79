"""`make bench`: ours, the raw client and a peer in turn, on one broker; medians and ranges in one table.

Figures of one machine say little; the ratio of two of the same run does. A peer is any scheduler that speaks the
contract and reads its settings from the same variables: PEER="path/to/command" make bench.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import click

from bench import restores, scenarios
from bench.figures import QUIET_CORES, Table, keep, kept, machine, now
from bench.installation import peer_command
from bench.scenarios import SMALL, Bench, Sizes
from bench.usage import Others
from dev.local_kafka import LocalKafka
from scheduler.runtime.cli import echo_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.figures import Figure, Measured

USUAL = ("burst", "seconds", "spread", "restore")
HEAP = "2g"
"""Of the broker: with ten million records in flight, one of 1 GB collects garbage instead."""
OPTIONS = (f"-Xms{HEAP}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
"""With which Kafka's own scripts start a broker. Without them its heap begins small: at 1,000/s it stands still twice a
second for 7 ms, which is the p99 of whatever fires; with them every five seconds for 20 ms."""


def plans(chosen: Sequence[str], bench: Bench, rounds: int) -> dict[str, Callable[[], Iterator[list[Figure]]]]:
    """Every scenario by name; each gives the figures of one round after the other."""
    standing = bench.installation()
    sizes = bench.sizes
    scenarios.raw_rate(standing, min(10_000, sizes.burst))
    if {"burst", "scale"}.intersection(chosen):
        # the first is half as fast as the third: the broker compiles its own code meanwhile
        scenarios.bursts(bench._replace(peer=None), standing)

    def often(once: Callable[[], list[Figure]], times: int = rounds) -> Callable[[], Iterator[list[Figure]]]:
        return lambda: (once() for _ in range(times))

    @cache
    def warm(rate: int, at_once: int) -> None:
        """Once for each kind of work: what the broker has compiled by then stays."""
        scenarios.warm_up(standing, sizes.warm_seconds, rate, at_once)

    def warmly(
        once: Callable[[], list[Figure]], times: int = rounds, rate: int = 1_000, at_once: int = 1
    ) -> Callable[[], Iterator[list[Figure]]]:
        def each() -> Iterator[list[Figure]]:
            warm(rate, at_once)
            yield from often(once, times)()

        return each

    return {
        "burst": warmly(lambda: scenarios.bursts(bench, standing)),
        "seconds": warmly(lambda: scenarios.whole_seconds(bench, standing), rate=5_000, at_once=1_000),
        "spread": warmly(lambda: scenarios.spread(bench, standing, 1_000, sizes.seconds)),
        "fast": warmly(lambda: scenarios.spread(bench, standing, sizes.fast, sizes.fast_seconds), rate=sizes.fast),
        "writing": warmly(lambda: scenarios.firing_while_written(bench)),
        "scale": warmly(lambda: scenarios.scale(bench)),
        "planner": often(lambda: restores.planned(bench)),
        "restore": lambda: restores.restore(bench, rounds),
        "warm": often(lambda: restores.warm(bench)),
        "restoring": often(lambda: restores.restoring(bench)),
        "reread": warmly(lambda: restores.reread(bench), 1),
        "payloads": often(lambda: restores.payloads(bench), 1),
        "millions": warmly(lambda: restores.millions(bench), 1),
    }


SCENARIOS = (
    "burst",
    "seconds",
    "spread",
    "fast",
    "writing",
    "scale",
    "planner",
    "restore",
    "warm",
    "restoring",
    "reread",
    "payloads",
    "millions",
)


def measured(chosen: Sequence[str], bench: Bench, rounds: int, table: Table) -> Iterator[Measured]:
    """Each scenario, one after the other; the table has all of their figures."""
    every = plans(chosen, bench, rounds)
    for name in chosen:
        start, of_it, others = time.time(), Table(), Others(bench.broker)
        for number, figures in enumerate(every[name](), 1):
            click.echo(f"{name}, round {number} after {time.time() - start:.0f} s", err=True)
            of_it.add(figures)
            table.add(figures)
        cores = others.cores()
        if cores > QUIET_CORES:
            click.echo(
                f"{name}: other processes took {cores:.2f} cores meanwhile; the figures are of little worth", err=True
            )
        yield now(name, time.time() - start, rounds, cores, of_it.figures)


def expected(chosen: Sequence[str], rounds: int) -> str:
    """How long it will take, by how long it took."""
    before = kept()
    known = [before[name] for name in chosen if name in before]
    seconds = sum(run.seconds * (rounds / run.rounds if run.rounds else 1) for run in known)
    unknown = [name for name in chosen if name not in before]
    rest = f", and {', '.join(unknown)}, which nobody has measured yet" if unknown else ""
    return f"{len(chosen)} scenarios: about {seconds / 60:.0f} minutes by the last time{rest}"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Of each scenario; the median counts.")
@click.option(
    "--only",
    default=",".join(USUAL),
    show_default=True,
    help=f"Which scenarios, separated by commas; `all` is every one of {', '.join(SCENARIOS)}.",
)
@click.option("--burst", default=Sizes().burst, show_default=True, help="Schedules due at one instant.")
@click.option("--pending", default=Sizes().pending, show_default=True, help="Schedules to restore.")
@click.option("--small", is_flag=True, help="Small sizes: whether everything works, in some minutes.")
@click.option("--keep", "to_be_kept", is_flag=True, help="Keep what is measured, for `make performance`.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each scenario instead of a table.")
def main(*, rounds: int, only: str, burst: int, pending: int, small: bool, to_be_kept: bool, as_json: bool) -> None:
    """Measure a replica against the raw client, and a peer where PEER names one, on one broker in one run."""
    chosen = SCENARIOS if only == "all" else tuple(only.split(","))
    if unknown := set(chosen) - set(SCENARIOS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}", param_hint="--only")
    sizes = SMALL if small else Sizes(burst=burst, pending=pending)
    if to_be_kept and sizes != Sizes():
        raise click.UsageError("--keep is for the sizes that the bounds are about: without --small, --burst, --pending")
    table, given = Table(), os.environ.get("BOOTSTRAP_SERVERS")
    if not small:
        click.echo(expected(chosen, rounds), err=True)
    with ExitStack() as until_the_end:
        if given:
            bench = Bench(given, (), peer_command(), sizes)
        else:
            kafka = until_the_end.enter_context(LocalKafka(heap=HEAP, options=OPTIONS))
            bench = Bench(kafka.bootstrap_servers, list(kafka.pids.values()), peer_command(), sizes)
        for run in measured(chosen, bench, rounds, table):
            if to_be_kept:
                keep(run)
            if as_json:
                click.echo(run.to_json())
    if not as_json:
        echo_table(("figure", "median (range)"), table.rows())
        click.echo(f"\n{machine()}; broker, reader and load on the same machine, 8 partitions unless said otherwise")


if __name__ == "__main__":
    main()
