"""A hand-over that stands still where the next owner has read ahead, and is about to put its fence up."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from scheduler.broker import handover
from scheduler.broker.owner import Owner
from scheduler.engine.life import State
from tests.support.clocks import ShiftedClock
from tests.support.mutants import Mutation, installed
from tests.support.schedules import SECONDS, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

STAY_SECONDS = 120.0
"""In place of the product's 3, so that a busy machine ends nothing."""
SOON_MS = 60_000
"""Due while the last owner stays: so it stays."""
LATER_MS = 3_600_000


@contextmanager
def patient() -> Iterator[None]:
    """Let owners stay for longer than any test takes."""
    with (
        patch.object(handover, "STAY_SECONDS", STAY_SECONDS),
        patch.object(handover, "LONGEST_STAY_SECONDS", STAY_SECONDS),
    ):
        yield


@contextmanager
def hand_over(
    installation: Installation, mutation: Mutation | None = None, *, standby: bool = False
) -> Iterator[tuple[Scheduler, Callable[[], None], Callable[[], None]]]:
    """The next owner of the only partition, held; `soon` and `later` are pending.

    With it comes what makes both due, and what lets the next owner go on, and returns when the last one has ended.
    A standby has followed the partition.
    """
    arrived, go_on = threading.Event(), threading.Event()
    moved = ShiftedClock()
    with ExitStack() as until_the_end:
        until_the_end.enter_context(patient())
        last = until_the_end.enter_context(installation.replica(clock=moved))
        now_ms = clock.now_ms()
        installation.write(
            installation.schedule(b"soon", due_ms=now_ms + SOON_MS),
            installation.schedule(b"later", due_ms=now_ms + LATER_MS),
        )
        wait_until_pending(last, 2)
        until_the_end.enter_context(installed(mutation))
        sound = Owner._put_up

        def put_up(self: Owner, fence: Callable[[], int | None]) -> None:
            if self.engine.state is State.RESTORING:
                arrived.set()
                clock.wait(go_on, SECONDS)
            sound(self, fence)

        until_the_end.enter_context(patch.object(Owner, "_put_up", put_up))
        following = until_the_end.enter_context(installation.replica(restored=False, clock=moved, standby=standby))
        wait_until(lambda: following.joined, "the next owner is in the group")  # which may give it the partition now
        if standby:
            followed = partial(following.registry.get_sample_value, "scheduler_standby_schedules")
            wait_until(lambda: followed() == 2, "it has followed what is pending")
        leaving = threading.Thread(target=last.close)
        leaving.start()
        try:
            wait_until(arrived.is_set, "the next owner has read ahead")

            def make_due() -> None:
                moved.ahead_ms = LATER_MS

            def let_go() -> None:
                go_on.set()
                leaving.join(SECONDS)
                assert not leaving.is_alive(), "the last owner does not end"

            yield following, make_due, let_go
        finally:
            go_on.set()
            leaving.join()
