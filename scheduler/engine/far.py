"""Versions in force whose records are not in memory: key, due time and offset of each, some fifty bytes in all.

They lie in blocks of arrays, in the order in which they came. One that is replaced or taken leaves a hole, and what is
left of a block that is mostly holes moves into the last one.
"""

from __future__ import annotations

from array import array
from heapq import merge
from itertools import accumulate, islice, takewhile
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from scheduler.engine.slots import SLOT_BYTES, Slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OFFSET_BITS: Final = 48
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1

INDEX_BITS: Final = 12
BLOCK: Final = 1 << INDEX_BITS
"""Versions in a block: it is sorted in 2 ms. A million has 250, each of which is looked at when it is looked ahead."""
_INDEX_MASK: Final = BLOCK - 1
_FEW: Final = BLOCK // 4
_HOLE: Final = -1


class Far(NamedTuple):
    """A version in force whose record is not in memory: a customer's one-shot, not paused."""

    due_ms: int
    offset: int


class Versions(NamedTuple):
    """Some that come one after another, side by side: their keys, due times and offsets."""

    keys: list[bytes]
    dues: list[int]
    offsets: list[int]

    @classmethod
    def of(cls, versions: Iterable[tuple[bytes, int, int]]) -> Versions:
        """Of each its key, due time and offset."""
        keys, dues, offsets = zip(*versions, strict=True)
        return cls(list(keys), list(dues), list(offsets))

    def add(self, keys: Iterable[bytes], dues: Iterable[int], offsets: Iterable[int]) -> None:
        """As many more of each."""
        self.keys.extend(keys)
        self.dues.extend(dues)
        self.offsets.extend(offsets)


def pack(due_ms: int, offset: int) -> int:
    """The place of a version: one integer that sorts by due time, then by offset."""
    return due_ms << OFFSET_BITS | offset


def unpack(place: int) -> Far:
    """What stands at a place."""
    return Far(place >> OFFSET_BITS, place & OFFSET_MASK)


class Reading:
    """Bytes that are taken from the front."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, count: int) -> memoryview:
        """The next so many.

        Raises:
            ValueError: there are fewer.
        """
        taken, self._data = self._data[:count], self._data[count:]
        if len(taken) < count:
            raise ValueError(f"{count - len(taken)} bytes are missing")
        return taken

    def end(self) -> None:
        """Make sure that nothing is left.

        Raises:
            ValueError: something is.
        """
        if len(self._data):
            raise ValueError(f"{len(self._data)} bytes are left over")


class Block:
    """Some thousand versions: arrays side by side with an entry for each, that are full once and only lose then."""

    __slots__ = ("_order", "_start", "dues", "ends", "keys", "live", "number", "offsets")

    def __init__(self, number: int) -> None:
        self.number = number
        self.dues = array("q")
        self.offsets = array("q")
        """A hole has none."""
        self.keys = bytearray()
        self.ends = array("I")
        """Where each key ends among the keys; it begins where the one before ends."""
        self.live = 0
        self._order = array("H")
        self._start = 0
        """In the order; before it are holes only."""

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(map(getsizeof, (self.dues, self.offsets, self.keys, self.ends, self._order)))

    def key(self, index: int) -> bytes:
        """The key of a version, or of a hole."""
        return bytes(self.keys[self.ends[index - 1] if index else 0 : self.ends[index]])

    def add(self, keys: Sequence[bytes], dues: list[int], offsets: list[int]) -> None:
        """Some more, as many as there is room for."""
        # half of what `extend` takes of a list
        self.dues.fromlist(dues)
        self.offsets.fromlist(offsets)
        ends = accumulate(map(len, keys), initial=len(self.keys))
        next(ends)
        self.ends.extend(ends)
        self.keys += b"".join(keys)
        self.live += len(keys)

    def place(self, index: int) -> int:
        """Where a version stands in the order of all."""
        return self.dues[index] << OFFSET_BITS | self.offsets[index]

    def indices(self) -> list[int]:
        """Of those that are no holes."""
        return [index for index, offset in enumerate(self.offsets) if offset != _HOLE]

    def first_due_ms(self) -> int | None:
        """When the soonest is due; None where nothing is left."""
        if self.live == len(self.dues):
            return min(self.dues, default=None)
        if len(self._order) != len(self.dues):
            return min((self.dues[index] for index in self.indices()), default=None)
        order, offsets, start = self._order, self.offsets, self._start
        while start < len(order) and offsets[order[start]] == _HOLE:
            start += 1
        self._start = start
        return self.dues[order[start]] if start < len(order) else None

    def walk(self, after: int) -> Iterator[tuple[int, int, Block]]:
        """Those behind a place, in order: place, index and this block."""
        order, dues, offsets = self._sorted(), self.dues, self.offsets
        low, high, after_ms = self._start, len(order), after >> OFFSET_BITS
        while low < high:
            middle = (low + high) // 2
            if dues[order[middle]] < after_ms:
                low = middle + 1
            else:
                high = middle
        for index in order[low:]:
            offset = offsets[index]
            if offset != _HOLE and (place := dues[index] << OFFSET_BITS | offset) > after:
                yield place, index, self

    def _sorted(self) -> array[int]:
        count = len(self.dues)
        if len(self._order) != count:
            # by offset first: a sort keeps the order of equals. They come so, but for what has moved here
            by_offset = sorted(range(count), key=self.offsets.__getitem__)
            self._order, self._start = array("H", sorted(by_offset, key=self.dues.__getitem__)), 0
        return self._order

    def copy(self, *, grows: bool) -> Block:
        """The same; what does not change any more is shared."""
        other = Block(self.number)
        other.dues, other.ends, other.keys = self.dues, self.ends, self.keys
        if grows:
            other.dues, other.ends, other.keys = self.dues[:], self.ends[:], self.keys[:]
        other.offsets, other.live = self.offsets[:], self.live
        return other

    def parts(self) -> list[memoryview]:
        """Its arrays."""
        return [memoryview(each).cast("B") for each in (self.dues, self.offsets, self.ends, self.keys)]

    @classmethod
    def of(cls, number: int, count: int, keys_size: int, data: Reading) -> Block:
        """From its arrays."""
        block = cls(number)
        for each in (block.dues, block.offsets, block.ends):
            each.frombytes(data.take(count * each.itemsize))
        block.keys += data.take(keys_size)
        if block.ends and block.ends[-1] != keys_size:
            raise ValueError(f"block {number}: keys of {block.ends[-1]} bytes, and {keys_size} are there")
        block.live = count - block.offsets.count(_HOLE)
        return block

    def fit(self) -> None:
        """Give back what the arrays have in reserve, about an eighth: nothing more comes here."""
        self.dues, self.offsets, self.ends = self.dues[:], self.offsets[:], self.ends[:]
        self.keys = bytearray(bytes(self.keys))


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
        self._count = 0
        self._first_due_ms: int | None = None
        self._first_is_known = True

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """The places of all, in no order; may be called while another thread works here."""
        for block in list(self._blocks.values()):
            for due_ms, offset in zip(block.dues, block.offsets, strict=False):
                if offset != _HOLE:
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
        other._count, other._first_is_known = self._count, False
        return other

    def save(self) -> Saved:
        """All of it as data."""
        blocks = [[each.number, len(each.dues), len(each.keys)] for each in self._blocks.values()]
        slots, head = self._slots.save()
        parts = [part for each in self._blocks.values() for part in each.parts()]
        return Saved({"blocks": blocks, "last": self._last.number, **head}, self._slots.crowded, [*parts, slots])

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
        index._count = sum(block.live for block in index._blocks.values())
        index._first_is_known = False
        return index

    # -- by key --------------------------------------------------------------------------------------

    def put(self, versions: Versions) -> None:
        """Bring versions in force; they replace what the keys have here."""
        start, end = 0, len(versions.keys)
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
            block.add(keys, dues, versions.offsets[some])
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
        return None if block is None or block.offsets[index] == _HOLE else block.key(index)

    def _open_block(self, number: int) -> Block:
        block = self._blocks[number] = Block(number)
        return block

    def _leave_holes(self, numbers: Sequence[int]) -> None:
        sparse: dict[int, Block] = {}
        for number in numbers:
            block, index = self._blocks[number >> INDEX_BITS], number & _INDEX_MASK
            if block.dues[index] == self._first_due_ms:
                self._first_is_known = False
            block.offsets[index] = _HOLE
            block.live -= 1
            if block.live < _FEW and block is not self._last:
                sparse[block.number] = block
        self._count -= len(numbers)
        for block in sparse.values():  # only now: all that is left of it is in force
            self._dissolve(block)

    def _dissolve(self, block: Block) -> None:
        """What is left of a block comes anew."""
        left = [(block.key(index), block.dues[index], block.offsets[index]) for index in block.indices()]
        del self._blocks[block.number]
        self._count -= len(left)
        for key, _, _ in left:
            self._slots.ended(key)
        if left:
            self.put(Versions.of(left))

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
        first_ms = self.first_due_ms()
        if first_ms is None or first_ms > until_ms:
            return []
        end = pack(until_ms + 1, 0)
        found = list(islice(takewhile(lambda each: each[0] < end, self._walk(-1, until_ms)), limit))
        taken = [(block.key(index), place) for place, index, block in found]
        for key, _ in taken:
            self.remove(key)
        return taken

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
