"""Who was in doubt asks before each attempt at a fence whether the partition is still its own."""

from __future__ import annotations

import threading
from typing import Any, cast

from scheduler.broker import fence as module
from scheduler.broker.failures import Kind, PublishError
from scheduler.broker.fence import Fence
from scheduler.broker.observer import Observers
from scheduler.clock import SystemClock
from scheduler.engine.settlement import Place

MARK = 7


class Coordinator:
    """Stands for the transaction coordinator: it answers only from the second call on."""

    def __init__(self) -> None:
        self.asked = 0

    def open(self) -> None:
        self.asked += 1
        if self.asked == 1:
            raise PublishError(Kind.RETRIABLE, "timed out")


def fence(coordinator: Coordinator, stop: threading.Event, *answers: bool) -> Fence:
    """The group answers in turn; where it says no, the owner is told to stop."""
    left = iter(answers)

    def may_fence() -> bool:
        if not (answer := next(left)):
            stop.set()
        return answer

    place = Place("schedules", 0, "history", "dead-letters")
    publisher = cast("Any", coordinator)
    return Fence(place, publisher, lambda: MARK, may_fence, SystemClock(), Observers(), stop)


def test_an_owner_whose_partition_has_gone_to_another_after_a_first_attempt_makes_no_second(monkeypatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.0,))
    coordinator = Coordinator()

    assert fence(coordinator, threading.Event(), True, False).put_up_again() is None
    assert coordinator.asked == 1


def test_an_owner_whose_partition_is_still_its_own_tries_again(monkeypatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.0,))
    coordinator = Coordinator()

    assert fence(coordinator, threading.Event(), True, True).put_up_again() == MARK
    assert coordinator.asked == 2
