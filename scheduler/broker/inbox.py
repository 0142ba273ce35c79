"""What was read for an owner and is not applied yet."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

MAX_BACKLOG = 50_000
"""Records read but not applied; the reader waits while there are more."""


class Inbox:
    """Filled by the reader's thread, emptied by the owner's."""

    def __init__(self) -> None:
        self.room = threading.Event()
        """Set while the backlog is small."""
        self.room.set()
        self._queue: SimpleQueue[Sequence[Message]] = SimpleQueue()
        self._given = 0
        self._applied = 0

    @property
    def backlog(self) -> int:
        """Records given and not applied."""
        return self._given - self._applied

    def give(self, messages: Sequence[Message]) -> None:
        """Records and ends of the partition, in the order in which they were read."""
        self._given += len(messages)
        self._queue.put(messages)
        if self.backlog > MAX_BACKLOG:
            self.room.clear()

    def wake(self) -> None:
        """Let the owner look around; from any thread."""
        self._queue.put(())

    def next(self, seconds: float = 0.0) -> Sequence[Message]:
        """What was given first, as soon as there is any; nothing after that time."""
        try:
            return self._queue.get(timeout=seconds) if seconds > 0 else self._queue.get_nowait()
        except Empty:
            return ()

    def applied(self, count: int) -> None:
        """So many are."""
        self._applied += count
        if not self.room.is_set() and self.backlog < MAX_BACKLOG // 2:
            self.room.set()
