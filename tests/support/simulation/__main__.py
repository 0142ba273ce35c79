"""Run worlds by their seeds, tell the course of one, or measure how soon each defect is found: `make simulate`."""

from __future__ import annotations

import statistics
import sys
from collections import Counter

import click

from scheduler.clock import SystemClock
from tests.support.simulation.explore import failure, found, run, shrunk, walk
from tests.support.simulation.mutations import Mutation
from tests.support.simulation.world import BrokenError

SAMPLES = 15
SAMPLE_EVERY = 10_000
MOST = 5_000


@click.command()
@click.option("--seeds", default=10_000, show_default=True, help="How many worlds.")
@click.option("--first", default=0, show_default=True, help="The seed of the first one.")
@click.option("--seed", type=int, help="Tell the course of this one, if it fails with as few steps as can be.")
@click.option("--mutation", type=click.Choice([each.name for each in Mutation]), help="With this defect.")
@click.option("--mutations", is_flag=True, help=f"How many worlds until each defect is found: {SAMPLES} samples.")
def main(seeds: int, first: int, seed: int | None, mutation: str | None, *, mutations: bool) -> None:
    """Simulate worlds of clients, operators, replicas and a broker; nothing may be lost, doubled or early."""
    defect = None if mutation is None else Mutation[mutation]
    if mutations:
        table()
    elif seed is not None:
        sys.exit(course(seed, defect))
    else:
        sys.exit(many(range(first, first + seeds), defect))


def many(seeds: range, defect: Mutation | None) -> int:
    """Run them all; the exit code is 1 where one failed."""
    clock = SystemClock()
    began = clock.monotonic()
    failed = 0
    sums: Counter[str] = Counter()
    for seed in seeds:
        the_walk = walk(seed)
        said = failure(the_walk, defect, sums)
        sums["steps"] += len(the_walk.steps)
        if said is not None:
            failed += 1
            click.echo(f"seed {seed}: {said}\n  make simulate SEED={seed} shows its course")
    seconds = clock.monotonic() - began
    click.echo(f"{len(seeds):,} worlds in {seconds:.0f} s: {', '.join(f'{n:,} {what}' for what, n in sums.items())}")
    click.echo(f"{failed} failed" if failed else "nothing was lost, doubled or early, and all was told")
    return 1 if failed else 0


def course(seed: int, defect: Mutation | None) -> int:
    """Tell what happens in one world; the exit code is 1 where it fails."""
    the_walk = walk(seed)
    if failure(the_walk, defect) is not None:
        steps = len(the_walk.steps)
        the_walk = shrunk(the_walk, defect)
        click.echo(f"seed {seed} fails, and so does it with {len(the_walk.steps)} of its {steps} steps:")
    try:
        run(the_walk, defect, click.echo)
    except BrokenError as error:
        click.echo(f"broken: {error}")
        return 1
    return 0


def table() -> None:
    """Write the median and the most of the worlds that it took to find each defect."""
    for defect in Mutation:
        samples = sorted(found(defect, n * SAMPLE_EVERY, MOST) or MOST for n in range(SAMPLES))
        click.echo(f"{defect.name:24}{statistics.median(samples):8.0f}{samples[-1]:8}  {defect.value}")


if __name__ == "__main__":
    main()
