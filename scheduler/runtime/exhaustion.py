"""A program that is out of memory ends at once, as if it were killed: to hand over or to log takes memory, too.

What was under way is taken up by others as after a crash. The Kafka client does the same by itself where it is the one
that gets none; which of the two comes first is chance.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scheduler.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from sys import UnraisableHookArgs

_LAST_WORDS = b"out of memory: this process ends, others go on; give it more, or less to hold (more replicas)\n"
_armed = False


@contextmanager
def ending_when_exhausted() -> Iterator[None]:
    """Meanwhile, whatever thread it is that gets none; for programs of ours, never for one that only uses us."""
    global _armed  # noqa: PLW0603 - a process ends as a whole
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _uncaught, _unraisable
    _armed = True
    try:
        yield
    finally:
        _armed = False
        threading.excepthook, sys.unraisablehook = before


def exhausted() -> None:
    """Called by whoever catches a `MemoryError`: returns only in a program that is not ours to end."""
    if _armed:
        os.write(2, _LAST_WORDS)
        os._exit(ExitCode.FAILED)


def _uncaught(args: threading.ExceptHookArgs) -> None:
    if issubclass(args.exc_type, MemoryError):
        exhausted()
    threading.__excepthook__(args)


def _unraisable(args: UnraisableHookArgs) -> None:
    """A thread that cannot begin, say: whoever has started it waits for it for ever."""
    if issubclass(args.exc_type, MemoryError):
        exhausted()
    sys.__unraisablehook__(args)
