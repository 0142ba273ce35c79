"""The name of a source: whose schedules these are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.files import STDIN
from planner.job_settings import check_name

if TYPE_CHECKING:
    from pathlib import Path


def source_name(given: str | None, path: Path) -> str:
    """The name given, else that of the file or directory.

    Raises:
        click.BadParameter: it is no name, or there is none for standard input.
    """
    if given is None and path == STDIN:
        raise click.BadParameter("standard input has no name; name the source with --source", param_hint="--source")
    try:
        if given is None:
            given_by = path.resolve() if path.name in ("", "..") else path
            return check_name(given_by.name)
        return check_name(given)
    except ValueError as error:
        hint = "; name the source with --source" if given is None else ""
        raise click.BadParameter(f"{error}{hint}", param_hint="FILE" if given is None else "--source") from None
