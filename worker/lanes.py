"""What waits for a slot: in order and one at a time within a lane, in turn between lanes. Pure.

A lane is a job id. A job with a thousand runs waiting takes one turn like any other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Lanes(Generic[T]):
    """Waiting items by lane. A lane that was taken from is busy until it is released."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._turns: dict[str, None] = {}  # lanes that have something waiting and are not busy, in turn
        self._busy: set[str] = set()

    def __len__(self) -> int:
        """How many items wait."""
        return sum(len(items) for items in self._waiting.values())

    def add(self, lane: str, item: T) -> None:
        """Let an item wait behind those of its lane."""
        self._waiting.setdefault(lane, deque()).append(item)
        if lane not in self._busy:
            self._turns.setdefault(lane)

    def take(self) -> T | None:
        """The oldest item of the lane whose turn it is; None where every lane is busy or empty."""
        lane = next(iter(self._turns), None)
        if lane is None:
            return None
        del self._turns[lane]
        self._busy.add(lane)
        items = self._waiting[lane]
        item = items.popleft()
        if not items:
            del self._waiting[lane]
        return item

    def release(self, lane: str) -> None:
        """What was taken from the lane has ended."""
        self._busy.remove(lane)
        if lane in self._waiting:
            self._turns.setdefault(lane)

    def remove(self, unwanted: Callable[[T], bool]) -> None:
        """Forget waiting items."""
        for lane, items in list(self._waiting.items()):
            kept = deque(item for item in items if not unwanted(item))
            if kept:
                self._waiting[lane] = kept
            else:
                del self._waiting[lane]
                self._turns.pop(lane, None)
