"""A crontab entry: what it runs and when, and the id that stays its own while lines move around it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, with everything that the lines above it have settled."""

    line: int
    rule: Rule
    """Its text has one blank between two fields."""
    cluster: str
    command: str
    stdin: str | None
    environment: Mapping[str, str]
    settings: JobSettings
    name: str | None
    id: str
    """The name; without one, a digest of what makes the entry this one and not another."""

    @property
    def job_name(self) -> str:
        """What people call it: its name, else the program that it runs and the start of its id."""
        return self.name or f"{_program(self.command)}-{self.id[:SUFFIX_DIGITS]}"


def identity(rule: Rule, cluster: str, command: str, stdin: str | None) -> str:
    """The id of an entry without a name: settings, variables, comments and order have no part in it."""
    parts = json.dumps([rule.text, rule.timezone, cluster, command, stdin])
    return hashlib.sha256(parts.encode()).hexdigest()[:ID_DIGITS]


def _program(command: str) -> str:
    words = [word for word in command.split() if not _SHELL_ASSIGNMENT.match(word)]
    last = words[0].rstrip("/").rpartition("/")[2] if words else ""
    return _UNFIT.sub("", last)[:_LONGEST_WORD] or "job"
