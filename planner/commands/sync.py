"""`planner sync`: make Kafka hold what a crontab states."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from planner.commands.options import crontab_argument, json_option, system_option
from planner.commands.sync_options import (
    ENVIRONMENT,
    ask,
    horizon_option,
    load_settings,
    show,
    source_option,
    yes_option,
)
from planner.files import entries_of
from planner.reconcile import Reconciler, Wanted, handed_over_late
from planner.sources import source_name
from planner.steps import Later
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.runtime.cli import examples, exit_codes
from scheduler.runtime.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler.runtime.progress import Shown


@click.command(
    short_help="Make Kafka hold what a crontab states.",
    epilog=examples(
        "planner sync crontab.txt",
        "planner sync --dry-run crontab.txt",
        "CLUSTERS=europe,america planner sync --source billing /etc/jobs/crontab",
        "planner sync --horizon 24h crontab.txt",
    )
    + "\n\n"
    + ENVIRONMENT
    + "\n\n"
    + exit_codes("if something is left for later, or another planner took over"),
)
@crontab_argument
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@source_option
@horizon_option
@yes_option
@system_option
@json_option
def sync(
    path: Path,
    source: str | None,
    horizon_ms: int | None,
    *,
    dry_run: bool,
    certain: bool,
    system: bool,
    as_document: bool,
) -> int:
    """Create, change and cancel schedules until Kafka holds those of a crontab, or of a directory of them.

    All of it happens in one transaction; a file with an error changes nothing. A second run writes nothing.
    """
    settings = load_settings()
    owner = source_name(source, path)
    entries = entries_of(path, clusters=settings.clusters, system=system, otherwise="; nothing was changed")
    wanted = Wanted(owner, entries, horizon_ms)
    clock = SystemClock()
    with SchedulerClient(settings, client_id="planner") as client, progress() as shown:
        reconciler = Reconciler(client, settings, clock, tell=shown.at, reading=shown.reading)
        if dry_run:
            plan = reconciler.plan(wanted)
        else:
            plan = reconciler.sync(wanted, confirm=partial(_ask, shown), certain=certain)
            late = handed_over_late(plan, clock.now_ms())
    remark = " (dry run: nothing was written)" if dry_run else ""
    show(plan, owner, done=not dry_run, as_document=as_document, remark=remark)
    if dry_run:
        return ExitCode.OK
    for schedule_id in late:
        click.echo(f"planner: {schedule_id} may have run once more under its former id: writing took long", err=True)
    waiting = [step.current.schedule.schedule_id for step in plan.steps if isinstance(step, Later)]
    if waiting:
        named = ", ".join(waiting[:5]) + (f" and {len(waiting) - 5} more" if len(waiting) > 5 else "")  # noqa: PLR2004
        click.echo(
            f"planner: left as it was: {named}. It is due or about to be, and would take another id: run sync again "
            "in a moment. If it stays so, see that a scheduler runs; one that comes every few seconds, or is paused, "
            "has to be removed by one sync and added by the next",
            err=True,
        )
    return ExitCode.FAILED if waiting else ExitCode.OK


def _ask(shown: Shown, doubt: str) -> None:
    with shown.aside():
        ask(doubt)
