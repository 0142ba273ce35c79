"""`planner plan`: what a sync would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.commands.options import crontab_argument, json_option, system_option
from planner.commands.sync_options import ENVIRONMENT, horizon_option, load_settings, show, source_option, telling
from planner.files import entries_of
from planner.reconcile import Reconciler, Wanted
from planner.sources import source_name
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.runtime.cli import examples

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog=examples(
        "planner plan crontab.txt",
        "planner plan --source billing --json /etc/jobs | jq '.schedules[] | select(.action != \"keep\")'",
    )
    + "\n\n"
    + ENVIRONMENT
    + "\n\nExit code: 0 if a sync would change nothing, 2 if it would, 65 if the crontab has errors."
)
@crontab_argument
@source_option
@horizon_option
@system_option
@json_option
def plan(path: Path, source: str | None, horizon_ms: int | None, *, system: bool, as_document: bool) -> int:
    """Show what a sync would create, change (field by field), cancel and keep. Writes nothing."""
    settings = load_settings()
    owner = source_name(source, path)
    entries = entries_of(path, clusters=settings.clusters, system=system)
    with SchedulerClient(settings, client_id="planner") as client, telling() as tell:
        planned = Reconciler(client, settings, SystemClock(), tell=tell).plan(Wanted(owner, entries, horizon_ms))
    show(planned, owner, done=False, as_document=as_document)
    for doubt in planned.doubts:
        click.echo(f"planner: a sync would ask first: {doubt}", err=True)
    return ExitCode.CHANGES if planned.changes else ExitCode.OK
