"""What is pending in one partition: the version in force for each key, and the order in which they are due.

Due time and offset are packed in one integer, which the dictionary and the queue share: all that is kept of a
version that is not due for a while (`Far`). Its record is read from the log again before it is needed.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from sortedcontainers import SortedList

from scheduler.instants import LATEST_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.schedule import Schedule

_OFFSET_BITS = 48
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1

NEVER_MS: Final = LATEST_MS + 1
"""Where a paused schedule stands in the order: behind everything that can be due."""


class Far(NamedTuple):
    """A version in force whose record is not in memory: a customer's one-shot, not paused."""

    due_ms: int
    offset: int


def pack(due_ms: int, offset: int) -> int:
    """One integer that sorts by due time, then by offset."""
    return due_ms << _OFFSET_BITS | offset


def place(version: Schedule | Far) -> int:
    """Where a version stands in the order of due times, as one integer; the paused stand last."""
    if isinstance(version, Far):
        return pack(*version)
    return pack(NEVER_MS if version.paused else version.due_ms, version.offset)


def _far(packed: int) -> Far:
    return Far(packed >> _OFFSET_BITS, packed & _OFFSET_MASK)


class Pending:
    """Versions in force, by key and by due time.

    Until `sort` the order is not kept: a restore sorts once at its end, and what was replaced meanwhile never.
    """

    def __init__(self) -> None:
        self._packed: dict[bytes, int] = {}
        self._bodies: dict[int, Schedule] = {}
        """By offset; of a far version there is none."""
        self._starving: set[int] = set()
        """Due, and taken from the queue for want of a body."""
        self._queue: SortedList[int] | None = None

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key: bytes) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[Schedule]:
        """Those whose bodies are here."""
        return iter(list(self._bodies.values()))

    def sort(self) -> None:
        """Keep the order from now on."""
        self._queue = SortedList(self._packed.values())

    def offset_of(self, key: bytes) -> int | None:
        """Where the version in force stands; None where there is none."""
        packed = self._packed.get(key)
        return None if packed is None else packed & _OFFSET_MASK

    def get(self, key: bytes) -> Schedule | Far | None:
        """The version in force."""
        packed = self._packed.get(key)
        return None if packed is None else self._version(packed)

    def _version(self, packed: int) -> Schedule | Far:
        return self._bodies.get(packed & _OFFSET_MASK) or _far(packed)

    def put(self, schedule: Schedule) -> None:
        """Bring a version in force; it replaces what the key had."""
        self._put(schedule.key, place(schedule))
        self._bodies[schedule.offset] = schedule

    def put_far(self, key: bytes, due_ms: int, offset: int) -> None:
        """The same without its body, which is to be supplied before it is due."""
        self._put(key, pack(due_ms, offset))

    def _put(self, key: bytes, packed: int) -> None:
        old = self._packed.get(key)
        self._packed[key] = packed
        if old is not None:
            self._bodies.pop(old & _OFFSET_MASK, None)
            self._starving.discard(old)
        if self._queue is not None:
            if old is not None:
                self._queue.discard(old)
            self._queue.add(packed)

    def amend(self, schedule: Schedule) -> None:
        """Put another reading of the very record that is in force: it is due at another time, or paused."""
        self.remove(schedule.key)
        self.put(schedule)

    def remove(self, key: bytes) -> Schedule | Far | None:
        """End the version in force and return it."""
        packed = self._packed.pop(key, None)
        if packed is None:
            return None
        if self._queue is not None:
            self._queue.discard(packed)
        self._starving.discard(packed)
        return self._bodies.pop(packed & _OFFSET_MASK, None) or _far(packed)

    def next_due_ms(self) -> int | None:
        """When the first one is due; None where nothing is pending. Only once sorted."""
        queue = self._queue
        if not queue:
            return None
        due_ms = queue[0] >> _OFFSET_BITS
        return None if due_ms == NEVER_MS else due_ms

    def take_due(self, now_ms: int) -> Schedule | Far | None:
        """The first one that is due, taken from the queue but still in force.

        It ends with `end`, or comes back with `give_back`; a far one comes back when its body is supplied.
        """
        queue = self._queue
        if not queue or queue[0] >> _OFFSET_BITS > now_ms:
            return None
        packed = queue.pop(0)
        version = self._version(packed)
        if isinstance(version, Far):
            self._starving.add(packed)
        return version

    def take(self, schedule: Schedule) -> None:
        """Take a version in force from the queue, due or not."""
        if self._queue is not None:
            self._queue.discard(place(schedule))

    def end(self, schedule: Schedule) -> None:
        """Remove a version, taken or not, unless another one is in force by now."""
        if self.offset_of(schedule.key) == schedule.offset:
            self.remove(schedule.key)

    def give_back(self, schedule: Schedule) -> None:
        """Queue a version again that was taken, if it is still in force."""
        packed = place(schedule)
        queue = self._queue
        if queue is not None and self._packed.get(schedule.key) == packed and packed not in queue:
            queue.add(packed)

    def overdue(self, now_ms: int) -> int:
        """How many are due and not taken, without walking them."""
        return 0 if self._queue is None else int(self._queue.bisect_left(pack(now_ms + 1, 0))) + len(self._starving)

    def page(self, after: int, count: int) -> list[Schedule | Far]:
        """The next so many in the queue whose place is later than `after`, in order; see `place`."""
        queue = self._queue
        if queue is None:
            return []
        start = queue.bisect_right(after)
        return [self._version(packed) for packed in queue[start : start + count]]

    # -- bodies --------------------------------------------------------------------------------------

    def far_between(self, after_ms: int, until_ms: int, limit: int) -> list[Far]:
        """The first so many far ones that are due later than `after_ms`, and not later than `until_ms`."""
        if self._queue is None:
            return []
        due = self._queue.irange(pack(after_ms + 1, 0), pack(until_ms + 1, 0), inclusive=(True, False))
        bodies = self._bodies
        return [_far(packed) for packed in islice((p for p in due if p & _OFFSET_MASK not in bodies), limit)]

    def far(self) -> list[Far]:
        """All that are far, in no order; may be called while another thread works here."""
        bodies = self._bodies
        return [_far(packed) for packed in list(self._packed.values()) if packed & _OFFSET_MASK not in bodies]

    def key_at(self, offset: int) -> bytes | None:
        """Whose version in force stands there; a walk over all."""
        return next((key for key, packed in self._packed.items() if packed & _OFFSET_MASK == offset), None)

    def supply(self, schedule: Schedule) -> None:
        """The body of a far version, if that one is still in force."""
        packed = place(schedule)
        if self._packed.get(schedule.key) != packed:
            return
        self._bodies[schedule.offset] = schedule
        if packed in self._starving:
            self._starving.discard(packed)
            if self._queue is not None:
                self._queue.add(packed)
