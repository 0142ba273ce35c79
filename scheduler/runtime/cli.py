"""What the three command lines share: errors as one sentence with an exit code, tables, JSON, help."""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import contextmanager
from itertools import zip_longest
from textwrap import wrap
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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import FrameType

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
WHOLE, LEAST, GAP = 24, 16, 2
"""Columns of a table that are this narrow, an instant say, are not folded; wider ones are, to no less than `LEAST`."""
NARROW = 78
"""Columns of lines in a help that click does not wrap: it indents them by two, and a terminal may have 80."""
AGAIN_SECONDS = 3.0
"""Longer than a command takes to end after Ctrl-C while Kafka answers."""
MOST_COLOURED = 1000
"""Rows of a table that is drawn for a terminal; a longer one is plain there as well."""


def run(command: click.Command, name: str) -> None:
    """Run a command line to its end and leave with its exit code; no traceback reaches a user."""
    silence_client()
    with _remembered_interrupt() as interrupted:
        try:
            code = _ended(command, name)
        except Exception:
            # interrupted while it reads its settings, the Kafka client raises a TypeError about them instead
            if not interrupted.is_set():
                raise
            click.echo(err=True)
            code = ExitCode.INTERRUPTED
        if code and interrupted.is_set():
            code = ExitCode.INTERRUPTED  # a wait that came to its own end instead
    sys.exit(int(code or 0))


@contextmanager
def _remembered_interrupt() -> Iterator[threading.Event]:
    """Whether there was a Ctrl-C, whatever became of the exception that it raised.

    Raised where exceptions are ignored, in a destructor say, it is lost. Then it is raised again, as if somebody had
    pressed once more.
    """
    pressed = threading.Event()
    main = threading.main_thread().ident or 0
    again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, signal.SIGINT))
    again.daemon = True

    def press(number: int, frame: FrameType | None) -> None:
        if not pressed.is_set():
            pressed.set()
            again.start()
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, say: a shell starts what is in the background so
        yield pressed
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        again.cancel()
        signal.signal(signal.SIGINT, before)


def _ended(command: click.Command, name: str) -> int | None:
    """Its exit code; what it had to say of an error has been said."""
    try:
        code: int | None = command.main(prog_name=name, standalone_mode=False)
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
    except MemoryError:
        click.echo(f"{name}: out of memory", err=True)
        code = ExitCode.FAILED
    except SystemExit:
        # commands return their code; click and rich leave like this, and only like this, where the reader
        # (`head`, say) has seen enough, which is no failure
        code = ExitCode.OK
    return code


def examples(*lines: str) -> str:
    """An examples block for the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def exit_codes(
    failed: str = "", *, also: Mapping[int, str] | None = None, kafka: bool = True, endless: bool = False
) -> str:
    """The exit codes of a command, for the end of its help.

    Args:
        failed: when it ends with 1; empty if it never does.
        also: when it ends with others, or with those that every command has.
        kafka: whether it asks Kafka.
        endless: whether Ctrl-C is how it is ended.
    """
    codes: dict[int, str] = {
        ExitCode.FAILED: failed,
        ExitCode.USAGE: "for a wrong option",
        ExitCode.BAD_INPUT: "for input that cannot be taken",
        ExitCode.UNAVAILABLE: "if Kafka does not answer" if kafka else "",
        ExitCode.CONFIGURATION: "for a wrong setting",
        ExitCode.INTERRUPTED: "" if endless else "if interrupted",
        **(also or {}),
    }
    told = (f"{code:d} {when}" for code, when in sorted(codes.items()) if when)
    return f"Exit code: {'; '.join((f'{ExitCode.OK:d}', *told))}."


def environment_help(*names: str) -> str:
    """The variables that a command reads, with their defaults, for the end of its help."""
    width = max(len(name) for name in names)
    lines = []
    for name in names:
        field = Settings.model_fields[name]
        default = ",".join(field.default) if isinstance(field.default, list) else field.default
        shown = "" if default in (None, "") or isinstance(default, SecretStr) else f" [{default}]"
        lines += wrap(
            f"{field.description}{shown}",
            NARROW,
            initial_indent=f"  {name.upper():<{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_on_hyphens=False,
        )
    return "\b\nEnvironment:\n" + "\n".join(lines)


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def echo_json_line(value: Any) -> None:
    """One JSON object on a line of its own, written at once: the reader may be following."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str | None = None) -> None:
    """A table for people; on a terminal it has colours and its width, elsewhere it is plain text.

    What a cell holds is shown as it is: keys and reasons come from anybody, and may look like markup or
    hold what a terminal obeys. On a terminal, what is too long goes on below, and nothing is cut; columns in which
    nothing stands are left out there; where there is no room for the others, each row is a block of lines. A `Text`
    is our own, and has its colour on a terminal.
    """
    shown = [[cell if isinstance(cell, Text) else printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty() or len(shown) > MOST_COLOURED:
        _echo_plain([printable(column) for column in columns], [list(map(str, row)) for row in shown], title)
        return
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in shown]
    filled = [number for number in range(len(columns)) if not cells or any(row[number].plain for row in cells)]
    names = [printable(columns[number]) for number in filled]
    _draw(names, [[row[number] for number in filled] for row in cells], title)


def _draw(names: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
    console = Console(highlight=False)
    widths = [
        max(cell_len(line) for text in (name, *(row[number].plain for row in rows)) for line in text.split("\n"))
        for number, name in enumerate(names)
    ]
    whole = [width for width in widths if width <= WHOLE]
    room = console.width - sum(whole) - GAP * (len(widths) - 1)
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    if room < LEAST * (len(widths) - len(whole)) and sum(widths) + GAP * (len(widths) - 1) > console.width:
        table.show_header = False
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for number, row in enumerate(rows):
            for name, cell in zip(names, row, strict=True):
                if cell.plain:
                    table.add_row(Text(name), cell)
            if number < len(rows) - 1:
                table.add_row("", "")
    else:
        for name, width in zip(names, widths, strict=True):
            table.add_column(Text(name), overflow="fold", min_width=width if width <= WHOLE else None)
        for row in rows:
            table.add_row(*row)
    console.print(table)


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
