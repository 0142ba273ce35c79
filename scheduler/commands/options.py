"""What several commands share: variables of their help, kinds of values, progress on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scheduler.clock import SystemClock
from scheduler.durations import parse_duration
from scheduler.instants import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from scheduler.broker.reader import Progress as Told

BROKER = ("bootstrap_servers", "schedules_topics", "history_topic", "configuration_file")
_WHEN = "an instant such as 2030-01-01T00:00:00Z nor a duration such as 2h"


class Since(click.ParamType[int]):
    """An instant, or so long ago; Unix ms."""

    name = "when"
    _sign = -1

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read either of the two."""
        if isinstance(value, int):
            return value
        instant_ms = parse_instant(value)
        if instant_ms is not None:
            return instant_ms
        try:
            return SystemClock().now_ms() + self._sign * parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is neither {_WHEN}", param, ctx)


class Until(Since):
    """An instant, or so long from now; Unix ms."""

    _sign = 1


class Seconds(click.ParamType[float]):
    """A duration such as 30s, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value) / 1000
        except ValueError as error:
            self.fail(str(error), param, ctx)


@contextmanager
def progress() -> Iterator[Told | None]:
    """Shows how far a reading is where a person watches, on standard error; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def told(topic: str, done: int, total: int) -> None:
            if topic not in tasks:
                tasks[topic] = bar.add_task(topic, total=total)
            bar.update(tasks[topic], completed=done, total=total)

        yield told
