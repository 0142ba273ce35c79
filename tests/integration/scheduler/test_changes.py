"""Updates and cancels: the last word of the customer holds, wherever it stands in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.records import Put
from tests.support.schedules import JAVA, clock, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation

LATER_MS = 3_600_000


def test_an_update_before_the_due_time_replaces(installation: Installation) -> None:
    """Earlier or later: only the last version fires, at its own time."""
    now_ms = clock.now_ms()
    with installation.replica() as replica:
        installation.write(
            installation.schedule(b"earlier", b"old", due_ms=now_ms + LATER_MS),
            installation.schedule(b"later", b"old", due_ms=now_ms + 1200),
        )
        wait_until_pending(replica, 2)
        installation.write(
            installation.schedule(b"earlier", b"new", due_ms=now_ms + 1300),
            installation.schedule(b"later", b"new", due_ms=now_ms + 1400),
        )
        installation.fired(b"earlier", b"later")

    fired = installation.read(installation.target)
    assert [(message["scheduler-key"], message.value) for message in fired] == [
        (b"earlier", b"new"),
        (b"later", b"new"),
    ]
    assert fired[1].timestamp_ms >= now_ms + 1400
    assert [record["scheduler-outcome"] for record in installation.read(installation.history)] == [b"fired"] * 2


def test_a_cancel_before_the_due_time_holds_and_is_told_once(installation: Installation) -> None:
    """Also over a restart, and for one that came while no replica ran."""
    due_ms = clock.now_ms() + 1500
    installation.write(
        installation.schedule(b"without replica", due_ms=due_ms), installation.cancel(b"without replica")
    )
    with installation.replica() as replica:
        installation.write(installation.schedule(b"a", due_ms=due_ms))
        wait_until_pending(replica, 1)
        installation.write(installation.cancel(b"a"))
        installation.wait_for(installation.history, 2)
    with installation.replica():
        installation.write(installation.schedule(b"afterwards", due_ms=due_ms + 1))
        fired = installation.fired(b"afterwards")

    assert [message["scheduler-key"] for message in fired] == [b"afterwards"]
    told = sorted((record.key, record["scheduler-outcome"]) for record in installation.read(installation.history))
    assert told == [(b"a", b"cancelled"), (b"afterwards", b"fired"), (b"without replica", b"cancelled")]


def test_a_cancel_of_what_is_not_there_says_and_does_nothing(installation: Installation) -> None:
    installation.write(installation.cancel(b"unknown before the start"))
    with installation.replica():
        installation.write(installation.cancel(b"unknown"), installation.schedule(b"a", epoch=0))
        installation.fired(b"a")
        installation.write(installation.cancel(b"a"), installation.schedule(b"b", epoch=0))
        installation.fired(b"b")

    assert [record.key for record in installation.read(installation.history)] == [b"a", b"b"]
    assert [record.key for record in installation.read(installation.schedules) if record["scheduler-replaces"]] == [
        b"a",
        b"b",
    ]


@pytest.mark.parametrize("partitioner", ["consistent_random", JAVA, "fnv1a_random"])
def test_a_client_of_any_partitioner_is_answered_in_its_own_partition(
    install: Callable[..., Installation], partitioner: str
) -> None:
    """What it cancels does not fire, what has fired does not fire again after a restart."""
    installation = install(partitions=4)
    keys = [b"key-%d" % number for number in range(8)]
    with installation.replica() as replica:
        due_ms = clock.now_ms() + 900
        written = installation.write(
            *(installation.schedule(key, due_ms=due_ms) for key in keys), partitioner=partitioner
        )
        wait_until_pending(replica, len(keys))
        installation.write(*(installation.cancel(key) for key in keys[:4]), partitioner=partitioner)
        installation.fired(*keys[4:])
    with installation.replica():
        installation.write(*(installation.schedule(b"last", partition=each, epoch=0) for each in range(4)))
        installation.wait_for(installation.history, len(keys) + 4)

    fired = sorted(message["scheduler-key"] or b"" for message in installation.read(installation.target))
    assert fired == [*keys[4:], *[b"last"] * 4]
    ended = {
        record.key: record.partition
        for record in installation.read(installation.schedules)
        if record.value is None and record["scheduler-replaces"] and record.key != b"last"
    }
    assert ended == {record.key: record.partition for record in written}


@pytest.mark.parametrize("running", [True, False], ids=["while a replica runs", "before one starts"])
def test_an_update_that_lands_before_the_tombstone_of_the_old_version_is_kept(
    installation: Installation, running: bool
) -> None:
    """The tombstone hides the newer version from compaction, so it is written again, and fires once."""

    def race(schedules: Installation) -> tuple[int, int]:
        """Write what a firing and an update at the same moment leave behind."""
        (old,) = schedules.write(schedules.schedule(b"a", b"old", due_ms=clock.now_ms() + LATER_MS))
        (new,) = schedules.write(schedules.schedule(b"a", b"new", delay="1500ms", headers=[("trace", b"1")]))
        schedules.write(Put(schedules.schedules, b"a", None, [("scheduler-replaces", b"%d" % old.offset)]))
        return new.offset, new.timestamp_ms + 1500

    if not running:
        new_offset, due_ms = race(installation)
    with installation.replica():
        if running:
            new_offset, due_ms = race(installation)
        *_, again = installation.wait_for(installation.schedules, 4, key=b"a")
    with installation.replica():
        (message,) = installation.fired(b"a")

    assert again.value == b"new"
    assert again["trace"] == b"1"
    assert int(again["scheduler-replaces"] or b"") >= new_offset
    assert again["scheduler-delay"] is None
    assert message.value == b"new"
    assert message["scheduler-fire-id"] == b"a@%d" % due_ms
    assert message.timestamp_ms >= due_ms
    assert len(installation.read(installation.target)) == 1
    assert [record["scheduler-outcome"] for record in installation.read(installation.history)] == [b"fired"]


def test_a_cancel_that_lands_before_the_next_occurrence_is_written_holds(installation: Installation) -> None:
    now_ms = clock.now_ms()
    (first,) = installation.write(installation.schedule(b"a", cron="@every 1s", due_ms=now_ms))
    installation.write(
        installation.cancel(b"a"),
        installation.schedule(b"a", cron="@every 1s", due_ms=now_ms + 1000, replaces=first.offset),
    )
    with installation.replica():
        *_, last = installation.wait_for(installation.schedules, 4, key=b"a")
        assert last.value is None
        installation.write(installation.schedule(b"afterwards", due_ms=now_ms + 2100))
        fired = installation.fired(b"afterwards")

    assert [message["scheduler-key"] for message in fired] == [b"afterwards"]
    told = [(record.key, record["scheduler-outcome"]) for record in installation.read(installation.history)]
    assert sorted(told) == [(b"a", b"cancelled"), (b"afterwards", b"fired")]
