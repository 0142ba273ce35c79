"""The grammar of one crontab line: a variable, or time fields and a command; each part with its column."""

from __future__ import annotations

import re
from dataclasses import dataclass

BLANKS = " \t"
TIME_FIELDS = 5

_VARIABLE = re.compile(r"""(?:(?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<bare>[A-Za-z_][^ \t=]*))[ \t]*=[ \t]*""")
_WORD = re.compile(r"[^ \t]+")
_WEEKDAY = "(?:(?:sun|mon|fri)(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|sat(?:urday)?)"
_FIELD_TOO_MANY = re.compile(rf"[*?0-9][0-9*?,/#LW-]*|{_WEEKDAY}(?:[-,#]{_WEEKDAY})*", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,98}\$?", re.ASCII)
_ANACRONTAB = re.compile(r"(?:[0-9]+|@monthly)[ \t]+[0-9]+[ \t]+[A-Za-z][A-Za-z0-9._-]*[ \t]+[^ \t]", re.ASCII)
_COMMAND_PART = re.compile(r"(?:[^\\%]+|\\.|\\$)*")
_ESCAPED_IN_COMMAND = re.compile(r"\\([\\%])")


class LineError(ValueError):
    """A line that cannot be read: `column` counts characters from 1."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(what)
        self.column = column


@dataclass(frozen=True, slots=True)
class Variable:
    """`NAME=value`, unquoted; columns count from 1."""

    name: str
    value: str
    column: int
    value_column: int


@dataclass(frozen=True, slots=True)
class Timed:
    """Time fields as they stand, the column they begin at, and the rest of the line with its column."""

    expression: str
    column: int
    rest: str
    rest_column: int


def read_variable(line: str) -> Variable | None:
    """Read `NAME = value`; None where the line is no such thing.

    Blanks around the equal sign and after the value do not count, quotes of either kind keep them.

    Raises:
        LineError: the value is missing, or its quotes do not enclose all of it.
    """
    start = len(line) - len(line.lstrip(BLANKS))
    match = _VARIABLE.match(line, start)
    if match is None:
        return None
    name = match["bare"] if match["quote"] is None else match["quoted"]
    value, at = line[match.end() :].rstrip(BLANKS), match.end() + 1
    if not name:
        raise LineError(start + 1, "a variable without a name")
    if not value:
        raise LineError(at, f'{name} has no value; write {name}="" for an empty one')
    if value[0] not in "\"'":
        return Variable(name, value, start + 1, at)
    end = value.find(value[0], 1)
    if end < 0:
        raise LineError(at, f"the quote {value[0]} is not closed")
    if end + 1 < len(value):
        raise LineError(at + end + 1, "something follows the closing quote; quote all of the value or nothing")
    return Variable(name, value[1:end], start + 1, at)


def split_time(line: str) -> Timed:
    """Split a line after its time fields: five, or an `@` name and what belongs to it.

    A further word that looks like a time field is taken for one, so that lines of a dialect with seconds or
    years, or of an anacrontab, are refused rather than run as a command named `*`.
    """
    words = list(_WORD.finditer(line))
    count = TIME_FIELDS
    if words[0].group().startswith("@"):
        count = 2 if words[0].group() == "@every" else 1
    while count < len(words) and looks_like_time(words[count].group()):
        count += 1
    begin, end = words[0].start(), words[min(count, len(words)) - 1].end()
    at = words[count].start() if count < len(words) else len(line)
    return Timed(line[begin:end], begin + 1, line[at:], at + 1)


def looks_like_time(word: str) -> bool:
    """Whether a word after the time fields would be taken for one more of them."""
    return _FIELD_TOO_MANY.fullmatch(word) is not None


def split_user(timed: Timed) -> tuple[str, str]:
    """The user that stands between time and command, and what follows.

    Raises:
        LineError: there is none, or it is no name that a user could have.
    """
    user, rest = split_word(timed.rest)
    if not user:
        raise LineError(timed.rest_column, "the user and the command are missing")
    if _USER.fullmatch(user) is None:
        hint = "a file without a user column is read without --system"
        raise LineError(timed.rest_column, f"{user[:40]!r} is not the name of a user; {hint}")
    return user, rest


def is_anacrontab(timed: Timed) -> bool:
    """Whether the line is one of anacron's: a period in days, a delay, a name and a command."""
    return _ANACRONTAB.match(f"{timed.expression} {timed.rest}") is not None


def split_word(text: str) -> tuple[str, str]:
    """The first word of a text, and what follows it and its blanks."""
    match = _WORD.match(text)
    word = match.group() if match else ""
    return word, text[len(word) :].lstrip(BLANKS)


def split_input(text: str) -> tuple[str, str | None]:
    r"""Split a command from its standard input, as Debian cron does.

    The first `%` ends the command. In the command `\%` is `%` and `\\` is one backslash; in the input `%`
    is a new line and `\%` is `%`. The input ends with a new line. None: there is no input.
    """
    match = _COMMAND_PART.match(text)
    end = match.end() if match else 0
    # an escaped blank at the end is an argument's, not the line's
    command = re.sub(r"(?<!\\)[ \t]+$", "", _ESCAPED_IN_COMMAND.sub(r"\1", text[:end]))
    given = text[end + 1 :]
    if not given:
        return command, None
    lines = re.sub(r"\\?%", lambda found: "\n" if found.group() == "%" else "%", given)
    return command, lines if lines.endswith("\n") else lines + "\n"
