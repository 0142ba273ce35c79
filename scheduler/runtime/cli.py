"""What the three command lines share: errors as one sentence with an exit code, tables, JSON, help."""

from __future__ import annotations

import json
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler.errors import ExitCode, SchedulerError
from scheduler.runtime.logs import silence_client
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
MOST_COLOURED = 1000
"""Rows of a table that is drawn for a terminal; a longer one is plain there as well."""


def run(command: click.Command, name: str) -> None:
    """Run a command line to its end and leave with its exit code; no traceback reaches a user."""
    silence_client()
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.UsageError as error:
        error.show()
        code = ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        code = ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except SchedulerError as error:
        click.echo(f"{name}: {error}", err=True)
        code = error.exit_code
    except KafkaException as error:
        fault = error.args[0]
        if fault.code() == KafkaError._INVALID_ARG:  # noqa: SLF001 - librdkafka's public code
            click.echo(f"{name}: CONFIGURATION_FILE: the Kafka client refuses it: {fault.str()}", err=True)
            code = ExitCode.CONFIGURATION
        else:
            click.echo(f"{name}: Kafka: {fault.str()} ({fault.name()})", err=True)
            code = ExitCode.UNAVAILABLE
    except SystemExit:
        # commands return their code; click and rich leave like this, and only like this, where the reader
        # (`head`, say) has seen enough, which is no failure
        code = ExitCode.OK
    sys.exit(int(code or 0))


def examples(*lines: str) -> str:
    """An examples block for the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def exit_codes(failed: str = "") -> str:
    """The exit codes of a command, for the end of its help; `failed` says when it ends with 1."""
    codes = (
        "0",
        *((f"{ExitCode.FAILED:d} {failed}",) if failed else ()),
        f"{ExitCode.USAGE:d} for a wrong option",
        f"{ExitCode.BAD_INPUT:d} for input that cannot be taken",
        f"{ExitCode.UNAVAILABLE:d} if Kafka does not answer",
        f"{ExitCode.CONFIGURATION:d} for a wrong setting",
    )
    return f"Exit code: {'; '.join(codes)}."


def environment_help(*names: str) -> str:
    """The variables that a command reads, with their defaults, for the end of its help."""
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        default = ",".join(field.default) if isinstance(field.default, list) else field.default
        shown = "" if default in (None, "") or isinstance(default, SecretStr) else f" [{default}]"
        rows.append(f"  {name.upper():<20} {field.description}{shown}")
    return "\b\nEnvironment:\n" + "\n".join(rows)


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def echo_json_line(value: Any) -> None:
    """One JSON object on a line of its own, written at once: the reader may be following."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str | None = None) -> None:
    """A table for people; on a terminal it has colours and its width, elsewhere it is plain text.

    What a cell holds is shown as it is: keys and reasons come from anybody, and may look like markup or
    hold what a terminal obeys. On a terminal, what is too long goes on below; nothing is cut. A `Text` is our own,
    and has its colour on a terminal.
    """
    shown = [[cell if isinstance(cell, Text) else printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty() or len(shown) > MOST_COLOURED:
        _echo_plain([printable(column) for column in columns], [list(map(str, row)) for row in shown], title)
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in shown:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    Console(highlight=False).print(table)


def _echo_plain(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None) -> None:
    """Lines of padded cells: rich takes half a millisecond for each row, 5 s for ten thousand."""
    lines = [*([title] if title else ()), *_padded([columns, *rows])]
    click.echo("\n".join(lines))


def _padded(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    # a cell of several lines takes as many lines of the table
    split = [[cell.split("\n") for cell in row] for row in rows]
    widths = [max(cell_len(line) for cell in column for line in cell) for column in zip(*split, strict=True)]
    for row in split:
        for lines in zip_longest(*row, fillvalue=""):
            cells = (line + " " * (width - cell_len(line)) for line, width in zip(lines, widths, strict=True))
            yield "  ".join(cells).rstrip()


def printable(text: str) -> str:
    r"""The text without what a terminal would obey: control characters are written as `\xNN`, lines stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
