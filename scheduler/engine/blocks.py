"""Some thousand far versions in arrays side by side: what the index of the far ones is made of."""

from __future__ import annotations

from array import array
from itertools import accumulate
from sys import getsizeof
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OFFSET_BITS: Final = 48
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1

INDEX_BITS: Final = 12
BLOCK: Final = 1 << INDEX_BITS
"""Versions in a block: it is sorted in 2 ms. A million has 250, each of which is looked at when it is looked ahead."""
HOLE: Final = -1


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

    __slots__ = ("_order", "_start", "dues", "ends", "keys", "live", "number", "offsets", "targets")

    def __init__(self, number: int) -> None:
        self.number = number
        self.dues = array("q")
        self.offsets = array("q")
        """A hole has none."""
        self.targets = array("H")
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
        return sum(map(getsizeof, (self.dues, self.offsets, self.targets, self.keys, self.ends, self._order)))

    def key(self, index: int) -> bytes:
        """The key of a version, or of a hole."""
        return bytes(self.keys[self.ends[index - 1] if index else 0 : self.ends[index]])

    def add(self, keys: Sequence[bytes], dues: list[int], offsets: list[int], targets: list[int]) -> None:
        """Some more, as many as there is room for."""
        # half of what `extend` takes of a list
        self.dues.fromlist(dues)
        self.offsets.fromlist(offsets)
        self.targets.fromlist(targets)
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
        return [index for index, offset in enumerate(self.offsets) if offset != HOLE]

    def targets_of_all(self) -> array[int]:
        """Of those that are no holes."""
        if self.live == len(self.targets):
            return self.targets
        return array("H", [self.targets[index] for index in self.indices()])

    def first_due_ms(self) -> int | None:
        """When the soonest is due; None where nothing is left."""
        if self.live == len(self.dues):
            return min(self.dues, default=None)
        if len(self._order) != len(self.dues):
            return min((self.dues[index] for index in self.indices()), default=None)
        order, offsets, start = self._order, self.offsets, self._start
        while start < len(order) and offsets[order[start]] == HOLE:
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
            if offset != HOLE and (place := dues[index] << OFFSET_BITS | offset) > after:
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
        other.dues, other.targets, other.ends, other.keys = self.dues, self.targets, self.ends, self.keys
        if grows:
            other.dues, other.targets, other.ends, other.keys = (
                self.dues[:],
                self.targets[:],
                self.ends[:],
                self.keys[:],
            )
        other.offsets, other.live = self.offsets[:], self.live
        return other

    def parts(self) -> list[memoryview]:
        """Its arrays."""
        return [memoryview(each).cast("B") for each in (self.dues, self.offsets, self.targets, self.ends, self.keys)]

    @classmethod
    def of(cls, number: int, count: int, keys_size: int, data: Reading) -> Block:
        """From its arrays."""
        block = cls(number)
        for each in (block.dues, block.offsets, block.targets, block.ends):
            each.frombytes(data.take(count * each.itemsize))
        block.keys += data.take(keys_size)
        if block.ends and block.ends[-1] != keys_size:
            raise ValueError(f"block {number}: keys of {block.ends[-1]} bytes, and {keys_size} are there")
        block.live = count - block.offsets.count(HOLE)
        return block

    def fit(self) -> None:
        """Give back what the arrays have in reserve, about an eighth: nothing more comes here."""
        self.dues, self.offsets, self.targets, self.ends = (
            each[:] for each in (self.dues, self.offsets, self.targets, self.ends)
        )
        self.keys = bytearray(bytes(self.keys))
