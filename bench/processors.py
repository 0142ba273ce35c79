"""Who runs on which processor: what is measured has one of its own, the broker and the reader have the others.

As on machines of their own. Where they share processors, the rate of a worker says as much of the broker as of itself.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MEASURED = {min(os.sched_getaffinity(0))}
OTHERS = os.sched_getaffinity(0) - MEASURED


@contextmanager
def on(processors: set[int]) -> Iterator[None]:
    """Run what this thread does there, and what it starts meanwhile for as long as that lives."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pids: Iterable[int], processors: set[int]) -> None:
    """Let processes that run go on there, with every thread."""
    for pid in pids:
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, processors)
