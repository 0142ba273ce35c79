"""`scheduler list` and `scheduler get`: what is in force, read from Kafka alone."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import click

from scheduler import drafts
from scheduler.commands import shown
from scheduler.commands.options import BROKER
from scheduler.errors import ExitCode, NotFoundError
from scheduler.reading import ScheduleReader, not_found
from scheduler.runtime.cli import echo_json_line, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.option_types import Until
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from scheduler.records import LogEntry, Stored


def _order(stored: Stored) -> tuple[int, str, int, int]:
    return stored.schedule.due_ms, stored.topic, stored.partition, stored.schedule.offset


@click.command(
    "list",
    epilog=examples(
        "scheduler list --limit 20",
        "scheduler list --prefix invoice- --due-before 2h",
        "scheduler list --target cluster-a --json",
    )
    + "\n\n"
    + environment_help(*BROKER)
    + "\n\n"
    + exit_codes(),
)
@click.option("--prefix", default="", help="Only those whose id begins so.")
@click.option("--target", help="Only schedules for this target topic.")
@click.option("--topic", help="Only this schedules topic; all of SCHEDULES_TOPICS without it.")
@click.option("--due-before", type=Until(), help="Only those due before this instant (RFC 3339), or so long from now.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_command(
    *, prefix: str, target: str | None, topic: str | None, due_before: int | None, limit: int | None, as_json: bool
) -> int:
    """List the schedules in force, in order of due time."""
    settings = Settings.load()
    reader = ScheduleReader(settings, client_id="scheduler-list")
    with progress() as seen:
        found = [
            stored
            for each in ([topic] if topic else settings.schedules_topics)
            for stored in reader.schedules(each, prefix=prefix, progress=seen.reading)
            if (target is None or stored.schedule.target_topic == target)
            and (due_before is None or stored.schedule.due_ms < due_before)
        ]
    first = sorted(found, key=_order) if limit is None else heapq.nsmallest(limit, found, key=_order)
    if as_json:
        for stored in first:
            echo_json_line(shown.as_json(stored))
        return ExitCode.OK
    if first:
        echo_table(shown.COLUMNS, map(shown.row, first))
    left = len(found) - len(first)
    if left:
        click.echo(f"and {left} more", err=True)
    elif not first:
        click.echo("no such schedule is in force", err=True)
    return ExitCode.OK


@click.command(
    short_help="Show all of one schedule, and what Kafka holds of it.",
    epilog=examples("scheduler get invoice-17", "scheduler get invoice-17 --json")
    + "\n\n"
    + environment_help(*BROKER)
    + "\n\n"
    + exit_codes("if no such schedule is in force"),
)
@click.argument("key")
@click.option("--topic", help="Look on this schedules topic only; on all of SCHEDULES_TOPICS without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def get(key: str, *, topic: str | None, as_json: bool) -> int:
    """Show all of the schedule with the id KEY, and the records of it that Kafka still holds."""
    settings = Settings.load()
    reader = ScheduleReader(settings, client_id="scheduler-get")
    topics = [topic] if topic else settings.schedules_topics
    found: list[tuple[Stored, list[LogEntry]]] = []
    with progress() as seen:
        for each in topics:
            standing, log = reader.log(drafts.keys_shown_as(key), each, progress=seen.reading)
            found += [(stored, log) for stored in standing]
    if not found:
        raise NotFoundError(not_found(key, topics))
    for stored, log in found:
        if as_json:
            echo_json_line({**shown.as_json(stored), "log": [shown.entry_json(entry) for entry in log]})
        else:
            echo_table(("schedule", stored.schedule.schedule_id), shown.details(stored))
            click.echo()
            echo_table(("written", "partition", "offset", "", "record"), map(shown.entry_row, log))
    if len(found) > 1:
        click.echo(
            f"{key} stands in {len(found)} places, each is a schedule of its own: see scheduler doctor", err=True
        )
    return ExitCode.OK
