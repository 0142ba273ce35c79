"""Reads a command line of the product without running it."""

from __future__ import annotations

import click

from planner.cli import cli as planner
from scheduler.cli import cli as scheduler
from worker.cli import command as worker

PROGRAMS: dict[str, click.Command] = {"scheduler": scheduler, "planner": planner, "worker": worker}


def parse(program: str, *arguments: str) -> None:
    """Take the command line apart as the program would; files it names need not be there.

    Raises:
        click.UsageError: the program would refuse it.
    """
    command, rest, parent = PROGRAMS[program], list(arguments), None
    while True:
        parent = command.make_context(program, rest, parent=parent, resilient_parsing=False)
        if not isinstance(command, click.Group) or not (left := [*parent._protected_args, *parent.args]):
            return
        _, command, rest = command.resolve_command(parent, left)
        if command is None:
            raise click.UsageError(f"{program}: no command {left[0]}")
