"""What a command is at, on standard error, where a person looks; nothing of it where a program does."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

BAR_WIDTH = 20


class Progress(Protocol):
    """Who is told how far the reading of a topic has come."""

    def __call__(self, topic: str, done: int, total: int) -> None:
        """So many of so many offsets of the topic are behind the reader; compacted ones count too."""
        ...


class Shown:
    """The lines of a command's progress. Where nobody looks, every call does nothing."""

    def __init__(self, bar: Bar | None) -> None:
        self._bar = bar
        self._rows: dict[str, TaskID] = {}
        self._stage: TaskID | None = None

    @property
    def reading(self) -> Progress | None:
        """To be told by a reader of topics; None where nobody looks, so that it need not find out."""
        return None if self._bar is None else self._read

    def at(self, what: str) -> None:
        """Say what is done now, where nobody knows how much of it there is."""
        if self._bar is None:
            return
        self._clear()
        self._stage = self._bar.add_task(what, total=None)

    def count(self, what: str, done: int, total: int) -> None:
        """Say how far something is."""
        if self._bar is None:
            return
        if self._stage is not None:
            self._clear()
        if what in self._rows:
            self._bar.update(self._rows[what], completed=done, total=total)
        else:
            self._rows[what] = self._bar.add_task(what, completed=done, total=total)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take it all away while something else is said or asked."""
        if self._bar is None:
            yield
            return
        self._clear()
        self._bar.stop()
        yield
        self._bar.start()

    def _read(self, topic: str, done: int, total: int) -> None:
        self.count(f"reading {topic}", done, total)

    def _clear(self) -> None:
        if self._bar is not None:
            for row in self._bar.task_ids:
                self._bar.remove_task(row)
        self._rows, self._stage = {}, None


@contextmanager
def progress() -> Iterator[Shown]:
    """Show what is done until the block ends, if standard error is a terminal; then nothing of it is left there."""
    if not sys.stderr.isatty():
        yield Shown(None)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(BAR_WIDTH), _Figures())
    # what is printed meanwhile goes where it was meant to go: standard output may be a file
    with Bar(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        yield Shown(bar)


class _Figures(ProgressColumn):
    """How much is done, and how long the rest takes; without an end in sight, how long it has taken."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn`."""
        if task.total is None:
            return Text(str(timedelta(seconds=int(task.elapsed or 0))))
        left = task.time_remaining
        rest = f"  {timedelta(seconds=int(left))} left" if left else ""
        return Text(f"{int(task.completed):,}/{int(task.total):,}{rest}", no_wrap=True)
