"""`make chaos`: faults on three brokers and three replicas while customers write, judged at the end."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from secrets import randbelow
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from scheduler.clock import rfc3339
from scheduler.errors import ExitCode
from scheduler.runtime import cli
from tests.support.chaos import log, plan
from tests.support.chaos.cluster import Cluster, clock
from tests.support.chaos.run import Report, Run, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tests.support.chaos.faults import Fault

SCHEDULES_A_MINUTE = 100_000 / 30
SCENARIO_SCHEDULES = 500
LONG_LAG_MS = 120_000
"""Longer than two brokers are down and what follows takes: compaction may take what nobody restores for so long."""
FOLDER = log.ROOT / ".local" / "chaos"


@click.command(
    context_settings=cli.CONTEXT,
    epilog=cli.examples(
        "make chaos SEED=1 MINUTES=30          # 100,000 schedules, every kind of fault",
        "make chaos SCENARIO=zombie REPEAT=25  # one of the core scenarios, or all of them, again and again",
    ),
)
@click.option("--seed", type=int, help="What is drawn; random without it, and told.")
@click.option("--minutes", default=30.0, show_default=True, help="How long faults happen.")
@click.option("--scenario", type=click.Choice([*plan.SCENARIOS, "all"]), help="A core scenario instead.")
@click.option(
    "--repeat", default=1, show_default=True, help="How many runs of the scenario, with seeds one after the other."
)
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path),
    default=FOLDER / "runs.jsonl",
    help="Where a line is added for each run.",
)
def main(seed: int | None, minutes: float, scenario: str | None, repeat: int, log_path: Path) -> int:
    """Kill, freeze, cut off and slow down replicas and brokers while customers write, and let the judge decide.

    What is left of each run (journal, log of faults, replicas' logs, report) is in a folder of .local/chaos.
    """
    seed = randbelow(1_000_000) if seed is None else seed
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False)
    began = rfc3339(clock.now_ms()).replace(":", "")
    folder = FOLDER / f"{began[:17]}-seed-{seed}"
    folder.mkdir(parents=True)
    lag_ms = LONG_LAG_MS if scenario is None else 45_000
    reports: list[Report] = []
    with Cluster(folder, compaction_lag_ms=lag_ms) as cluster:
        for name, number, faults, size in _runs(seed, minutes, scenario, repeat):
            run_id = f"{name.replace(' ', '-')}-{number}"
            kept = folder / run_id
            kept.mkdir()
            console.rule(f"{name}, seed {number}")
            with cluster.installed(run_id):
                run = Run(cluster, kept, number, faults, size, _teller(console))
                with _figures(run, console):
                    report = run.play()
            reports.append(report)
            (kept / "report.json").write_text(json.dumps(_as_json(report), indent=1), encoding="utf-8")
            log.append(log_path, log.row(report, name, rfc3339(clock.now_ms())))
            _show(report, console)
    console.print(f"{len(reports)} runs, {sum(not report.clean for report in reports)} with faults; see {folder}")
    return ExitCode.OK if all(report.clean for report in reports) else ExitCode.FAILED


def _runs(
    seed: int, minutes: float, scenario: str | None, repeat: int
) -> Iterator[tuple[str, int, Iterator[Fault], Size]]:
    if scenario is None:
        schedules = int(minutes * SCHEDULES_A_MINUTE)
        size = Size(schedules, minutes * 60, schedules / (minutes * 60))
        yield f"{minutes:g} minutes", seed, plan.endless(seed), size
        return
    for number in range(seed, seed + repeat):
        for name in plan.SCENARIOS if scenario == "all" else [scenario]:
            yield name, number, plan.scenario(name, number), Size(SCENARIO_SCHEDULES)


def _teller(console: Console) -> Callable[[str], None]:
    started = clock.monotonic()

    def tell(text: str) -> None:
        console.print(Text(f"{clock.monotonic() - started:7.1f} s  {text}"))

    return tell


@contextmanager
def _figures(run: Run, console: Console) -> Iterator[None]:
    """The state of the run, below what is told; on a terminal."""
    if not console.is_terminal:
        yield
        return
    with Live(
        get_renderable=lambda: Text(run.figures, style="bold"), console=console, refresh_per_second=2, transient=True
    ):
        yield


def _as_json(report: Report) -> dict[str, object]:
    verdict = report.verdict.as_json() if report.verdict else None
    return {
        "clean": report.clean,
        "seed": report.seed,
        "seconds": round(report.seconds, 1),
        "machine": log.machine(),
        "findings": report.findings,
        "faults": [asdict(fault) for fault in report.faults],
        "verdict": verdict,
    }


def _show(report: Report, console: Console) -> None:
    rows = [
        (
            fault.began[11:23],
            fault.name,
            fault.target,
            f"{fault.lasted_seconds:.1f}",
            "never" if fault.recovery_ms is None else f"{fault.recovery_ms / 1000:.1f}",
        )
        for fault in report.faults
    ]
    cli.echo_table(("began", "fault", "target", "lasted s", "recovered s"), rows)
    for finding in report.findings:
        console.print(Text(finding, style="red"))
    if report.verdict:
        console.print(Text(report.verdict.summary, style="green" if report.clean else "red"))
        for line in report.verdict.lines():
            console.print(Text(line, style="red"))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    cli.run(main, "chaos")
