"""A partition goes from one replica to another, and the firing goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from scheduler.engine.life import State
from tests.support.hand_over import SOON_MS, hand_over, patient
from tests.support.schedules import clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation


def test_who_leaves_fires_until_the_next_owner_is_ready_and_nothing_fires_twice(installation: Installation) -> None:
    with hand_over(installation) as (following, make_due, let_go):
        make_due()
        installation.fired(b"soon", b"later")
        states = [standing.state for standing in following.standings().values()]
        let_go()
        installation.wait_until_restored(following)
        installation.write(installation.schedule(b"next", due_ms=clock.now_ms()))
        messages = installation.fired(b"next")

    assert states == [State.RESTORING]
    assert sorted(message["scheduler-key"] or b"" for message in messages) == [b"later", b"next", b"soon"]


def test_what_customers_say_during_a_hand_over_counts(installation: Installation) -> None:
    """The next owner had read both schedules when one was cancelled and one was replaced."""
    with hand_over(installation) as (following, make_due, let_go):
        installation.write(
            installation.cancel(b"soon"),
            installation.schedule(b"later", b"replaced", due_ms=clock.now_ms() + 1000),
        )
        let_go()
        installation.wait_until_restored(following)
        make_due()
        (message,) = installation.fired(b"later")
        (told,) = installation.wait_for(installation.history, key=b"soon")

    assert message.value == b"replaced"
    assert told["scheduler-outcome"] == b"cancelled"


def test_where_all_leave_nobody_waits_for_the_others(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    with patient(), installation.replica() as one, installation.replica(restored=False) as other:
        wait_until(lambda: len(one.owners()) == len(other.owners()) == 1, "each has a partition")
        for partition in range(2):
            soon = installation.schedule(b"soon", due_ms=clock.now_ms() + SOON_MS, partition=partition)
            installation.write(soon)
        wait_until_pending(one, 1)
        wait_until_pending(other, 1)
        leaving = [threading.Thread(target=replica.close) for replica in (one, other)]
        for thread in leaving:
            thread.start()
        for thread in leaving:
            thread.join()

    assert installation.read(installation.target) == []


def test_who_leaves_with_nobody_to_follow_ends_at_once(installation: Installation) -> None:
    """Though something is due soon: nobody would take over."""
    with patient(), installation.replica() as replica:
        installation.write(installation.schedule(b"soon", due_ms=clock.now_ms() + SOON_MS))
        wait_until_pending(replica, 1)
        replica.close()

    assert installation.read(installation.target) == []
