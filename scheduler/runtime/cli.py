"""What the three command lines share: errors as one sentence with an exit code, tables, JSON, help."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler.errors import ExitCode, SchedulerError
from scheduler.runtime.logs import silence_client
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


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


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table for people; on a terminal it has colours and its width, elsewhere it is plain text.

    What a cell holds is shown as it is: keys and reasons come from anybody, and may look like markup or
    hold what a terminal obeys. What is too long goes on below; nothing is cut.
    """
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def printable(text: str) -> str:
    r"""The text without what a terminal would obey: control characters are written as `\xNN`, lines stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
