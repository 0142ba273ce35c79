"""`make performance`: docs/performance.md and its plot, from what was kept of the last run of each scenario.

`python -m bench.report add workers FILE` keeps the JSON of another bench: of `make bench-workers`, as `workers`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.amounts import spread
from bench.bars import BARS
from bench.figures import KEPT, QUIET_CORES, Measured, keep, kept, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DOCS = KEPT.parent
PAGE = DOCS / "performance.md"
PLOT = DOCS / "images" / "performance.svg"
_SPREAD = re.compile(r"([\d.,]+)(?:\s+\(([\d.,]+) to ([\d.,]+)\))?")


def between(page: str, mark: str, text: str) -> str:
    """The page with that text between its two marks of that name.

    Raises:
        SystemExit: it has not both marks.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    if begin not in page or end not in page:
        raise SystemExit(f"the page needs the lines {begin.strip()} and {end.strip()}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{text}{end}{after}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    first, *rest = (f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in (head, *rows))
    return f"{first}{'|---' * len(head)}|\n{''.join(rest)}"


def bars(runs: Mapping[str, Measured]) -> str:
    """Every figure that has a bound."""
    rows = (bar.row(runs) for bar in BARS)
    table = markdown(("figure", "bound", "median (range)", "verdict"), rows)
    busy = [run.scenario for run in runs.values() if run.others > QUIET_CORES]
    if not busy:
        return table
    return f"{table}\nMeasured while other processes ran, and so to be measured again: {', '.join(busy)}.\n"


def everything(runs: Mapping[str, Measured]) -> str:
    """Every figure of every scenario that was measured."""
    return "\n".join(_scenario(run) for run in runs.values())


def _scenario(run: Measured) -> str:
    return f"### {run.scenario}\n\n{''.join(_groups(run))}{_origin(run)}"


def _groups(run: Measured) -> Iterator[str]:
    for group, figures in run.figures.items():
        yield markdown((group, "median (range)"), ((name, spread(values)) for name, values in figures.items())) + "\n"


def _origin(run: Measured) -> str:
    took = f", in {run.seconds:.0f} s" if run.seconds else ""
    told = f"{run.when[:10]}, {run.rounds} round{'s' * (run.rounds != 1)}{took}"
    if run.others > QUIET_CORES:
        return f"{told}; **other processes took {run.others:.2f} cores meanwhile: to be measured again**.\n"
    return f"{told}.\n"


def machines(runs: Mapping[str, Measured]) -> str:
    """What they were measured on and with, and how long a whole run takes."""
    names: dict[str, list[str]] = {}
    for run in runs.values():
        names.setdefault(run.machine, []).append(run.scenario)
    told = [f"- {', '.join(scenarios)}: {name}\n" for name, scenarios in names.items()]
    minutes = sum(run.seconds for run in runs.values()) / 60
    return f"{''.join(told)}\nAll of it took {minutes:.0f} minutes.\n"


def page(before: str, runs: Mapping[str, Measured]) -> str:
    """The page with what was measured."""
    text = between(before, "bars", bars(runs))
    text = between(text, "machines", machines(runs))
    return between(text, "figures", everything(runs))


def added(scenario: str, found: dict[str, Any]) -> Measured:
    """The JSON of another bench: names with the values of each round, or with a median and its range as text."""
    given = found.get("figures", found)
    figures = {name.strip(): _values(name, values) for name, values in given.items()}
    return now(scenario, 0.0, max(map(len, figures.values())), 0.0, {scenario: figures})


def _values(name: str, given: Any) -> list[float]:
    if isinstance(given, list):
        return [float(value) for value in given]
    if isinstance(given, str) and (match := _SPREAD.fullmatch(given.strip())):
        median, *ends = (float(part.replace(",", "")) for part in match.groups() if part)
        return [median, *ends]
    raise SystemExit(f"{name}: neither a list of numbers nor a median with its range: {given!r}")


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Write docs/performance.md anew from docs/performance.jsonl."""
    if context.invoked_subcommand is None:
        write()


def write() -> None:
    """The page and its plot."""
    from bench.plots import performance  # noqa: PLC0415 - draws with what only developers have

    runs = kept()
    if not runs:
        raise SystemExit(f'{KEPT}: nothing was kept; run make bench BENCH="--only all --keep" first')
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    performance(runs, PLOT)
    click.echo(f"{PAGE} and {PLOT}")


@main.command()
@click.argument("scenario", type=click.Choice(["workers", "handlers", "recovery"]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def add(scenario: str, file: Path) -> None:
    """Keep the JSON of another bench, which was run on this machine."""
    keep(added(scenario, json.loads(file.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
