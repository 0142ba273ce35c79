"""`planner export`: what Kafka holds, as a crontab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.commands.options import json_option
from planner.export import export
from planner.job_settings import check_name
from planner.snapshot import in_force
from planner.standing import SOURCE
from scheduler.client import SchedulerClient
from scheduler.errors import ExitCode, InputError
from scheduler.runtime import logs
from scheduler.runtime.cli import echo_json, environment_help, examples, exit_codes
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.export import Exported
    from scheduler.schedule import Schedule


@click.command(
    short_help="Write what Kafka holds of a source as a crontab.",
    name="export",
    epilog=examples("planner export > crontab.txt", "planner export --source billing | planner sync --source billing -")
    + "\n\n"
    + environment_help("bootstrap_servers", "schedules_topics", "clusters", "configuration_file")
    + "\n\n"
    + exit_codes(also={ExitCode.BAD_INPUT: "if there is no such source"}),
)
@click.option("--source", metavar="NAME", help="Whose schedules; not needed where one source has all of them.")
@json_option
def export_(source: str | None, *, as_document: bool) -> int:
    """Write the standing schedules of a source as a crontab, on standard output.

    Syncing it as the same source changes nothing. What no crontab line can state is told on standard error.
    """
    if source is not None:
        try:
            check_name(source)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--source") from None
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    with SchedulerClient(settings, client_id="planner") as client, progress() as shown:
        stored = in_force(client, settings.schedules_topics, shown.reading)
        by_source = _by_source(each.schedule for each in stored)
    owner = _chosen(source, by_source)
    if not by_source[owner]:
        raise InputError(f"the source {owner} has single occurrences only; they do not say which rule they are of")
    exported = export(by_source[owner], owner, clusters=settings.clusters)
    if as_document:
        echo_json(
            {
                "source": owner,
                "system": exported.system,
                "entries": exported.count,
                "crontab": exported.text,
                "left_out": [{"schedule_id": left.schedule_id, "why": left.why} for left in exported.left],
            }
        )
        return ExitCode.OK
    for left in exported.left:
        click.echo(f"{left.schedule_id} is left out: {left.why}", err=True)
    click.echo(_head(owner, exported) + exported.text, nl=False)
    return ExitCode.OK


def _by_source(schedules: Iterable[Schedule]) -> dict[str, list[Schedule]]:
    """Recurring schedules by the source that wrote them; of single ones, such as retries, only the source."""
    found: dict[str, list[Schedule]] = {}
    for schedule in schedules:
        owner = next((value for name, value in schedule.headers if name == SOURCE), None)
        if owner is not None:
            standing = found.setdefault(display(owner), [])
            standing += [schedule] if schedule.rule else []
    return found


def _chosen(source: str | None, by_source: dict[str, list[Schedule]]) -> str:
    there = ", ".join(sorted(by_source))
    if source is None and len(by_source) == 1:
        return next(iter(by_source))
    if source is None and by_source:
        raise InputError(f"there are several sources, choose one with --source: {there}")
    if source is None:
        raise InputError("Kafka holds no schedules of a crontab")
    if source not in by_source:
        raise InputError(f"the source {source} has no schedules; sources that have: {there or 'none'}")
    return source


def _head(source: str, exported: Exported) -> str:
    options = " --system" if exported.system else ""
    return f"# The schedules of {source}: planner sync{options} --source {source} FILE keeps them as they are.\n"
