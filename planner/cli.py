"""The `planner` command."""

from __future__ import annotations

from pathlib import Path

import click

from planner.apply import apply_plan, transactional_id
from planner.commands.check import check
from planner.commands.export import export_
from planner.commands.next import next_
from planner.crontab import Crontab, read_crontab
from planner.job_settings import check_name
from planner.plan import Plan, make_plan
from planner.report import COLUMNS, as_json, counts, summary, table_rows
from planner.snapshot import take_snapshot
from planner.standing import Standing, standing
from scheduler import __version__
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.errors import ExitCode, InputError
from scheduler.runtime import logs
from scheduler.runtime.cli import CONTEXT, echo_json, echo_table, environment_help, examples, run
from scheduler.runtime.settings import Settings


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="planner")
def cli() -> None:
    """Make Kafka hold exactly the schedules that a crontab states."""


cli.add_command(check)
cli.add_command(export_)
cli.add_command(next_)


@cli.command(
    epilog=examples(
        "planner sync crontab.txt",
        "planner sync --dry-run crontab.txt",
        "CLUSTERS=europe,america planner sync --source billing /etc/jobs/crontab",
    )
    + "\n\n"
    + environment_help(
        "bootstrap_servers", "schedules_topics", "clusters", "configuration_file", "log_level", "log_format"
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--source",
    metavar="NAME",
    help="Whose schedules these are; the file's base name if not given. Only schedules of this source are touched.",
)
@click.option("--json", "as_document", is_flag=True, help="One JSON document instead of a table.")
def sync(file: Path, source: str | None, *, dry_run: bool, as_document: bool) -> int:
    """Create, change and cancel schedules until Kafka holds those of FILE.

    All of it happens in one transaction; a file with an error changes nothing. A second run writes nothing.
    """
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    owner = _source(source, file)
    crontab = _read(file, settings)
    with SchedulerClient(settings, client_id="planner") as client:
        desired = [standing(entry, owner) for entry in crontab.entries]
        if dry_run:
            plan = _plan(client, desired, settings, owner)
        else:
            # the fence comes before the look: what the plan stands on cannot change any more
            with client.writer(transactional_id(owner)) as writer:
                plan = _plan(client, desired, settings, owner)
                apply_plan(writer, plan, topic=settings.schedules_topics[0])
    if as_document:
        echo_json({"source": owner, "dry_run": dry_run, **counts(plan), "schedules": as_json(plan)})
    else:
        echo_table(COLUMNS, table_rows(plan))
        click.echo(summary(plan) + (" (dry run: nothing was written)" if dry_run else ""))
    return ExitCode.OK


def _plan(client: SchedulerClient, desired: list[Standing], settings: Settings, source: str) -> Plan:
    snapshot = take_snapshot(client, settings.schedules_topics, source)
    return make_plan(desired, snapshot, SystemClock().now_ms())


def _source(given: str | None, file: Path) -> str:
    try:
        return check_name(file.name if given is None else given)
    except ValueError as error:
        hint = "; name the source with --source" if given is None else ""
        raise click.BadParameter(f"{error}{hint}", param_hint="FILE" if given is None else "--source") from None


def _read(file: Path, settings: Settings) -> Crontab:
    """Read the file, and tell on standard error what is to be said about its lines.

    Raises:
        InputError: it cannot be read, or has errors.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    crontab = read_crontab(content, clusters=settings.clusters)
    for note in crontab.notes:
        click.echo(f"{file}:{note.line}:{note.column}: note: {note.what}", err=True)
    for fault in crontab.errors:
        click.echo(f"{file}:{fault}", err=True)
    if crontab.errors:
        count = len(crontab.errors)
        raise InputError(f"{file} has {count} error{'s' if count > 1 else ''}; nothing was changed")
    return crontab


def main() -> None:
    """Run the command line."""
    run(cli, "planner")
