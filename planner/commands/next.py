"""`planner next`: when something comes, by the rules that the scheduler follows."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from planner.commands.options import CRONTAB, Instant, crontab_path, json_option, system_option
from planner.files import entries_of
from planner.preview import Occurrence, local_time, occurrences, upcoming
from scheduler.clock import SystemClock, rfc3339
from scheduler.errors import ExitCode, InputError
from scheduler.recurrence import RecurrenceError, Rule, parse_rule
from scheduler.runtime.cli import echo_json, environment_help, examples, exit_codes
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from planner.entry import Entry

MOST = 100_000


@click.command(
    short_help="Show when a crontab, an entry or an expression comes next.",
    name="next",
    epilog=examples(
        "planner next crontab.txt",
        "planner next crontab.txt --job nightly-report --count 3",
        "planner next --cron '30 2 * * mon-fri' --timezone Europe/Riga",
        "planner next --cron '0 0 29 2 *' --from 2030-01-01T00:00:00Z --count 2",
    )
    + "\n\n"
    + environment_help("clusters")
    + "\n\n"
    + exit_codes(kafka=False, also={ExitCode.BAD_INPUT: "if the crontab cannot be read, or nothing comes any more"}),
)
@click.argument("path", metavar=f"[{CRONTAB}]", type=crontab_path, required=False)
@click.option("--job", metavar="NAME", help="Of the crontab, only the entry of this name or id.")
@click.option("--cron", metavar="EXPR", help="Five fields, @daily and the like, or @every 90s.")
@click.option("--timezone", metavar="ZONE", help="IANA name of the zone of --cron; UTC if not given.")
@click.option(
    "--from", "since_ms", metavar="INSTANT", type=Instant(), help="Only what is later than this; now if not given."
)
@click.option("--count", type=click.IntRange(1, MOST), default=10, show_default=True, help="How many at most.")
@system_option
@json_option
def next_(
    path: Path | None,
    job: str | None,
    cron: str | None,
    timezone: str | None,
    since_ms: int | None,
    count: int,
    *,
    system: bool,
    as_document: bool,
) -> int:
    """Show the next occurrences of a crontab, of one of its entries, or of an expression.

    One a line, as RFC 3339 instants in the zone of the entry; those of a whole crontab with the job. A period
    (@every) counts from the instant given, as it does from the sync that creates it.
    """
    start_ms = SystemClock().now_ms() if since_ms is None else since_ms
    if path is None:
        if cron is None or job is not None:
            raise click.UsageError("give a crontab, or --cron (and no --job with it)")
        rule = _rule(cron, "UTC" if timezone is None else timezone)
        shown = [local_time(due, rule.timezone) for due in _first(rule, start_ms, count)]
        _echo(shown, {"cron": rule.text, "timezone": rule.timezone, "occurrences": shown}, as_document=as_document)
        return ExitCode.OK
    if cron is not None or timezone is not None:
        raise click.UsageError("--cron and --timezone go without a crontab, which has CRON_TZ")
    entries = entries_of(path, clusters=Settings.load().clusters, system=system)
    if job is not None:
        entries = _named(entries, job, path)
    found = upcoming(entries, start_ms, count)
    if not found:
        raise InputError(f"{path}: nothing comes after {rfc3339(start_ms)}")
    _echo(
        [_time(due) if job else f"{_time(due)}  {due.entry.job_name}" for due in found],
        {"path": str(path), "occurrences": [_described(due) for due in found]},
        as_document=as_document,
    )
    return ExitCode.OK


def _rule(expression: str, timezone: str) -> Rule:
    try:
        return parse_rule(expression, timezone)
    except RecurrenceError as error:
        place = "--timezone" if error.position is None else "--cron"
        at = "" if error.position is None else f"column {error.position + 1}: "
        raise click.BadParameter(f"{at}{error}", param_hint=place) from None


def _first(rule: Rule, start_ms: int, count: int) -> list[int]:
    found = list(islice(occurrences(rule, rule.next_after(start_ms, start_ms)), count))
    if not found:
        raise InputError(f"{rule.text} does not occur after {rfc3339(start_ms)}")
    return found


def _named(entries: tuple[Entry, ...], job: str, path: Path) -> tuple[Entry, ...]:
    found = tuple(entry for entry in entries if job in (entry.job_name, entry.id))
    if not found:
        raise InputError(f"{path} has no entry {job}; `planner check {path}` lists them")
    return found


def _time(due: Occurrence) -> str:
    return local_time(due.due_ms, due.entry.rule.timezone)


def _described(due: Occurrence) -> dict[str, Any]:
    entry = due.entry
    return {
        "at": _time(due),
        "job": entry.job_name,
        "id": entry.id,
        "file": entry.file or None,
        "line": entry.line,
        "cron": entry.rule.text,
        "timezone": entry.rule.timezone,
        "cluster": entry.cluster,
    }


def _echo(lines: list[str], document: dict[str, Any], *, as_document: bool) -> None:
    if as_document:
        echo_json(document)
    else:
        click.echo("\n".join(lines))
