"""The help of every command has an example that is understood, and says what its exit codes mean."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile, groupby
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from tests.support.command_lines import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it."""
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, *path, name)


COMMANDS = [words for program, command in PROGRAMS.items() for words in commands(command, program)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_examples_and_exit_codes(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(PROGRAMS[words[0]], [*words[1:], "--help"])

    assert shown.exit_code == 0
    assert "Examples:" in shown.output
    assert "Exit code" in shown.output
    examples = re.search(r"Examples:\n((?: .*\n?)+)", shown.output)
    assert examples is not None
    for line in examples[1].splitlines():
        for called in called_in(line):
            known = CliRunner().invoke(PROGRAMS[called[0]], [*called[1:], "--help"])
            assert known.exit_code == 0, (line, known.output)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_into_a_terminal_of_80_columns(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(PROGRAMS[words[0]], [*words[1:], "--help"], terminal_width=80).output

    assert [line for line in shown.splitlines() if len(line) > 80] == []
    # what a command does is not cut off in the list of them
    assert [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage")] == []


def called_in(line: str) -> Iterator[list[str]]:
    """The product's command lines in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for between, words in groupby(lexer, lambda word: set(word) <= set(lexer.punctuation_chars)):
        called = list(dropwhile(lambda word: "=" in word, words))
        if not between and called and called[0] in PROGRAMS:
            yield called


def test_a_mistake_in_an_example_would_be_noticed() -> None:
    (called,) = called_in("BOOTSTRAP_SERVERS=kafka:9092 scheduler list --limmit 20 | head")

    assert called == ["scheduler", "list", "--limmit", "20"]
    assert CliRunner().invoke(PROGRAMS["scheduler"], [*called[1:], "--help"]).exit_code == 2
