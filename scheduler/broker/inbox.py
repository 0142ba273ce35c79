"""What was read for an owner and is not applied yet."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

MAX_BACKLOG = 20_000
"""Records read but not applied; the reader waits while there are more."""
MAX_HELD_BYTES = 32 * 1024 * 1024
"""Of their payloads; likewise."""


class Inbox:
    """Filled by the reader's thread, emptied by the owner's."""

    def __init__(self) -> None:
        self.room = threading.Event()
        """Set while the backlog is small."""
        self.room.set()
        self._queue: SimpleQueue[Sequence[Message]] = SimpleQueue()
        self._given = 0
        self._applied = 0
        self._given_bytes = 0
        self._applied_bytes = 0

    @property
    def backlog(self) -> int:
        """Records given and not applied."""
        return self._given - self._applied

    def give(self, messages: Sequence[Message]) -> None:
        """Records and ends of the partition, in the order in which they were read."""
        self._given += len(messages)
        self._given_bytes += sum(map(len, messages))
        self._queue.put(messages)
        if self._holds(1):
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

    def applied(self, messages: Sequence[Message]) -> None:
        """These are."""
        self._applied += len(messages)
        self._applied_bytes += sum(map(len, messages))
        if not self.room.is_set() and not self._holds(0.5):
            self.room.set()

    def _holds(self, share: float) -> bool:
        """Whether more is given and not applied than that share of what may be."""
        held_bytes = self._given_bytes - self._applied_bytes
        return self.backlog > MAX_BACKLOG * share or held_bytes > MAX_HELD_BYTES * share
