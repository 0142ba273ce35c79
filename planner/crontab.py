"""Reads a crontab: its entries, with what the lines above each have settled, and everything wrong with it.

The language is Debian cron's, and beyond it: a cluster word between time and command, `@every`, `CRON_TZ`
and settings by lines, each valid downwards. Reading never stops at an error, so that all are told at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from planner.entry import Entry, identity
from planner.job_settings import DEFAULTS, NAME, READERS, RESERVED, UNUSED, check_name, with_setting
from planner.lines import LineError, Timed, Variable, read_variable, split_input, split_time, split_word
from scheduler.recurrence import RecurrenceError, Rule, parse_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANKS = re.compile(r"[ \t]+")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LIKENESS = 0.85
"""How alike a variable's name must be to a setting's to be asked about; `TIMEOUTS` is, `TIME` is not."""


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """Something about a place in the file; line and column (in characters) count from 1."""

    line: int
    column: int
    what: str

    def __str__(self) -> str:
        """`line:column: what`."""
        return f"{self.line}:{self.column}: {self.what}"


@dataclass(frozen=True, slots=True)
class Crontab:
    """A file as it was read; with errors, the entries are those that could be read."""

    entries: tuple[Entry, ...]
    errors: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    """What is accepted and has no effect, or perhaps not the one that was meant."""


def read_crontab(content: bytes, *, clusters: Sequence[str]) -> Crontab:
    """Read a crontab's bytes; an entry that names no cluster runs on the first.

    Never raises for what the file holds: see `errors`.
    """
    if content.startswith(_UTF16_MARKS):
        return Crontab((), (Remark(1, 1, "the file is UTF-16; save it as UTF-8"),), ())
    reader = _Reader(clusters)
    for number, raw in enumerate(content.removeprefix(_UTF8_MARK).split(b"\n"), 1):
        reader.read(number, raw.removesuffix(b"\r"))
    return reader.finish()


class _Reader:
    """What is in force at the line being read, and what was found above it."""

    def __init__(self, clusters: Sequence[str]) -> None:
        self._clusters = clusters
        self._settings = DEFAULTS
        self._environment: dict[str, str] = {}
        self._name: tuple[str, Remark] | None = None
        self._entries: dict[str, Entry] = {}
        self._errors: list[Remark] = []
        self._notes: list[Remark] = []

    def read(self, number: int, raw: bytes) -> None:
        if not raw.strip() or raw.lstrip().startswith(b"#"):
            return
        try:
            line = _decode(raw)
            variable = read_variable(line)
            if variable is None:
                self._entry(number, line)
            else:
                self._variable(number, variable)
        except LineError as error:
            self._errors.append(Remark(number, error.column, str(error)))

    def finish(self) -> Crontab:
        self._drop_name()
        return Crontab(tuple(self._entries.values()), tuple(sorted(self._errors)), tuple(self._notes))

    def _variable(self, number: int, variable: Variable) -> None:
        name, value = variable.name, variable.value
        if name in RESERVED:
            raise LineError(variable.column, f"{name} is reserved for a setting to come; rename the variable")
        if name in UNUSED:
            self._note(number, variable, f"{name} is not used: a run's output goes to the worker's log")
        elif name == NAME or name in READERS:
            try:
                self._setting(number, variable)
            except ValueError as error:
                raise LineError(variable.value_column, f"{name}: {error}") from None
        else:
            close = get_close_matches(name, [NAME, *READERS], n=1, cutoff=_LIKENESS)
            if close:
                self._note(
                    number, variable, f"{name} is a variable for the commands; if you meant {close[0]}, write that"
                )
            self._environment = {**self._environment, name: value}

    def _setting(self, number: int, variable: Variable) -> None:
        if variable.name != NAME:
            self._settings = with_setting(self._settings, variable.name, variable.value, self._clusters)
            return
        name = check_name(variable.value)
        self._drop_name()
        self._name = (name, Remark(number, variable.column, f"NAME={name} is followed by no entry that it could name"))

    def _note(self, number: int, variable: Variable, what: str) -> None:
        self._notes.append(Remark(number, variable.column, what))

    def _drop_name(self) -> None:
        if self._name is not None:
            self._errors.append(self._name[1])
            self._name = None

    def _entry(self, number: int, line: str) -> None:
        named, self._name = self._name, None
        name = named[0] if named else None
        timed = split_time(line)
        rule = _rule(timed, self._settings.timezone)
        cluster, text = self._settings.cluster or self._clusters[0], timed.rest
        word, after = split_word(text)
        if word in self._clusters:
            cluster, text = word, after
        command, stdin = split_input(text)
        if not command:
            raise LineError(len(line) - len(text) + 1, "the command is missing")
        entry = Entry(
            line=number,
            rule=rule,
            cluster=cluster,
            command=command,
            stdin=stdin,
            environment=self._environment,
            settings=self._settings,
            name=name,
            id=name or identity(rule, cluster, command, stdin),
        )
        first = self._entries.setdefault(entry.id, entry)
        if first is not entry:
            same = f"the name {name}" if name else "time, zone, cluster and command"
            hint = "" if name else "; give one of them a NAME, or remove it"
            raise LineError(timed.column, f"{same} as in line {first.line}: it would be the same schedule{hint}")


def _decode(raw: bytes) -> str:
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode()) + 1
        raise LineError(column, f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None
    for column, character in enumerate(line, 1):
        if character < " " and character != "\t":
            kind = (
                "a carriage return inside the line"
                if character == "\r"
                else f"control character U+{ord(character):04X}"
            )
            raise LineError(column, f"{kind}; remove it")
    return line


def _rule(timed: Timed, timezone: str) -> Rule:
    try:
        # as it stands first: an error's position is then one in the line
        parse_rule(timed.expression, timezone)
    except RecurrenceError as error:
        raise LineError(timed.column + (error.position or 0), str(error)) from None
    return parse_rule(_BLANKS.sub(" ", timed.expression), timezone)
