"""How many far versions each target has: a target is a number of two bytes beside each version."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

MOST: Final = 1 << 16
UNKNOWN: Final = b""
"""Of a version whose record is being read; and of those beyond the first 65,535 targets."""


class FarTargets:
    """Numbers of targets, and how many versions there are of each."""

    def __init__(self) -> None:
        self._numbers = {UNKNOWN: 0}
        self._names = [UNKNOWN]
        self._counts: Counter[int] = Counter()

    def come(self, targets: Sequence[bytes]) -> list[int]:
        """Count one more of each; their numbers."""
        first, count = targets[0], len(targets)
        if targets.count(first) == count:  # as most often
            number = self._number(first)
            self._counts[number] += count
            return [number] * count
        numbers = list(map(self._number, targets))
        self._counts.update(numbers)
        return numbers

    def leave(self, number: int) -> None:
        """Count one less."""
        self._counts[number] -= 1

    def name(self, number: int) -> bytes:
        """Of the target."""
        return self._names[number]

    def counts(self) -> dict[str, int]:
        """How many there are of each, by name; the unknown under none."""
        return {self._names[number].decode(): count for number, count in self._counts.items() if count}

    def _number(self, name: bytes) -> int:
        number = self._numbers.get(name)
        if number is None:
            if len(self._names) == MOST:
                return 0
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number

    def copy(self) -> FarTargets:
        """The same, on its own."""
        other = FarTargets()
        other._numbers, other._names = dict(self._numbers), list(self._names)
        other._counts = self._counts.copy()
        return other

    def save(self) -> list[str]:
        """The names, in the order of their numbers."""
        return [name.decode() for name in self._names]

    @classmethod
    def load(cls, names: Sequence[str], numbers: Iterable[array[int]]) -> FarTargets:
        """What was saved, and the numbers of all that are counted.

        Raises:
            ValueError: one has no name, or a name is there twice.
        """
        targets = cls()
        targets._names = [name.encode() for name in names]
        targets._numbers = {name: number for number, name in enumerate(targets._names)}
        if len(targets._numbers) != len(names) or targets._names[:1] != [UNKNOWN] or len(names) > MOST:
            raise ValueError("names of targets that are not what was saved")
        for some in numbers:
            if len(some) and some.tobytes() == some[:1].tobytes() * len(some):  # as most often: a hundredth of the time
                targets._counts[some[0]] += len(some)
            else:
                targets._counts.update(some)
        if max(targets._counts, default=0) >= len(names):
            raise ValueError("a target without a name")
        return targets
