"""Versions in force whose records are not in memory: key, due time, offset and target of each, some fifty bytes.

They lie in blocks of arrays, in the order in which they came. One that is replaced or taken leaves a hole, and what is
left of a block that is mostly holes moves into the last one. The target of each is a number, to be counted by.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from scheduler.engine.blocks import BLOCK, HOLE, INDEX_BITS, OFFSET_BITS, OFFSET_MASK, Block, Reading
from scheduler.engine.far_targets import FarTargets
from scheduler.engine.slots import SLOT_BYTES, Slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_INDEX_MASK: Final = BLOCK - 1
_FEW: Final = BLOCK // 4


class Far(NamedTuple):
    """A version in force whose record is not in memory: a customer's one-shot, not paused."""

    due_ms: int
    offset: int


class Versions(NamedTuple):
    """Some that come one after another, side by side: their keys, due times, offsets and targets."""

    keys: list[bytes]
    dues: list[int]
    offsets: list[int]
    targets: list[bytes]

    @classmethod
    def none(cls) -> Versions:
        """To be added to."""
        return cls([], [], [], [])

    def add(self, keys: Iterable[bytes], dues: Iterable[int], offsets: Iterable[int], targets: Iterable[bytes]) -> None:
        """As many more of each."""
        self.keys.extend(keys)
        self.dues.extend(dues)
        self.offsets.extend(offsets)
        self.targets.extend(targets)


def pack(due_ms: int, offset: int) -> int:
    """The place of a version: one integer that sorts by due time, then by offset."""
    return due_ms << OFFSET_BITS | offset


def unpack(place: int) -> Far:
    """What stands at a place."""
    return Far(place >> OFFSET_BITS, place & OFFSET_MASK)


class Saved(NamedTuple):
    """An index as data: figures, keys that collided, and arrays."""

    head: dict[str, Any]
    crowded: dict[bytes, int]
    parts: Sequence[memoryview]


class FarIndex:
    """Versions by key, and in order of their due times."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._last = self._open_block(1)
        self._slots = Slots(self._key_of)
        self._targets = FarTargets()
        self._count = 0
        self._first_due_ms: int | None = None
        self._first_is_known = True

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """The places of all, in no order; may be called while another thread works here."""
        for block in list(self._blocks.values()):
            for due_ms, offset in zip(block.dues, block.offsets, strict=False):
                if offset != HOLE:
                    yield due_ms << OFFSET_BITS | offset

    @property
    def size(self) -> int:
        """Bytes, without those of Python's own objects."""
        return self._slots.size + sum(block.size for block in self._blocks.values())

    def reserve(self, count: int) -> None:
        """Room for so many, before many come."""
        self._slots.reserve(count)

    def copy(self) -> FarIndex:
        """The same, which stands still: it shares with this one what does not change any more."""
        other = FarIndex()
        other._blocks = {number: each.copy(grows=each is self._last) for number, each in self._blocks.items()}
        other._last = other._blocks[self._last.number]
        other._slots = self._slots.copy(other._key_of)
        other._targets = self._targets.copy()
        other._count, other._first_is_known = self._count, False
        return other

    def save(self) -> Saved:
        """All of it as data."""
        blocks = [[each.number, len(each.dues), len(each.keys)] for each in self._blocks.values()]
        slots, head = self._slots.save()
        parts = [part for each in self._blocks.values() for part in each.parts()]
        own = {"blocks": blocks, "last": self._last.number, "targets": self._targets.save()}
        return Saved({**own, **head}, self._slots.crowded, [*parts, slots])

    @classmethod
    def load(cls, saved: Saved) -> FarIndex:
        """The same as was saved.

        Raises:
            KeyError, TypeError, ValueError: it is not what was saved.
        """
        index, (part,) = cls(), saved.parts
        data = Reading(part)
        index._blocks = {number: Block.of(number, count, size, data) for number, count, size in saved.head["blocks"]}
        index._last = index._blocks[saved.head["last"]]
        index._slots.load(saved.head, saved.crowded, data.take(saved.head["slots"] * SLOT_BYTES))
        data.end()
        index._targets = FarTargets.load(
            saved.head["targets"], (block.targets_of_all() for block in index._blocks.values())
        )
        index._count = sum(block.live for block in index._blocks.values())
        index._first_is_known = False
        return index

    # -- by key --------------------------------------------------------------------------------------

    def put(self, versions: Versions) -> None:
        """Bring versions in force; they replace what the keys have here."""
        start, end, targets = 0, len(versions.keys), self._targets.come(versions.targets)
        while start < end:
            block = self._last
            count = len(block.dues)
            if count == BLOCK:
                block.fit()
                block, count = self._open_block(block.number + 1), 0
                self._last = block
            some = slice(start, start + BLOCK - count)
            start = some.stop
            keys, dues = versions.keys[some], versions.dues[some]
            block.add(keys, dues, versions.offsets[some], targets[some])
            self._count += len(keys)
            first_ms = min(dues)
            if self._first_due_ms is None or first_ms < self._first_due_ms:
                self._first_due_ms = first_ms
            self._leave_holes(self._slots.put(keys, block.number << INDEX_BITS | count))

    def get(self, key: bytes) -> int | None:
        """The place of the version of the key."""
        if not self._count or (number := self._slots.find(key)) is None:
            return None
        return self._blocks[number >> INDEX_BITS].place(number & _INDEX_MASK)

    def remove(self, key: bytes) -> int | None:
        """End the version of the key; its place."""
        if not self._count or (number := self._slots.find(key)) is None:
            return None
        place = self._blocks[number >> INDEX_BITS].place(number & _INDEX_MASK)
        self._slots.ended(key)
        self._leave_holes([number])
        return place

    def key_at(self, offset: int) -> bytes | None:
        """Whose version stands there; a walk over all."""
        for block in self._blocks.values():
            if offset in block.offsets:
                return block.key(block.offsets.index(offset))
        return None

    def _key_of(self, number: int) -> bytes | None:
        block, index = self._blocks.get(number >> INDEX_BITS), number & _INDEX_MASK
        return None if block is None or block.offsets[index] == HOLE else block.key(index)

    def _open_block(self, number: int) -> Block:
        block = self._blocks[number] = Block(number)
        return block

    def _leave_holes(self, numbers: Sequence[int]) -> None:
        sparse: dict[int, Block] = {}
        for number in numbers:
            block, index = self._blocks[number >> INDEX_BITS], number & _INDEX_MASK
            if block.dues[index] == self._first_due_ms:
                self._first_is_known = False
            block.offsets[index] = HOLE
            self._targets.leave(block.targets[index])
            block.live -= 1
            if block.live < _FEW and block is not self._last:
                sparse[block.number] = block
        self._count -= len(numbers)
        for block in sparse.values():  # only now: all that is left of it is in force
            self._dissolve(block)

    def _dissolve(self, block: Block) -> None:
        """What is left of a block comes anew."""
        indices = block.indices()
        targets = [block.targets[index] for index in indices]
        for number in targets:
            self._targets.leave(number)
        left = Versions(
            list(map(block.key, indices)),
            [block.dues[index] for index in indices],
            [block.offsets[index] for index in indices],
            list(map(self._targets.name, targets)),
        )
        del self._blocks[block.number]
        self._count -= len(indices)
        for key in left.keys:
            self._slots.ended(key)
        if indices:
            self.put(left)

    def by_target(self) -> dict[str, int]:
        """How many there are of each target, by its name."""
        return self._targets.counts()

    # -- in order ------------------------------------------------------------------------------------

    def first_due_ms(self) -> int | None:
        """When the first one is due."""
        if not self._first_is_known:
            dues = (block.first_due_ms() for block in self._blocks.values())
            self._first_due_ms = min((due_ms for due_ms in dues if due_ms is not None), default=None)
            self._first_is_known = True
        return self._first_due_ms

    def page(self, after: int, count: int) -> list[int]:
        """The next so many places behind that one, in order."""
        return [place for place, _, _ in islice(self._walk(after), count)] if self._count else []

    def take(self, until_ms: int, limit: int) -> list[tuple[bytes, int]]:
        """The first so many that are due until then, in order: their keys and places; they are here no longer."""
        taken = [(block.key(index), place) for place, index, block in self._soon(until_ms, limit)]
        for key, _ in taken:
            self.remove(key)
        return taken

    def soon(self, until_ms: int, limit: int) -> list[int]:
        """The places of the first so many that are due until then, in order; they stay."""
        return [place for place, _, _ in self._soon(until_ms, limit)]

    def _soon(self, until_ms: int, limit: int) -> list[tuple[int, int, Block]]:
        first_ms = self.first_due_ms()
        if first_ms is None or first_ms > until_ms:
            return []
        end = pack(until_ms + 1, 0)
        return list(islice(takewhile(lambda each: each[0] < end, self._walk(-1, until_ms)), limit))

    def due_until(self, until_ms: int) -> int:
        """How many are due until then; none as a rule, for then they are to be taken."""
        first_ms = self.first_due_ms()
        if first_ms is None or first_ms > until_ms:
            return 0
        end = pack(until_ms + 1, 0)
        return sum(place < end for place in self)

    def _walk(self, after: int, until_ms: int | None = None) -> Iterator[tuple[int, int, Block]]:
        walks = []
        for block in self._blocks.values():
            first_ms = block.first_due_ms()
            if first_ms is not None and (until_ms is None or first_ms <= until_ms):
                walks.append(block.walk(after))
        return merge(*walks)
