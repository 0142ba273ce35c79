"""Reads what a source is made of: a file, standard input, or the crontabs of a directory."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from planner.crontab import Remark, read_crontab, same_identity
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.entry import Entry

STDIN = Path("-")
_CRONTAB_NAME = re.compile(r"[A-Za-z0-9_-]+|[^.].*\.crontab", re.ASCII)
"""As in /etc/cron.d: what editors and package managers leave behind (`jobs~`, `jobs.dpkg-old`) is no crontab."""


class Told(NamedTuple):
    """Something about a place in a file."""

    file: str
    remark: Remark

    def __str__(self) -> str:
        """`file:line:column: what`."""
        return f"{self.file}:{self.remark}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that a source states, and everything that is wrong with it."""

    path: Path
    entries: tuple[Entry, ...]
    errors: tuple[Told, ...]
    notes: tuple[str, ...]

    @property
    def trouble(self) -> str:
        """`crontab.txt has 2 errors`."""
        return f"{self.path} has {len(self.errors)} error{'s' if len(self.errors) > 1 else ''}"


def read_source(path: Path, *, clusters: Sequence[str], system: bool = False) -> Reading:
    """Read a file, standard input (`-`), or a directory.

    Of a directory, the regular files whose names are made of letters, digits, `_` and `-`, or end in `.crontab`.
    Settings and variables end with their file. The errors of all files are there; see `Reading`.

    Raises:
        InputError: something cannot be read, or a directory holds no crontab.
    """
    if path == STDIN:
        return _join(path, [("<stdin>", "", _stdin())], clusters, system=system)
    if not path.is_dir():
        return _join(path, [(str(path), "", _content(path))], clusters, system=system)
    files, others = _crontabs(path)
    parts = [(str(file), file.name, _content(file)) for file in files]
    notes = tuple(f"{other}: note: not read: its name is not that of a crontab" for other in others)
    return _join(path, parts, clusters, system=system, notes=notes)


def entries_of(path: Path, *, clusters: Sequence[str], system: bool = False, otherwise: str = "") -> tuple[Entry, ...]:
    """What the source states; tells on standard error all that is to be said of it.

    Args:
        path: see `read_source`.
        clusters: those there are.
        system: whether the files have a user column.
        otherwise: what to add to the sentence about errors, such as `; nothing was changed`.

    Raises:
        InputError: it cannot be read, or has errors.
    """
    reading = read_source(path, clusters=clusters, system=system)
    for line in (*reading.notes, *reading.errors):
        click.echo(str(line), err=True)
    if reading.errors:
        raise InputError(reading.trouble + otherwise)
    return reading.entries


def _join(
    path: Path,
    parts: Sequence[tuple[str, str, bytes]],
    clusters: Sequence[str],
    *,
    system: bool,
    notes: tuple[str, ...] = (),
) -> Reading:
    """Read each part: how its remarks call it, how its entries do, and its content."""
    entries: dict[str, Entry] = {}
    errors: list[Told] = []
    said = list(notes)
    for file, name, content in parts:
        crontab = read_crontab(content, clusters=clusters, system=system, file=name)
        said += [f"{file}:{note.line}:{note.column}: note: {note.what}" for note in crontab.notes]
        faults = list(crontab.errors)
        for entry in crontab.entries:
            first = entries.setdefault(entry.id, entry)
            if first is not entry:
                faults.append(Remark(entry.line, entry.column, same_identity(entry, first)))
        errors += [Told(file, fault) for fault in sorted(faults)]
    return Reading(path, tuple(entries.values()), tuple(errors), tuple(said))


def _stdin() -> bytes:
    return sys.stdin.buffer.read()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _crontabs(directory: Path) -> tuple[list[Path], list[Path]]:
    """The crontabs of a directory, and the files that are none; hidden files are not spoken of."""
    try:
        files = sorted(file for file in directory.iterdir() if not file.name.startswith(".") and file.is_file())
    except OSError as error:
        raise InputError(f"{directory}: cannot be read: {error.strerror}") from None
    crontabs = [file for file in files if _CRONTAB_NAME.fullmatch(file.name)]
    if not crontabs:
        raise InputError(
            f"{directory} holds no crontab: a file whose name is made of letters, digits, '_' and '-', "
            f"or ends in .crontab; to state that nothing is to run, put an empty one there"
        )
    return crontabs, [file for file in files if file not in crontabs]
