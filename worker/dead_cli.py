"""`worker dead`: look at dead letters, run them again, or put them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock, rfc3339
from scheduler.errors import ExitCode, InputError
from scheduler.runtime.cli import CONTEXT, echo_json, echo_json_line, echo_table, environment_help, examples, exit_codes
from scheduler.runtime.option_types import Since
from scheduler.runtime.settings import Settings
from worker.dead_letters import Action, Wanted, open_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.records import Write
    from worker.dead_letters import Letter

AT_ONCE = 500
"""Letters that are dealt with in one transaction."""
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
    letters = _letters(Settings.load(), Wanted(None, job, cluster, since))
    if as_json:
        echo_json([letter.summary() for letter in letters])
    elif letters:
        echo_table(("id", "time", "kind", "name", "cluster", "attempts", "reason"), map(_row, letters))
    else:
        click.echo("no dead letters", err=True)
    return ExitCode.OK


@dead.command(epilog=examples("worker dead show 0-17", "worker dead show 0-17 --json") + "\n\n" + ENVIRONMENT)
@click.argument("letter_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def show(*, letter_id: str, as_json: bool) -> int:
    """Show all that is known of a letter: each attempt's error, and the end of the last one's output."""
    (letter,) = _chosen(_letters(Settings.load(), Wanted()), frozenset({letter_id}))
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
    settings = Settings.load()
    now_ms = SystemClock().now_ms()

    def settled(letters: list[Letter]) -> list[Write]:
        again = [letter.again(now_ms=now_ms, schedules_topics=settings.schedules_topics) for letter in letters]
        return [*again, *(letter.marker(settings.dead_letter_topic, Action.REDRIVEN) for letter in letters)]

    return _settle(
        settings, Wanted(None, job, cluster, since), ids, settled, "redriven", everything=everything, as_json=as_json
    )


@dead.command(
    epilog=examples("worker dead discard 0-17", "worker dead discard --all --job poll") + "\n\n" + ENVIRONMENT
)
@_choosing
def discard(
    *, ids: tuple[str, ...], job: str | None, cluster: str | None, since: int | None, everything: bool, as_json: bool
) -> int:
    """Put letters away: they stay on the topic, and are not listed any more."""
    settings = Settings.load()

    def settled(letters: list[Letter]) -> list[Write]:
        return [letter.marker(settings.dead_letter_topic, Action.DISCARDED) for letter in letters]

    return _settle(
        settings, Wanted(None, job, cluster, since), ids, settled, "discarded", everything=everything, as_json=as_json
    )


def _settle(
    settings: Settings,
    wanted: Wanted,
    ids: tuple[str, ...],
    settled: Callable[[list[Letter]], list[Write]],
    done: str,
    *,
    everything: bool,
    as_json: bool,
) -> int:
    if not ids and wanted.name is None and not everything:
        raise click.UsageError("which ones? Give IDs, --job NAME or --all.")
    client = SchedulerClient(settings, client_id="worker-dead")
    # one at a time: whoever came before is fenced, and what it has done is read, so that no letter is taken twice
    with client.writer(settling_id(settings)) as writer:
        letters = _letters(settings, wanted)
        if ids:
            letters = _chosen(letters, frozenset(ids))
        for start in range(0, len(letters), AT_ONCE):
            writer.apply(settled(letters[start : start + AT_ONCE]))
    for letter in letters:
        if as_json:
            echo_json_line({"id": letter.id, "name": letter.name, "done": done})
        else:
            click.echo(f"{letter.id} {letter.name}: {done}")
    if not letters:
        click.echo("no dead letter fits", err=True)
    return ExitCode.OK


def settling_id(settings: Settings) -> str:
    """The transactional id of whoever deals with letters: one for all, so that each fences the others."""
    return f"worker-dead-letters-{settings.dead_letter_topic}"


def _letters(settings: Settings, wanted: Wanted) -> list[Letter]:
    client = SchedulerClient(settings, client_id="worker-dead")
    return [letter for letter in open_letters(client.records(settings.dead_letter_topic)) if wanted.fits(letter)]


def _chosen(letters: list[Letter], ids: frozenset[str]) -> list[Letter]:
    chosen = [letter for letter in letters if letter.id in ids]
    missing = sorted(ids - {letter.id for letter in chosen})
    if missing:
        raise InputError(f"{', '.join(missing)}: no such dead letter, or it has been dealt with; see: worker dead list")
    return chosen


def _row(letter: Letter) -> tuple[str, ...]:
    attempts = "" if letter.job is None else str(letter.job.attempt)
    return letter.id, rfc3339(letter.at_ms), letter.kind.value, letter.name, letter.cluster, attempts, letter.reason
