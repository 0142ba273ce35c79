"""A replica that has followed a partition takes it over from there, and comes to the same as from the log."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from scheduler.broker import roster
from scheduler.broker.beginning import Instant, StartError
from scheduler.broker.cluster import Cluster
from scheduler.broker.followed import Followed, Sight
from scheduler.broker.standby import Standby
from tests.support.clocks import ShiftedClock
from tests.support.hand_over import hand_over
from tests.support.replica_process import replica_process
from tests.support.schedules import clock, in_force, starts, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000
SESSION_TIMEOUT = 40_000
"""So that a busy machine moves no partitions."""


def value(replica: Scheduler, name: str, **labels: str) -> int:
    return int(replica.registry.get_sample_value(name, labels) or 0)


def wait_until_followed(replica: Scheduler, schedules: int, partitions: int = 1) -> None:
    """Return once it has caught up with so many partitions of others, and so much is pending in them."""
    wait_until(
        lambda: (
            value(replica, "scheduler_standby_partitions") == partitions
            and value(replica, "scheduler_standby_schedules") == schedules
        ),
        f"{schedules} schedules in {partitions} partitions of others are followed",
    )


def test_a_replica_takes_over_what_it_has_followed_when_the_owner_is_killed(installation: Installation) -> None:
    """Whatever came about while it followed, by customers and by the owner, is as it would be read from the log."""
    with ExitStack() as until_the_end:
        recorder = until_the_end.enter_context(installation.recorder())
        owner = until_the_end.enter_context(replica_process(installation))
        owner.wait_until_ready(1)
        following = until_the_end.enter_context(installation.replica(restored=False, standby=True))
        now_ms = clock.now_ms()
        written = installation.write(
            *(installation.schedule(b"far-%d" % each, due_ms=now_ms + HOUR_MS + each) for each in range(50)),
            installation.schedule(b"often", cron="@every 1s", due_ms=now_ms + 500),
            installation.schedule(b"paused", due_ms=now_ms + 100, paused="true"),
            installation.schedule(b"fired", due_ms=now_ms),
        )
        installation.fired(b"fired", b"often")
        wait_until_followed(following, 52)
        written += installation.write(
            *(installation.cancel(b"far-%d" % each) for each in range(5)),
            installation.cancel(b"unknown"),
            installation.schedule(b"far-5", b"newer", due_ms=now_ms + 2 * HOUR_MS),
            installation.schedule(b"far-6", b"paused now", due_ms=now_ms + 2 * HOUR_MS, paused="true"),
            installation.schedule(b"far-7", b"at once", due_ms=clock.now_ms()),
            installation.schedule(b"far-8", b"malformed", target_topic=None),
            installation.cancel(b"paused"),
        )
        wait_until_followed(following, 45)
        written += installation.write(installation.schedule(b"soon", due_ms=clock.now_ms() + 3_000))
        # what comes from now on is not read before it is taken over
        until_the_end.enter_context(patch.object(Standby, "_round", lambda *_: 0.2))
        owner.end()
        written += installation.write(
            installation.cancel(b"far-9"), installation.schedule(b"orphan", due_ms=clock.now_ms() + 100)
        )
        installation.wait_until_restored(following)
        found_started = starts(following)
        written += installation.write(installation.schedule(b"now", due_ms=clock.now_ms()))
        installation.fired(b"now", b"soon", b"far-7", b"often", b"orphan")
        written += installation.write(installation.cancel(b"often"))
        wait_until_pending(following, 43)
        installation.wait_for(installation.history, key=b"often", count=2)
        found = in_force(following)
        following.close()
        with installation.replica() as cold:
            wait_until_pending(cold, 43)
            assert in_force(cold) == found
        verdict = installation.judged(written, recorder)

    assert found_started == {"standby": 1}
    assert verdict.clean, "\n".join(verdict.lines())
    messages = installation.read(installation.target)
    assert [message.value for message in messages if message["scheduler-key"] == b"far-7"] == [b"at once"]


def test_who_takes_over_reads_what_came_before_its_fence_was_up(installation: Installation) -> None:
    """The last owner fires what the next one knows from having followed, and has read ahead."""
    with hand_over(installation, standby=True) as (following, make_due, let_go):
        make_due()
        installation.fired(b"soon", b"later")
        let_go()
        installation.wait_until_restored(following)
        installation.write(installation.schedule(b"next", due_ms=clock.now_ms()))
        messages = installation.fired(b"next")
        assert starts(following) == {"standby": 1}

    assert sorted(message["scheduler-key"] or b"" for message in messages) == [b"later", b"next", b"soon"]


def test_partitions_go_to_and_fro_while_customers_write(install: Callable[..., Installation]) -> None:
    installation = install(partitions=4)
    stop, written = threading.Event(), []

    def write() -> None:
        number = 0
        while not clock.wait(stop, 0.01):
            number += 1
            puts = [
                installation.schedule(b"%d" % number, due_ms=clock.now_ms() + number * 37 % 3000),
                installation.schedule(b"%d" % (number % 50), due_ms=clock.now_ms() + number * 91 % 3000),
            ]
            if number % 7 == 0:
                puts.append(installation.cancel(b"%d" % (number - 5)))
            written.extend(installation.write(*puts, partitioner="murmur2_random"))

    with ExitStack() as until_the_end:
        recorder = until_the_end.enter_context(installation.recorder())
        first = until_the_end.enter_context(installation.replica(standby=True, session_timeout=SESSION_TIMEOUT))
        writing = threading.Thread(target=write)
        writing.start()
        try:
            for _ in range(3):
                with installation.replica(restored=False, standby=True, session_timeout=SESSION_TIMEOUT) as second:
                    wait_until(lambda: value(first, "scheduler_standby_partitions") == 2, "half of them are followed")
                    wait_until(
                        lambda second=second: value(second, "scheduler_standby_partitions") == 2,
                        "and the other half",
                    )
                installation.wait_until_restored(first)
        finally:
            stop.set()
            writing.join()
        wait_until_pending(first, 0)
        verdict = installation.judged(written, recorder)

    assert starts(first).get("standby", 0) == 6
    assert verdict.clean, "\n".join(verdict.lines())


def test_what_was_followed_is_given_up_where_it_is_too_old(installation: Installation) -> None:
    """As of a process that stood still: compaction may have taken what it has not read by now."""
    moved = ShiftedClock()
    with (
        patch.object(roster, "AGAIN_SECONDS", 0.2),
        installation.replica() as owner,
        installation.replica(restored=False, standby=True, clock=moved) as following,
    ):
        installation.write(installation.schedule(b"far", due_ms=clock.now_ms() + 2 * HOUR_MS))
        wait_until_followed(following, 1)
        patched = patch.object(roster, "AGAIN_SECONDS", 1000.0)
        with patched:
            moved.ahead_ms = HOUR_MS
            owner.close()
            installation.wait_until_restored(following)
        assert starts(following) == {"cold": 1}
        wait_until_pending(following, 1)


def test_a_topic_that_is_made_anew_is_followed_afresh(installation: Installation) -> None:
    with (
        patch.object(roster, "LOOK_SECONDS", 0.2),
        patch.object(roster, "RETRY_SECONDS", 0.2),
        patch.object(roster, "AGAIN_SECONDS", 0.2),
        installation.replica() as owner,
        installation.replica(restored=False, standby=True) as following,
    ):
        installation.write(
            *(installation.schedule(b"k-%d" % each, due_ms=clock.now_ms() + HOUR_MS) for each in range(3))
        )
        wait_until_followed(following, 3)
        installation.remake()
        # as many records as there were before, so that offsets alone tell nothing
        installation.write(*(installation.schedule(b"k", due_ms=clock.now_ms() + HOUR_MS) for _ in range(3)))
        wait_until(
            lambda: following.owners() or value(following, "scheduler_standby_schedules") == 1, "it is followed afresh"
        )
        owner.close()
        wait_until_pending(following, 1)


def test_what_was_followed_of_a_topic_that_was_made_anew_is_no_proof(installation: Installation) -> None:
    cluster = Cluster(installation.settings(), "test")
    followed = Followed(Sight(cluster.identity(installation.schedules), Instant.now(clock)))
    followed.prove(cluster, 0)
    followed.read_to = 5
    with pytest.raises(StartError, match="was cut"):
        followed.prove(cluster, 4)
    installation.remake()
    with pytest.raises(StartError, match="made anew"):
        followed.prove(cluster, 5)
