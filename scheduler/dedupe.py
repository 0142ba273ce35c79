"""Handles each occurrence once, however many copies of its message arrive: by their fire id, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from scheduler.errors import InputError
from scheduler.messages import fire_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from confluent_kafka import Message

    from scheduler.schedule import Header

REMEMBERED = 100_000
"""Fire ids; about 12 MB of them."""


class _Handled:
    """The fire ids that were handled last."""

    def __init__(self, remembered: int) -> None:
        if remembered < 1:
            raise InputError(f"remembered: {remembered} fire ids are none to compare with")
        self._remembered = remembered
        self._names: OrderedDict[str, None] = OrderedDict()
        """The first key of a dict lies behind all that were deleted: with it, an id took 29 us."""

    def add(self, name: str) -> None:
        self._names[name] = None
        if len(self._names) > self._remembered:
            self._names.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name in self._names


class Deduplicator:
    """Remembers which occurrences have been handled; any thread may use it.

    It is this process's memory: it forgets with the process, and the oldest fire ids first. What must be handled once
    whatever happens keeps the fire id where it keeps its work, in the same transaction; docs/library.md shows it.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        """Make one that remembers so many fire ids.

        Raises:
            InputError: it would remember none.
        """
        self._handled = _Handled(remembered)
        self._changed = threading.Condition()
        self._running: set[str] = set()

    @contextmanager
    def once(self, message: Message | Iterable[Header]) -> Iterator[bool]:
        """Say whether the message is the first of its occurrence; when the block ends, it has been handled.

        A block that raises has not handled it, and its next copy is the first again. Another thread's copy waits
        until then. A message that the scheduler did not bring has no fire id and is always a first.

        Args:
            message: a message, or its headers.

        Raises:
            InputError: its headers cannot be read.
        """
        name = fire_id(message)
        if name is None:
            yield True
        elif not self._begin(name):
            yield False
        else:
            handled = False
            try:
                yield True
                handled = True
            finally:
                self._end(name, handled=handled)

    def _begin(self, name: str) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: name not in self._running)
            if name in self._handled:
                return False
            self._running.add(name)
            return True

    def _end(self, name: str, *, handled: bool) -> None:
        with self._changed:
            self._running.discard(name)
            if handled:
                self._handled.add(name)
            self._changed.notify_all()


class AsyncDeduplicator:
    """The same for the tasks of one event loop."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        """Make one that remembers so many fire ids.

        Raises:
            InputError: it would remember none.
        """
        self._handled = _Handled(remembered)
        self._running: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def once(self, message: Message | Iterable[Header]) -> AsyncIterator[bool]:
        """Say whether the message is the first of its occurrence; see `Deduplicator.once`.

        Args:
            message: a message, or its headers.

        Raises:
            InputError: its headers cannot be read.
        """
        name = fire_id(message)
        if name is None:
            yield True
            return
        while name in self._running:
            await self._running[name].wait()
        if name in self._handled:
            yield False
            return
        ended = self._running[name] = asyncio.Event()
        try:
            yield True
            self._handled.add(name)
        finally:
            del self._running[name]
            ended.set()
