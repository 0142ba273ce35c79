"""`scheduler history`: what became of schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scheduler.clock import rfc3339
from scheduler.commands.options import BROKER
from scheduler.errors import ExitCode
from scheduler.history import Filter, HistoryEvent
from scheduler.reading import ScheduleReader
from scheduler.runtime.cli import echo_json_line, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.lifecycle import StopSignals
from scheduler.runtime.option_types import Since
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome

if TYPE_CHECKING:
    import threading


@click.command(
    epilog=examples(
        "scheduler history --since 1h",
        "scheduler history --key invoice-17 --json",
        "scheduler history --outcome undeliverable --target cluster-a --follow",
    )
    + "\n\n"
    + environment_help(*BROKER)
    + "\n\n"
    + exit_codes()
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--key", help="Only the schedule with this id.")
@click.option("--outcome", type=click.Choice([outcome.value for outcome in Outcome]), help="Only this outcome.")
@click.option("--target", help="Only schedules for this target topic.")
@click.option("--since", type=Since(), help="From this instant (RFC 3339), or so long ago (15m, 2h, 1d).")
@click.option("--limit", type=click.IntRange(min=1), help="The last so many; with --follow the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def history(
    *,
    follow: bool,
    key: str | None,
    outcome: str | None,
    target: str | None,
    since: int | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Read what became of schedules from the history topic."""
    settings = Settings.load()
    wanted = Filter(key, None if outcome is None else Outcome(outcome), target)
    stop = StopSignals().stop if follow else None
    reader = ScheduleReader(settings)
    if stop is not None:
        _follow(reader.history(wanted, since_ms=since, follow=stop), limit, stop, as_json=as_json)
        return ExitCode.OK
    with progress() as shown:
        events = reader.history(wanted, since_ms=since, progress=shown.reading)
        found = sorted(events, key=lambda event: (event.at_ms, event.partition, event.offset))[-(limit or 0) :]
    if as_json:
        for event in found:
            echo_json_line(event.as_json())
    elif found:
        echo_table(_COLUMNS, map(_row, found))
    else:
        click.echo("nothing in the history fits", err=True)
    return ExitCode.OK


_COLUMNS = ("time", "schedule", "outcome", "due", "late", "target", "reason")


def _row(event: HistoryEvent) -> tuple[str, ...]:
    return (
        rfc3339(event.at_ms),
        event.schedule_id,
        event.outcome,
        "" if event.due_ms is None else rfc3339(event.due_ms),
        "" if event.lateness_ms is None else f"{event.lateness_ms} ms",
        event.target or "",
        " ".join(part for part in (event.reason, event.detail) if part),
    )


def _follow(events: Any, limit: int | None, stop: threading.Event, *, as_json: bool) -> None:
    for shown, event in enumerate(events, 1):
        if as_json:
            echo_json_line(event.as_json())
        else:
            click.echo("  ".join(part for part in _row(event) if part))
        if shown == limit:
            stop.set()
            return
