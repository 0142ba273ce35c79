"""What waits for a slot: in order and one at a time within a lane, in turn between lanes. Pure.

A lane is a job id. A job with a thousand runs waiting takes one turn like any other. Runs that may overlap go side by
side with each other, and never beside one that may not.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Lanes(Generic[T]):
    """Waiting items by lane. What was taken from a lane occupies it until it is released."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[T, bool]]] = {}
        self._turns: dict[str, None] = {}  # lanes whose first item may be taken, in turn
        self._out: dict[str, int] = {}  # how many items of the lane are taken and not released
        self._alone: set[str] = set()  # lanes out of which an item was taken that goes alone
        self._count = 0

    def __len__(self) -> int:
        """How many items wait."""
        return self._count

    def add(self, lane: str, item: T, *, beside: bool = False) -> None:
        """Let an item wait behind those of its lane.

        Args:
            lane: whose it is.
            item: what waits.
            beside: it may go beside others of its lane of which that is true too.
        """
        self._waiting.setdefault(lane, deque()).append((item, beside))
        self._count += 1
        self._give_turn(lane)

    def heads(self) -> list[T]:
        """The first of each lane that wait."""
        return [items[0][0] for items in self._waiting.values()]

    def occupied(self, lane: str) -> bool:
        """Whether something of the lane waits or is not released."""
        return lane in self._waiting or lane in self._out

    def take(self) -> T | None:
        """The oldest item of the lane whose turn it is; None where every lane is busy or empty."""
        lane = next(iter(self._turns), None)
        if lane is None:
            return None
        del self._turns[lane]
        items = self._waiting[lane]
        item, beside = items.popleft()
        self._count -= 1
        if not items:
            del self._waiting[lane]
        self._out[lane] = self._out.get(lane, 0) + 1
        if not beside:
            self._alone.add(lane)
        self._give_turn(lane)
        return item

    def release(self, lane: str) -> None:
        """Something that was taken from the lane has ended."""
        self._alone.discard(lane)
        self._out[lane] -= 1
        if not self._out[lane]:
            del self._out[lane]
        self._give_turn(lane)

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Forget waiting items; those that were forgotten."""
        gone: list[T] = []
        for lane, items in list(self._waiting.items()):
            kept: deque[tuple[T, bool]] = deque()
            for item, beside in items:
                if unwanted(item):
                    gone.append(item)
                else:
                    kept.append((item, beside))
            self._turns.pop(lane, None)
            if kept:
                self._waiting[lane] = kept
                self._give_turn(lane)
            else:
                del self._waiting[lane]
        self._count -= len(gone)
        return gone

    def _give_turn(self, lane: str) -> None:
        items = self._waiting.get(lane)
        if items is None or lane in self._alone:
            return
        if lane not in self._out or items[0][1]:
            self._turns.setdefault(lane)
