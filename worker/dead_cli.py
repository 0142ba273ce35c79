"""`worker dead`: look at dead letters, run them again, or put them away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from scheduler.clock import rfc3339
from scheduler.errors import ExitCode
from scheduler.letters import Action, Wanted
from scheduler.runtime.cli import CONTEXT, echo_json, echo_json_line, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.option_types import Since
from scheduler.runtime.progress import progress
from scheduler.runtime.settings import Settings
from scheduler.settling import DeadLetters, chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.letters import Letter

CLIENT_ID = "worker-dead"
ENVIRONMENT = "\n\n".join(
    (
        environment_help("bootstrap_servers", "dead_letter_topic", "schedules_topics", "configuration_file"),
        exit_codes(),
    )
)


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--since", type=Since(), help="From this instant (RFC 3339), or so long ago (15m, 2h, 1d)."),
        click.option("--cluster", help="Only those of this cluster, or for this target topic."),
        click.option("--job", help="Only those of the job with this name."),
    ):
        command = option(command)
    return command


@click.group(
    context_settings=CONTEXT,
    epilog=examples("worker dead list --since 1d", "worker dead show 0-17", "worker dead redrive --job nightly-report")
    + "\n\n"
    + ENVIRONMENT,
)
def dead() -> None:
    """Look at dead letters, run them again, or put them away.

    What was given up stays on the dead-letter topic: jobs without an attempt left, messages that are no jobs, and
    schedules that could not be delivered. A letter's id is <partition>-<offset>.
    """


@dead.command(
    "list",
    epilog=examples("worker dead list", "worker dead list --cluster cluster-a --json") + "\n\n" + ENVIRONMENT,
)
@_filters
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def list_(*, job: str | None, cluster: str | None, since: int | None, as_json: bool) -> int:
    """List the letters that nobody has dealt with."""
    letters = _open(Wanted(None, job, cluster, since))
    if as_json:
        echo_json([letter.summary() for letter in letters])
    elif letters:
        echo_table(("id", "time", "kind", "name", "cluster", "attempts", "reason"), map(_row, letters))
    else:
        click.echo("no dead letters", err=True)
    return ExitCode.OK


@dead.command(
    short_help="Show all that is known of a letter.",
    epilog=examples("worker dead show 0-17", "worker dead show 0-17 --json") + "\n\n" + ENVIRONMENT,
)
@click.argument("letter_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def show(*, letter_id: str, as_json: bool) -> int:
    """Show all that is known of a letter: each attempt's error, and the end of the last one's output."""
    (letter,) = chosen(_open(), frozenset({letter_id}))
    told = letter.everything()
    if as_json:
        echo_json(told)
        return ExitCode.OK
    errors, output, headers = told.pop("errors"), told.pop("output_tail"), told.pop("headers")
    for name, value in told.items():
        if value is not None:
            click.echo(f"{name + ':':<15}{value}")
    for name, value in headers.items():
        click.echo(f"{'header:':<15}{name}: {value}")
    for error in errors:
        click.echo(f"attempt {error['attempt']:<7}{error['started']} to {error['ended']}: {error['error']}")
    if output:
        click.echo(f"output of the last attempt:\n{output}")
    return ExitCode.OK


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--all", "everything", is_flag=True, help="All of them, of those that the filters let through."
    )(command)
    command = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)
    return click.argument("ids", metavar="[ID]...", nargs=-1)(_filters(command))


@dead.command(
    epilog=examples(
        "worker dead redrive 0-17 2-4",
        "worker dead redrive --job nightly-report",
        "worker dead redrive --all --since 2h",
    )
    + "\n\n"
    + ENVIRONMENT
)
@_choosing
def redrive(
    *, ids: tuple[str, ...], job: str | None, cluster: str | None, since: int | None, everything: bool, as_json: bool
) -> int:
    """Run letters again, once.

    A job goes to its cluster's retry topic, with all its attempts anew and the same run id; a message to the topic
    that it came from; an undeliverable schedule is scheduled again, due now, as <fire id>#redriven.
    """
    return _settle(Action.REDRIVEN, Wanted(None, job, cluster, since), ids, everything=everything, as_json=as_json)


@dead.command(
    short_help="Put letters away, without running them.",
    epilog=examples("worker dead discard 0-17", "worker dead discard --all --job poll") + "\n\n" + ENVIRONMENT,
)
@_choosing
def discard(
    *, ids: tuple[str, ...], job: str | None, cluster: str | None, since: int | None, everything: bool, as_json: bool
) -> int:
    """Put letters away: they stay on the topic, and are not listed any more."""
    return _settle(Action.DISCARDED, Wanted(None, job, cluster, since), ids, everything=everything, as_json=as_json)


def _settle(action: Action, wanted: Wanted, ids: tuple[str, ...], *, everything: bool, as_json: bool) -> int:
    if not ids and wanted.name is None and not everything:
        raise click.UsageError("which ones? Give IDs, --job NAME or --all.")
    dead_letters = DeadLetters(Settings.load(), client_id=CLIENT_ID)
    with progress() as shown:
        letters = dead_letters.settle(
            action, wanted, frozenset(ids), reading=shown.reading, settled=partial(shown.count, "writing")
        )
    for letter in letters:
        if as_json:
            echo_json_line({"id": letter.id, "name": letter.name, "done": action.value})
        else:
            click.echo(f"{letter.id} {letter.name}: {action}")
    if not letters:
        click.echo("no dead letter fits", err=True)
    return ExitCode.OK


def _open(wanted: Wanted | None = None) -> list[Letter]:
    dead_letters = DeadLetters(Settings.load(), client_id=CLIENT_ID)
    with progress() as shown:
        return dead_letters.open(wanted, reading=shown.reading)


def _row(letter: Letter) -> tuple[str, ...]:
    attempts = "" if letter.job is None else str(letter.job.attempt)
    return letter.id, rfc3339(letter.at_ms), letter.kind.value, letter.name, letter.cluster, attempts, letter.reason
