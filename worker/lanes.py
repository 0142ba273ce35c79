"""What waits for a slot: in order and one at a time within a lane, in turn between lanes. Pure.

A lane is a job id. A job with a thousand runs waiting takes one turn like any other. Runs that may overlap go side by
side with each other, and never beside one that may not.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Lanes(Generic[T]):
    """Waiting items by lane. What was taken from a lane occupies it until it is released."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[T, bool]] = {}
        self._behind: dict[str, deque[tuple[T, bool]]] = {}  # most lanes have one item: a deque has room for 64
        # lanes whose first item may be taken, in turn; the first key of a dict is found behind all that were deleted
        # before it, which of 30,000 lanes took 10 us
        self._turns: OrderedDict[str, None] = OrderedDict()
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
        self._count += 1
        if lane in self._first:
            self._behind.setdefault(lane, deque()).append((item, beside))
        else:
            self._first[lane] = (item, beside)
            self._give_turn(lane, beside=beside)

    def heads(self) -> list[T]:
        """The first of each lane that wait."""
        return [item for item, _ in self._first.values()]

    def occupied(self, lane: str) -> bool:
        """Whether something of the lane waits or is not released."""
        return lane in self._first or lane in self._out

    def take(self) -> T | None:
        """The oldest item of the lane whose turn it is; None where every lane is busy or empty."""
        if not self._turns:
            return None
        lane, _ = self._turns.popitem(last=False)
        item, beside = self._first.pop(lane)
        self._count -= 1
        self._out[lane] = self._out.get(lane, 0) + 1
        if not beside:
            self._alone.add(lane)
        if behind := self._behind.get(lane):
            self._put(lane, behind)
        return item

    def release(self, lane: str) -> None:
        """Something that was taken from the lane has ended."""
        self._alone.discard(lane)
        out = self._out[lane] - 1
        if out:
            self._out[lane] = out
        else:
            del self._out[lane]
        if (first := self._first.get(lane)) is not None:
            self._give_turn(lane, beside=first[1])

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Forget waiting items; those that were forgotten."""
        gone: list[T] = []
        for lane, first in list(self._first.items()):
            items = (first, *self._behind.pop(lane, ()))
            kept: deque[tuple[T, bool]] = deque()
            for item in items:
                if unwanted(item[0]):
                    gone.append(item[0])
                else:
                    kept.append(item)
            del self._first[lane]
            self._turns.pop(lane, None)
            if kept:
                self._put(lane, kept)
        self._count -= len(gone)
        return gone

    def _put(self, lane: str, items: deque[tuple[T, bool]]) -> None:
        """Those are the lane's now, and nothing else."""
        self._first[lane] = first = items.popleft()
        if items:
            self._behind[lane] = items
        else:
            self._behind.pop(lane, None)
        self._give_turn(lane, beside=first[1])

    def _give_turn(self, lane: str, *, beside: bool) -> None:
        if lane not in self._alone and (beside or lane not in self._out):
            self._turns.setdefault(lane)
