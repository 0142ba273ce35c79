"""The `planner` command."""

from __future__ import annotations

import click

from planner.commands.check import check
from planner.commands.export import export_
from planner.commands.list import list_
from planner.commands.next import next_
from planner.commands.plan import plan
from planner.commands.sync import sync
from planner.commands.watch import watch
from scheduler import __version__
from scheduler.runtime.cli import CONTEXT, examples, exit_codes, run


@click.group(
    context_settings=CONTEXT,
    epilog=examples(
        "planner check crontab.txt",
        "planner plan crontab.txt",
        "planner sync crontab.txt",
        "planner list",
        'eval "$(_PLANNER_COMPLETE=bash_source planner)"   # or zsh_source',
    )
    + "\n\n"
    + exit_codes("if something failed")
    + " The commands' own help says more.",
)
@click.version_option(__version__, prog_name="planner")
def cli() -> None:
    """Make Kafka hold exactly the schedules that a crontab states."""


cli.add_command(check)
cli.add_command(export_)
cli.add_command(list_)
cli.add_command(next_)
cli.add_command(plan)
cli.add_command(sync)
cli.add_command(watch)


def main() -> None:
    """Run the command line."""
    run(cli, "planner")
