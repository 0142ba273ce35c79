"""The `scheduler` command: assembles its commands."""

from __future__ import annotations

import click

from scheduler import __version__
from scheduler.commands.audit import audit
from scheduler.commands.changes import cancel, fire, pause, resume
from scheduler.commands.doctor import doctor
from scheduler.commands.history import history
from scheduler.commands.mini import mini
from scheduler.commands.run import run_command
from scheduler.commands.schedules import get, list_command
from scheduler.commands.topics import topics
from scheduler.commands.transfer import export_command, import_command
from scheduler.runtime.cli import CONTEXT, examples, exit_codes, run


@click.group(
    context_settings=CONTEXT,
    epilog=examples(
        "scheduler topics --create", "scheduler doctor", "scheduler run", "scheduler list", "scheduler history --follow"
    )
    + "\n\n"
    + exit_codes("if something failed, is missing or was not found")
    + " The commands' own help says more.",
)
@click.version_option(__version__, prog_name="scheduler")
def cli() -> None:
    """Fire messages on Kafka at their time, exactly once."""


for command in (
    run_command,
    topics,
    doctor,
    list_command,
    get,
    cancel,
    fire,
    pause,
    resume,
    history,
    audit,
    mini,
    export_command,
    import_command,
):
    cli.add_command(command)


def main() -> None:
    """The console script."""
    run(cli, "scheduler")
