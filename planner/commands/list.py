"""`planner list`: what Kafka holds, and when each fires next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.commands.options import json_option
from planner.commands.sync_options import load_settings
from planner.listing import Kind, items
from planner.snapshot import in_force
from scheduler.client import SchedulerClient
from scheduler.clock import rfc3339
from scheduler.errors import ExitCode
from scheduler.runtime.cli import echo_json, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.progress import progress

if TYPE_CHECKING:
    from planner.listing import Item

COLUMNS = ("source", "job", "id", "when", "zone", "target", "next", "")


@click.command(
    short_help="Show what planners have written and is in force.",
    name="list",
    epilog=examples("planner list", "planner list --source billing", "planner list --json | jq -r '.[].source' | uniq")
    + "\n\n"
    + environment_help("bootstrap_servers", "schedules_topics", "configuration_file")
    + "\n\n"
    + exit_codes(),
)
@click.option("--source", metavar="NAME", help="Only this source.")
@json_option
def list_(source: str | None, *, as_document: bool) -> int:
    """Show what planners have written and is in force, by source, and when each fires next.

    An entry that was planned with --horizon is one row, and so are the retries of an entry that wait for their time.
    """
    settings = load_settings()
    with SchedulerClient(settings, client_id="planner") as client, progress() as shown:
        found = items(in_force(client, settings.schedules_topics, shown.reading), source)
    if as_document:
        echo_json([item.as_json() for item in found])
    elif found:
        echo_table(COLUMNS, map(_row, found))
    else:
        click.echo("nothing that a planner has written is in force" + (f" for {source}" if source else ""), err=True)
    return ExitCode.OK


def _row(item: Item) -> tuple[str, ...]:
    subject = item.subject
    when = subject.cron if item.kind is Kind.STANDING else f"{item.count} {item.kind}"
    cells = (item.source, subject.job, item.entry_id, when, subject.timezone, subject.cluster, rfc3339(subject.due_ms))
    return (*cells, "paused" if item.paused else "")
