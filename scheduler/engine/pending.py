"""What is pending in one partition: the version in force for each key, and the order in which they are due.

Of a version that is not due for a while (`Far`) there is an entry in the index of the far ones and nothing else. It
comes near in good time, and its record is read from the log again. A near version has its due time and offset packed
in one integer, which the dictionary and the queue share.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from sortedcontainers import SortedList

from scheduler.engine.blocks import OFFSET_BITS, OFFSET_MASK
from scheduler.engine.far import Far, FarIndex, pack, unpack
from scheduler.instants import LATEST_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler.engine.far import Versions
    from scheduler.schedule import Schedule

NEVER_MS: Final = LATEST_MS + 1
"""Where a paused schedule stands in the order: behind everything that can be due."""
AT_ONCE: Final = 20_000
"""Far versions that come near in one go where they are due already."""
_REBUILDS: Final = 8
"""A sorted list that loses an eighth of what it has at once is made anew, in less time than it takes to remove that."""


def place(version: Schedule | Far) -> int:
    """Where a version stands in the order of due times, as one integer; the paused stand last."""
    if isinstance(version, Far):
        return pack(*version)
    return pack(NEVER_MS if version.paused else version.due_ms, version.offset)


class Pending:
    """Versions in force, by key and by due time.

    Until `sort` the order is not kept: a restore sorts once at its end, and what was replaced meanwhile never.
    """

    def __init__(self) -> None:
        self._near: dict[bytes, int] = {}
        self._far = FarIndex()
        """A key is here or among the near, never in both."""
        self._bodies: dict[int, Schedule] = {}
        """By offset; of a near version there may be none, of a far one there never is."""
        self._starving: set[int] = set()
        """Due, and taken from the queue for want of a body."""
        self._queue: SortedList[int] | None = None

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def __contains__(self, key: bytes) -> bool:
        return key in self._near or self._far.get(key) is not None

    def has_none_of(self, keys: Sequence[bytes]) -> bool:
        """Whether nothing is in force under any of these."""
        return self._near.keys().isdisjoint(keys) and (
            not len(self._far) or all(self._far.get(key) is None for key in keys)
        )

    def __iter__(self) -> Iterator[Schedule]:
        """Those whose bodies are here."""
        return iter(list(self._bodies.values()))

    def keep(self) -> tuple[FarIndex, dict[bytes, int], dict[int, Schedule]]:
        """All as it is now: the far, the places of the near by key, and the bodies that there are by offset."""
        return self._far.copy(), dict(self._near), dict(self._bodies)

    def resume(self, far: FarIndex) -> None:
        """Begin with the far ones of another time."""
        self._far = far

    def reserve(self, count: int) -> None:
        """Room for so many far ones, before many come."""
        self._far.reserve(count)

    def sort(self) -> None:
        """Keep the order from now on."""
        self._queue = SortedList(self._near.values())

    def _place(self, key: bytes) -> int | None:
        near = self._near.get(key)
        return self._far.get(key) if near is None else near

    def offset_of(self, key: bytes) -> int | None:
        """Where the version in force stands; None where there is none."""
        packed = self._place(key)
        return None if packed is None else packed & OFFSET_MASK

    def get(self, key: bytes) -> Schedule | Far | None:
        """The version in force."""
        packed = self._place(key)
        return None if packed is None else self._version(packed)

    def _version(self, packed: int) -> Schedule | Far:
        return self._bodies.get(packed & OFFSET_MASK) or unpack(packed)

    def put(self, schedule: Schedule) -> None:
        """Bring a version in force; it replaces what the key had."""
        self.remove(schedule.key)
        self._come(schedule.key, place(schedule))
        self._bodies[schedule.offset] = schedule

    def put_far(self, versions: Versions) -> None:
        """The same without bodies, which are to be supplied before they are due."""
        if self._near and not self._near.keys().isdisjoint(versions.keys):
            for key in versions.keys:
                if key in self._near:
                    self.remove(key)
        self._far.put(versions)

    def _come(self, key: bytes, packed: int) -> None:
        self._near[key] = packed
        if self._queue is not None:
            self._queue.add(packed)

    def amend(self, schedule: Schedule) -> None:
        """Put another reading of the very record that is in force: it is due at another time, or paused."""
        self.put(schedule)

    def remove(self, key: bytes) -> Schedule | Far | None:
        """End the version in force and return it."""
        packed = self._near.pop(key, None)
        if packed is None:
            packed = self._far.remove(key)
            return None if packed is None else unpack(packed)
        if self._queue is not None:
            self._queue.discard(packed)
        self._starving.discard(packed)
        return self._bodies.pop(packed & OFFSET_MASK, None) or unpack(packed)

    def next_due_ms(self) -> int | None:
        """When the first one is due; None where nothing is pending. Only once sorted."""
        queue = self._queue
        if queue is None:
            return None
        far_ms = self._far.first_due_ms()
        if not queue:
            return far_ms
        due_ms = queue[0] >> OFFSET_BITS
        if far_ms is not None and far_ms < due_ms:
            return far_ms
        return None if due_ms == NEVER_MS else due_ms

    def take_due(self, now_ms: int, limit: int) -> list[Schedule | Far]:
        """The first so many that are due, taken from the queue but still in force.

        Each ends with `end`, or comes back with `give_back`; a far one comes back when its body is supplied.
        """
        queue = self._queue
        if queue is None:
            return []
        count = queue.bisect_left(pack(now_ms + 1, 0))
        # otherwise nobody may have looked ahead in time: the process stood still, or the clock has jumped
        if not count and self.come_near(now_ms, AT_ONCE):
            count = queue.bisect_left(pack(now_ms + 1, 0))
        count = min(count, limit)
        if count * _REBUILDS < len(queue):
            taken = [queue.pop(0) for _ in range(count)]
        else:
            taken = queue[:count]
            del queue[:count]
        bodies = self._bodies
        versions: list[Schedule | Far] = []
        for packed in taken:
            version = bodies.get(packed & OFFSET_MASK)
            if version is None:
                self._starving.add(packed)
                versions.append(unpack(packed))
            else:
                versions.append(version)
        return versions

    def take(self, schedule: Schedule) -> None:
        """Take a version in force from the queue, due or not."""
        if self._queue is not None:
            self._queue.discard(place(schedule))

    def end(self, schedule: Schedule) -> None:
        """Remove a version, taken or not, unless another one is in force by now."""
        if self.offset_of(schedule.key) == schedule.offset:
            self.remove(schedule.key)

    def end_taken(self, schedule: Schedule) -> None:
        """The same of one that was taken and is not back in the queue: a third of the time."""
        key, offset = schedule.key, schedule.offset
        packed = self._near.get(key)
        if packed is not None and packed & OFFSET_MASK == offset:
            del self._near[key]
            self._bodies.pop(offset, None)

    def give_back(self, schedule: Schedule) -> None:
        """Queue a version again that was taken, if it is still in force."""
        packed = place(schedule)
        queue = self._queue
        if queue is not None and self._near.get(schedule.key) == packed and packed not in queue:
            queue.add(packed)

    def overdue(self, now_ms: int) -> int:
        """How many are due and not taken, without walking them."""
        if self._queue is None:
            return 0
        near = int(self._queue.bisect_left(pack(now_ms + 1, 0)))
        return near + len(self._starving) + self._far.due_until(now_ms)

    def page(self, after: int, count: int) -> list[Schedule | Far]:
        """The next so many in the queue whose place is later than `after`, in order; see `place`."""
        queue = self._queue
        if queue is None:
            return []
        start = queue.bisect_right(after)
        both = merge(queue[start : start + count], self._far.page(after, count))
        return [self._version(packed) for packed in islice(both, count)]

    # -- bodies --------------------------------------------------------------------------------------

    def come_near(self, until_ms: int, limit: int) -> list[Far]:
        """The first so many far ones that are due until then, in order; they are near now, and want their bodies."""
        if self._queue is None:
            return []
        coming = self._far.take(until_ms, limit)
        self._near.update(coming)
        self._queue.update(packed for _, packed in coming)
        return [unpack(packed) for _, packed in coming]

    def soon(self, until_ms: int, limit: int) -> list[Far]:
        """The same, but they stay where they are; one whose body is supplied comes near."""
        return [unpack(packed) for packed in self._far.soon(until_ms, limit)]

    def far(self) -> list[Far]:
        """All that have no bodies, in no order; may be called while another thread works here."""
        bodies = self._bodies
        near = [unpack(packed) for packed in list(self._near.values()) if packed & OFFSET_MASK not in bodies]
        return [*near, *map(unpack, self._far)]

    def far_by_target(self) -> dict[str, int]:
        """How many far ones each target has, by its name; without those that come near just now."""
        return self._far.by_target()

    def key_at(self, offset: int) -> bytes | None:
        """Whose version in force stands there; a walk over all."""
        near = (key for key, packed in self._near.items() if packed & OFFSET_MASK == offset)
        return next(near, None) or self._far.key_at(offset)

    def supply(self, schedule: Schedule) -> None:
        """The body of a far version, if that one is still in force."""
        key, packed = schedule.key, place(schedule)
        if self._far.get(key) == packed:
            self.put(schedule)
        elif self._near.get(key) == packed:
            self._bodies[schedule.offset] = schedule
            if packed in self._starving:
                self._starving.discard(packed)
                if self._queue is not None:
                    self._queue.add(packed)
