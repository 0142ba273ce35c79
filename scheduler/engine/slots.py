"""A table of numbers by key that keeps no keys: whoever has what is numbered is asked for them."""

from __future__ import annotations

from array import array
from sys import getsizeof
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NUMBER_BITS: Final = 38
"""Enough for nine years of a thousand a second, as no number is given twice."""
_NUMBER_MASK: Final = (1 << NUMBER_BITS) - 1
_TAG_SHIFT: Final = 32 - (64 - NUMBER_BITS)
SLOT_BYTES: Final = 8
_SMALLEST: Final = 64
_STEPS_MASK: Final = 63
"""So many slots are looked at for one key. Checksums can be made to collide: what finds no slot goes elsewhere."""


class Slots:
    """Open addressing: each slot has a number and the checksum of its key, by which its place is chosen.

    The checksum is the same in every process, so that the table can be kept; the key decides, byte for byte.

    Args:
        key_of: the key of what has that number; None where that has ended. Its slot stays until the table is made anew.
    """

    def __init__(self, key_of: Callable[[int], bytes | None]) -> None:
        self._key_of = key_of
        self._slots = array("Q", bytes(8 * _SMALLEST))
        self._used = 0
        self.crowded: dict[bytes, int] = {}
        """What has found no slot; no key is in both."""
        self._some_ended = False

    @property
    def size(self) -> int:
        """Bytes of the table."""
        return getsizeof(self._slots)

    def copy(self, key_of: Callable[[int], bytes | None]) -> Slots:
        """The same for the same keys."""
        other = Slots(key_of)
        other._slots, other._used, other.crowded = self._slots[:], self._used, dict(self.crowded)
        other._some_ended = self._some_ended
        return other

    def save(self) -> tuple[memoryview, dict[str, int]]:
        """The table, and its figures."""
        return memoryview(self._slots).cast("B"), {"slots": len(self._slots), "used": self._used}

    def load(self, figures: Mapping[str, int], crowded: Mapping[bytes, int], table: memoryview) -> None:
        """What was saved.

        Raises:
            ValueError: it is not what was saved.
        """
        self._slots = array("Q")
        self._slots.frombytes(table)
        if len(self._slots) & (len(self._slots) - 1) or len(self._slots) < _SMALLEST:
            raise ValueError(f"a table of {len(self._slots)} slots")
        self._used, self.crowded, self._some_ended = figures["used"], dict(crowded), True

    def find(self, key: bytes) -> int | None:
        """The number of the key."""
        slots, tag = self._slots, crc32(key) >> _TAG_SHIFT
        mask = len(slots) - 1
        at = tag & mask
        while slot := slots[at]:
            if slot >> NUMBER_BITS == tag and self._key_of(slot & _NUMBER_MASK) == key:
                return slot & _NUMBER_MASK
            at = at + 1 & mask
            if not (at ^ tag) & _STEPS_MASK:
                break
        return self.crowded.get(key) if self.crowded else None

    def put(self, keys: Sequence[bytes], number: int) -> list[int]:
        """Give each key the next number, from that one on, by which it is known already; numbers that they had.

        A restore does this for every key: 0.3 microseconds.
        """
        self.reserve(len(keys))
        slots, key_of, crowded = self._slots, self._key_of, self.crowded
        mask, used = len(slots) - 1, self._used
        replaced: list[int] = []
        for key, checksum in zip(keys, map(crc32, keys), strict=True):
            tag = checksum >> _TAG_SHIFT
            at = tag & mask
            while slot := slots[at]:
                if slot >> NUMBER_BITS == tag and key_of(slot & _NUMBER_MASK) == key:
                    replaced.append(slot & _NUMBER_MASK)
                    slots[at] = tag << NUMBER_BITS | number
                    break
                at = at + 1 & mask
                if not (at ^ tag) & _STEPS_MASK:
                    if key in crowded:
                        replaced.append(crowded[key])
                    crowded[key] = number
                    break
            else:
                slots[at] = tag << NUMBER_BITS | number
                used += 1
                if crowded and key in crowded:
                    replaced.append(crowded.pop(key))
            number += 1
        self._used = used
        return replaced

    def ended(self, key: bytes) -> None:
        """What had the number of the key has ended."""
        self._some_ended = True
        self.crowded.pop(key, None)

    def reserve(self, more: int) -> None:
        """Make room for so many, which is cheaper than to grow time and again; a third stays empty."""
        if (self._used + more) * 3 > len(self._slots) * 2:
            self._rebuild(more)

    def _rebuild(self, more: int) -> None:
        held = [slot for slot in self._slots if slot]
        if self._some_ended:  # while a log is restored that holds what is pending and little else, none has
            held = [slot for slot in held if self._key_of(slot & _NUMBER_MASK) is not None]
        size = _SMALLEST
        while size * 2 < (len(held) + more) * 3:
            size *= 2
        slots, mask = array("Q", bytes(8 * size)), size - 1
        self._slots, self._used = slots, 0
        for slot in held:
            tag = slot >> NUMBER_BITS
            at = tag & mask
            while slots[at]:
                at = at + 1 & mask
                if not (at ^ tag) & _STEPS_MASK:
                    key = self._key_of(slot & _NUMBER_MASK)
                    if key is not None:
                        self.crowded[key] = slot & _NUMBER_MASK
                    break
            else:
                slots[at] = slot
                self._used += 1
