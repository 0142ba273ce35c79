"""What a person sees at a terminal, what a program is spared, and how Ctrl-C ends either."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from scheduler.starting import start
from tests.support.command_lines import PROGRAMS
from tests.support.terminal import Ended, run, shown

PROGRAM = """
import threading
import click
from scheduler.runtime.cli import echo_json_line, echo_table, run
from scheduler.runtime.progress import progress

@click.command()
def command():
    {lines}

run(command, "scheduler")
"""
WORKS = """
    with progress() as display:
        display.at("asking Kafka")
        display.count("reading schedules", 3000, 10000)
        display.reading and display.reading("history", 1, 2)
        echo_json_line({"done": 1})
        with display.aside():
            click.echo("Go on?", err=True)
        display.count("writing [bold]file", 10000, 10000)
    echo_json_line({"done": 2})
"""
WAITS = """
    with progress() as display:
        display.at("waiting")
        threading.Event().wait(60)
"""
ROWS = """[
        ("2030-01-01T00:00:00.250Z", "crontab.txt/nightly-report-of-the-whole-company", "30 2 * * mon-fri", "", "a"),
        ("2030-01-01T00:00:00Z", "c56a4180-65aa-42ec-a945-5fd21dec0538/retry/17", "", "", "yes"),
    ]"""
CHANGED = """
    click.echo("waiting", err=True)
    try:
        threading.Event().wait(60)
    except KeyboardInterrupt:
        pass
    raise TypeError("expected configuration property name as type unicode string")
"""
LOST = """
    class Swallows:
        def __del__(self):
            click.echo("waiting", err=True)
            threading.Event().wait(20)

    Swallows()  # what is raised in there is ignored
    threading.Event().wait(20)
    raise click.ClickException("the time is over")
"""
TABLE = f"""
    echo_table(("due", "schedule", "rule", "paused", "last"), {ROWS})
"""


def program(lines: str, **how: object) -> Ended:
    return run([sys.executable, "-c", PROGRAM.format(lines=lines.strip())], **how)  # type: ignore[arg-type]


def test_progress_is_shown_where_a_person_looks_and_nothing_of_it_stays() -> None:
    ended = program(WORKS)

    assert ended.code == 0
    # what is printed while a bar is drawn goes where it was meant to go
    assert ended.out == '{"done": 1}\n{"done": 2}\n'
    said = shown(ended.err)
    for part in ("asking Kafka", "reading schedules", "3,000/10,000", "reading history", "1/2", "writing [bold]file"):
        assert part in said
    assert "\nGo on?\n" in said.replace("\r", "\n")
    assert ended.err.endswith("\x1b[2K")  # the last line is wiped
    assert ended.err.rindex("\x1b[?25h") > ended.err.rindex("\x1b[?25l")  # the cursor is back
    assert max(map(len, said.replace("\r", "\n").splitlines())) <= 80


def test_a_program_is_told_nothing_of_it() -> None:
    assert program(WORKS, err=False) == (0, '{"done": 1}\n{"done": 2}\n', "Go on?\n")
    assert program(WORKS, err=False, env={"FORCE_COLOR": "1"}).err == "Go on?\n"
    assert program(WORKS, out=True, err=False).out == '{"done": 1}\n{"done": 2}\n'


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_with_130_and_no_traceback(*, terminal: bool) -> None:
    lines = WAITS if terminal else WAITS.replace('display.at("waiting")', 'click.echo("waiting", err=True)')
    ended = program(lines, err=terminal, interrupt_at="waiting")

    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err
    assert ("\x1b[?25h" in ended.err) is terminal


def test_ctrl_c_ends_with_130_whatever_is_made_of_it_on_its_way() -> None:
    """The Kafka client makes another error of it while it reads its settings."""
    assert program(CHANGED, err=False, interrupt_at="waiting") == (130, "", "waiting\n\n")


def test_ctrl_c_that_was_lost_on_its_way_comes_again() -> None:
    ended = program(LOST, err=False, interrupt_at="waiting")

    assert (ended.code, ended.out) == (130, "")
    assert "the time is over" not in ended.err


def test_a_table_leaves_out_what_is_empty_and_folds_what_is_long() -> None:
    lines = shown(program(TABLE, out=True, columns=80).out).splitlines()

    assert lines[0].split() == ["due", "schedule", "rule", "last"]
    assert lines[1].startswith("2030-01-01T00:00:00.250Z  crontab.txt/nightly-")
    assert max(map(len, lines)) <= 80
    assert "".join(lines).count("2030-01-01T00:00:00") == 2


def test_a_table_for_which_there_is_no_room_is_blocks_of_lines() -> None:
    lines = [line.rstrip() for line in shown(program(TABLE, out=True, columns=65).out).splitlines()]

    assert lines == [
        "due       2030-01-01T00:00:00.250Z",
        "schedule  crontab.txt/nightly-report-of-the-whole-company",
        "rule      30 2 * * mon-fri",
        "last      a",
        "",
        "due       2030-01-01T00:00:00Z",
        "schedule  c56a4180-65aa-42ec-a945-5fd21dec0538/retry/17",
        "last      yes",
    ]


def test_a_program_gets_every_column_of_a_table() -> None:
    first, *_ = program(TABLE).out.splitlines()

    assert first.split() == ["due", "schedule", "rule", "paused", "last"]


def test_ctrl_c_before_the_program_is_loaded_ends_it_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_while_loading.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        start("interrupted_while_loading")

    assert ended.value.code == 130


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_console_script_is_the_module(program: str) -> None:
    scripts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["scripts"]

    assert scripts[program] == f"{program}.__main__:main"
    ended = run([sys.executable, "-m", program, "--version"], err=False)
    assert (ended.code, ended.out.split()[0], ended.err) == (0, program + ",", "")
