"""What `plan`, `sync` and `watch` have in common: options, reading the source, and showing a plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from planner.report import COLUMNS, as_json, counts, shown, summary, table_rows
from scheduler.durations import parse_duration
from scheduler.errors import InputError
from scheduler.runtime import logs
from scheduler.runtime.cli import echo_json, echo_table, environment_help
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from planner.steps import Plan

SHORTEST_HORIZON_MS, LONGEST_HORIZON_MS = 60_000, 366 * 86_400_000
ENVIRONMENT = environment_help(
    "bootstrap_servers", "schedules_topics", "clusters", "configuration_file", "log_level", "log_format"
)

source_option = click.option(
    "--source",
    metavar="NAME",
    help="Whose schedules these are; the base name of the file or directory if not given. Only schedules of this "
    "source are touched.",
)
yes_option = click.option(
    "--yes", "certain", is_flag=True, help="Go on where sync asks, as when more than half would be cancelled."
)


class Horizon(click.ParamType[int]):
    """A duration ahead, in milliseconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        if isinstance(value, int):
            return value
        try:
            horizon_ms = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not SHORTEST_HORIZON_MS <= horizon_ms <= LONGEST_HORIZON_MS:
            self.fail(f"{value!r} is not from 1m to 366d", param, ctx)
        return horizon_ms


horizon_option = click.option(
    "--horizon",
    "horizon_ms",
    type=Horizon(),
    help="Instead of standing schedules, write each occurrence from now to so far ahead (24h) as a schedule of its "
    "own; run it again well before that.",
)


def load_settings() -> Settings:
    """Settings of a command that ends; what the Kafka client says of its own accord is for those who debug."""
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    if settings.log_level != "debug":
        logs.silence_client()
    return settings


def show(plan: Plan, source: str, *, done: bool, as_document: bool, remark: str = "") -> None:
    """Print the plan, or what was done of it."""
    if as_document:
        document: dict[str, Any] = {"source": source, "dry_run": not done, **counts(plan)}
        echo_json({**document, "doubts": plan.doubts, "schedules": as_json(plan)})
        return
    steps, left_out = shown(plan)
    if steps:
        echo_table(COLUMNS, table_rows(steps))
    if left_out:
        click.echo(f"... and {left_out} more; --json has all of them")
    click.echo(summary(plan) + remark)


def ask(doubt: str) -> None:
    """Ask on a terminal whether it is meant; refuse elsewhere.

    Raises:
        InputError: there is nobody to ask.
        click.Abort: it is not.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{doubt}; nothing was changed; if that is meant, run it again with --yes")
    click.confirm(f"{doubt}. Go on?", abort=True, err=True)
