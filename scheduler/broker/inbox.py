"""What was read for an owner and is not applied yet."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.broker.feed import read
from scheduler.engine.far import Versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from scheduler.broker.feed import Fact

MAX_BACKLOG = 20_000
"""Records read but not applied; the reader waits while there are more."""
MAX_HELD_BYTES = 32 * 1024 * 1024
"""Of their payloads; likewise."""


@dataclass(slots=True)
class Given:
    """Records and ends of a partition that were read one after another."""

    messages: Sequence[Message]
    """Where the facts are there, the first and the last."""
    facts: list[Fact] | None
    """What is to be told of all; None where nobody has looked yet."""
    count: int
    held_bytes: int

    @classmethod
    def unread(cls, messages: Sequence[Message]) -> Given:
        """For the owner to look at."""
        return cls(messages, None, len(messages), sum(map(len, messages)))

    @classmethod
    def looked_at(cls, messages: Sequence[Message], horizon_ms: int) -> Given:
        """Of what is far the payloads are not held."""
        facts = list(read(messages, horizon_ms))
        held = sum(len(fact[0]) for fact in facts if not isinstance(fact, Versions))
        return cls((messages[0], messages[-1]), facts, len(messages), held)

    def with_more(self, more: Given) -> Given:
        """The two as one, looked at both."""
        facts, others = self.facts or [], more.facts or []
        if facts and others and isinstance(last := facts[-1], Versions) and isinstance(first := others[0], Versions):
            last.add(*first)
            others = others[1:]
        facts.extend(others)
        messages = (self.messages[0], more.messages[-1])
        return Given(messages, facts, self.count + more.count, self.held_bytes + more.held_bytes)


NOTHING = Given.unread(())


class Inbox:
    """Filled by the reader's thread, emptied by the owner's."""

    def __init__(self) -> None:
        self.room = threading.Event()
        """Set while the backlog is small."""
        self.room.set()
        self._queue: deque[Given] = deque()
        self._asleep = threading.Lock()
        """Let go, it wakes the owner; held while nobody has woken it since its last look."""
        self._asleep.acquire()
        self._gathered: Given | None = None
        self._given = 0
        self._applied = 0
        self._given_bytes = 0
        self._applied_bytes = 0

    @property
    def backlog(self) -> int:
        """Records given and not applied."""
        return self._given - self._applied

    def give(self, messages: Sequence[Message], horizon_ms: int | None = None, *, quietly: bool = False) -> None:
        """Records and ends, in the order in which they were read; with a horizon, such as are restored.

        Those given quietly do not wake the owner, which hears them with its next look, or once it is roused.

        Those with a horizon are looked at here, and passed on later with more, or with the end. Looked at on the
        owners' threads, or passed on at once, a million take a third more of the processor: these free what another
        thread has allocated, and all of them wait for the interpreter.
        """
        given = Given.unread(messages) if horizon_ms is None else Given.looked_at(messages, horizon_ms)
        self._given += given.count
        self._given_bytes += given.held_bytes
        if self._holds(1):
            self.room.clear()
        if given.facts is not None and self._gathered is not None:
            self._gathered = self._gathered.with_more(given)
        else:
            self.pass_on()
            self._gathered = given
        if given.facts is None or messages[-1].error() is not None or not self.room.is_set():
            self.pass_on(quietly=quietly and self.room.is_set())

    def pass_on(self, *, quietly: bool = False) -> None:
        """Give what was gathered."""
        if self._gathered is not None:
            self._queue.append(self._gathered)
            self._gathered = None
            if not quietly:
                self.wake()

    def wake(self) -> None:
        """Let the owner look around; from any thread."""
        if self._asleep.locked():
            with suppress(RuntimeError):  # somebody else has woken it just now
                self._asleep.release()

    def rouse(self) -> None:
        """Let the owner hear what was given quietly, if it has not heard it yet."""
        if self._queue:
            self.wake()

    def next(self, seconds: float = 0.0) -> Given:
        """What was given first, as soon as there is any or the owner is woken; nothing after that time."""
        if seconds > 0 and not self._queue:
            self._asleep.acquire(timeout=seconds)
        return self._queue.popleft() if self._queue else NOTHING

    def applied(self, given: Given) -> None:
        """All of it is."""
        self._applied += given.count
        self._applied_bytes += given.held_bytes
        if not self.room.is_set() and not self._holds(0.5):
            self.room.set()

    def _holds(self, share: float) -> bool:
        """Whether more is given and not applied than that share of what may be."""
        held_bytes = self._given_bytes - self._applied_bytes
        return self.backlog > MAX_BACKLOG * share or held_bytes > MAX_HELD_BYTES * share
