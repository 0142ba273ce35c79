"""What several commands share: variables of their help, progress on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from scheduler.broker.reader import Progress as Told

BROKER = ("bootstrap_servers", "schedules_topics", "history_topic", "configuration_file")


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
