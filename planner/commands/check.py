"""`planner check`: what a crontab states, without a word to Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.commands.options import crontab_argument, json_option, system_option
from planner.files import read_source
from planner.job_settings import READERS
from planner.preview import local_time
from scheduler.clock import SystemClock
from scheduler.durations import format_duration
from scheduler.errors import ExitCode, InputError
from scheduler.runtime.cli import echo_json, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from planner.entry import Entry
    from planner.files import Reading, Told

COLUMNS = ("line", "job", "cluster", "when", "zone", "next", "settings", "command")


@click.command(
    short_help="Show what is read from a crontab, or what is wrong in it.",
    epilog=examples(
        "planner check crontab.txt",
        "planner check --system /etc/cron.d",
        "crontab -l | planner check -",
        "planner check --json crontab.txt | jq '.entries[].next'",
    )
    + "\n\n"
    + environment_help("clusters")
    + "\n\n"
    + exit_codes(kafka=False),
)
@crontab_argument
@system_option
@json_option
def check(path: Path, *, system: bool, as_document: bool) -> int:
    """Show what is read from a crontab: each entry, when it comes next, and the settings it has from above.

    Asks Kafka nothing and changes nothing. Everything that is wrong is told at once, as file:line:column.
    """
    reading = read_source(path, clusters=Settings.load().clusters, system=system)
    now_ms = SystemClock().now_ms()
    if as_document:
        echo_json(_document(reading, now_ms))
        return ExitCode.BAD_INPUT if reading.errors else ExitCode.OK
    for line in (*reading.notes, *reading.errors):
        click.echo(str(line), err=True)
    if reading.errors:
        raise InputError(reading.trouble)
    user = any(entry.user for entry in reading.entries)
    columns = (*COLUMNS[:2], "user", *COLUMNS[2:]) if user else COLUMNS
    echo_table(columns, [_row(entry, now_ms, user=user) for entry in reading.entries])
    count = len(reading.entries)
    click.echo(f"{count} entr{'y' if count == 1 else 'ies'}, no errors")
    return ExitCode.OK


def _row(entry: Entry, now_ms: int, *, user: bool) -> list[str]:
    return [
        f"{entry.file}:{entry.line}" if entry.file else str(entry.line),
        entry.job_name,
        *([entry.user or ""] if user else []),
        entry.cluster,
        entry.rule.text,
        entry.rule.timezone,
        _next(entry, now_ms) or "never again",
        "\n".join(_in_force(entry)),
        entry.command + (f" (input: {entry.stdin.count(chr(10))} lines)" if entry.stdin else ""),
    ]


def _in_force(entry: Entry) -> list[str]:
    """`MAX_ATTEMPTS=3 (line 2)`; of a variable the name alone, as its value may be a secret."""
    return [
        f"{name}={given.text} (line {given.line})" if name in READERS else f"{name} (line {given.line})"
        for name, given in entry.given.items()
    ]


def _next(entry: Entry, now_ms: int) -> str | None:
    due_ms = entry.first_after(now_ms)
    return None if due_ms is None else local_time(due_ms, entry.rule.timezone)


def _document(reading: Reading, now_ms: int) -> dict[str, Any]:
    return {
        "path": str(reading.path),
        "errors": [_told(fault) for fault in reading.errors],
        "notes": list(reading.notes),
        "entries": [_described(entry, now_ms) for entry in reading.entries],
    }


def _told(told: Told) -> dict[str, Any]:
    return {
        "file": told.file,
        "line": told.remark.line,
        "column": told.remark.column,
        "message": told.remark.what,
    }


def _described(entry: Entry, now_ms: int) -> dict[str, Any]:
    return {
        "file": entry.file or None,
        "line": entry.line,
        "id": entry.id,
        "name": entry.name,
        "job": entry.job_name,
        "user": entry.user,
        "cluster": entry.cluster,
        "cron": entry.rule.text,
        "timezone": entry.rule.timezone,
        "shift": format_duration(entry.rule.shift_ms),
        "next": _next(entry, now_ms),
        "command": entry.command,
        "stdin": entry.stdin,
        "environment": dict(entry.environment),
        "settings": {name: given.text for name, given in entry.given.items() if name in READERS},
        "lines": {name: given.line for name, given in entry.given.items()},
    }
