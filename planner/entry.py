"""A crontab entry: what it runs and when, and the id that stays its own while lines move around it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from scheduler.recurrence import EveryRule
from scheduler.shifted import shifted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.job_settings import JobSettings
    from scheduler.recurrence import Rule

ID_DIGITS = 12
"""48 bits: among 10,000 entries, two share an id once in five million files."""
SUFFIX_DIGITS = 4
_SHELL_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_WORD = 40


class Given(NamedTuple):
    """A setting or a variable as a line gives it."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, with everything that the lines above it have settled."""

    line: int
    rule: Rule
    """When it occurs, the entry's own shift included; its text has one blank between two fields."""
    cluster: str
    command: str
    stdin: str | None
    environment: Mapping[str, str]
    settings: JobSettings
    name: str | None
    id: str
    """The name; without one, a digest of what makes the entry this one and not another."""
    user: str | None = None
    """Whom the user column names; None in a file without one."""
    given: Mapping[str, Given] = field(default_factory=dict)
    """The settings and variables in force, by name, and the lines that they are from."""
    column: int = 1
    file: str = ""
    """Where it stands, for people; empty where there is one file only."""

    @property
    def job_name(self) -> str:
        """What people call it: its name, else the program that it runs and the start of its id."""
        return self.name or f"{_program(self.command)}-{self.id[:SUFFIX_DIGITS]}"

    @property
    def place(self) -> str:
        """`line 7`, or `line 7 of billing.crontab`."""
        return f"line {self.line} of {self.file}" if self.file else f"line {self.line}"

    def first_after(self, instant_ms: int) -> int | None:
        """The first occurrence, strictly later than the instant, of an entry that is new; None: there is none.

        A period begins one period from now. Entries that begin together would stay together, so that the
        shift is in the first occurrence, from which the others count.
        """
        due_ms = self.rule.next_after(instant_ms, instant_ms)
        if due_ms is not None and isinstance(self.rule, EveryRule):
            due_ms += shift_of(self.id, self.settings.jitter_ms) % self.rule.period_ms
        return due_ms


def identity(rule: Rule, cluster: str, command: str, stdin: str | None, user: str | None = None) -> str:
    """The id of an entry without a name: settings, variables, comments and order have no part in it."""
    parts: list[str | None] = [rule.text, rule.timezone, cluster, command, stdin]
    if user is not None:
        parts.append(user)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:ID_DIGITS]


def shift_of(entry_id: str, jitter_ms: int) -> int:
    """The entry's own part of the jitter, from 0 to less than all of it: the same for ever.

    More jitter keeps the order among entries.
    """
    digest = hashlib.sha256(b"jitter " + entry_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") * jitter_ms >> 64


def spread(rule: Rule, entry_id: str, jitter_ms: int) -> Rule:
    """The rule with the entry's shift; a period is left as it is, see `Entry.first_after`."""
    return rule if isinstance(rule, EveryRule) else shifted(rule, shift_of(entry_id, jitter_ms))


def _program(command: str) -> str:
    words = [word for word in command.split() if not _SHELL_ASSIGNMENT.match(word)]
    last = words[0].rstrip("/").rpartition("/")[2] if words else ""
    return _UNFIT.sub("", last)[:_LONGEST_WORD] or "job"
