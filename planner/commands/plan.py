"""`planner plan`: what a sync would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.commands.options import crontab_argument, json_option, system_option
from planner.commands.sync_options import ENVIRONMENT, horizon_option, load_settings, show, source_option
from planner.files import entries_of
from planner.reconcile import Reconciler, Wanted
from planner.sources import source_name
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode
from scheduler.runtime.cli import examples, exit_codes
from scheduler.runtime.progress import progress

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    short_help="Show what a sync would do, field by field.",
    epilog=examples(
        "planner plan crontab.txt",
        "planner plan --source billing --json /etc/jobs | jq '.schedules[].action'",
    )
    + "\n\n"
    + ENVIRONMENT
    + "\n\n"
    + exit_codes(also={ExitCode.CHANGES: "if a sync would change something"}),
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
    with SchedulerClient(settings, client_id="planner") as client, progress() as shown:
        reconciler = Reconciler(client, settings, SystemClock(), tell=shown.at, reading=shown.reading)
        planned = reconciler.plan(Wanted(owner, entries, horizon_ms))
    show(planned, owner, done=False, as_document=as_document)
    for doubt in planned.doubts:
        click.echo(f"planner: a sync would ask first: {doubt}", err=True)
    return ExitCode.CHANGES if planned.changes else ExitCode.OK
