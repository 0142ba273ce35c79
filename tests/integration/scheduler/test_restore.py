"""A new owner of a partition knows from the log alone what is pending and what has fired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from scheduler.engine.changes import Change, Verb
from scheduler.engine.life import State
from tests.support.clocks import ShiftedClock
from tests.support.records import Put
from tests.support.schedules import SECONDS, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation

LATER_MS = 3_600_000


def test_what_was_pending_at_a_stop_fires_once_after_the_restart(install: Callable[..., Installation]) -> None:
    installation = install(partitions=3)
    keys = [b"key-%d" % number for number in range(30)]
    due_ms = clock.now_ms() + 1000
    with installation.replica(clock=ShiftedClock(-60_000)):  # to it, that is a minute away, however slow the machine
        installation.write(
            *(installation.schedule(key, b"of " + key, due_ms=due_ms) for key in keys),
            *(installation.schedule(b"done-%d" % each, epoch=0, partition=each) for each in range(3)),
        )
        installation.fired(*(b"done-%d" % each for each in range(3)))
    for _ in range(2):
        with installation.replica():
            installation.fired(*keys)

    fired = installation.read(installation.target)
    assert {message.value for message in fired[3:]} == {b"of " + key for key in keys}
    assert len(fired) == len(keys) + 3
    assert all(message.timestamp_ms >= due_ms for message in fired[3:])
    assert len(installation.read(installation.history)) == len(keys) + 3


def test_a_compacted_log_restores_to_the_same_schedules(install: Callable[..., Installation]) -> None:
    """Old versions, the cancelled and the fired are gone from the log; what is in force is not."""
    installation = install(
        config={
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.001",
            "min.compaction.lag.ms": "0",
            "max.compaction.lag.ms": "100",
            "delete.retention.ms": "0",
        }
    )
    far_ms = clock.now_ms() + LATER_MS
    keys = [b"key-%d" % number for number in range(5)]
    with installation.replica():
        installation.write(
            *(installation.schedule(key, b"version %d" % each, due_ms=far_ms) for each in range(100) for key in keys),
            installation.schedule(b"cancelled", due_ms=far_ms),
            installation.schedule(b"fired", epoch=0),
            installation.cancel(b"cancelled"),
        )
        installation.wait_for(installation.history, 2)
    due_ms = clock.now_ms() + 1000
    installation.write(*(installation.schedule(key, b"last", due_ms=due_ms) for key in keys[1:]))
    written = 5 * 100 + 4 + 2 + 4

    def shrunk() -> bool:
        # the newest segment is never compacted; a further record closes it
        installation.write(installation.cancel(b"unknown"))
        log = installation.read(installation.schedules)
        return len([record for record in log if record.key != b"unknown"]) < written // 10

    wait_until(shrunk, "the broker has compacted the schedules topic", 2 * SECONDS)
    with installation.replica() as replica:
        installation.fired(*keys[1:])
        (far,) = replica.owners()[installation.schedules, 0].engine.pending.far()
        (pending,) = replica.read_again((installation.schedules, 0), [far.offset], SECONDS)
    with installation.replica():
        installation.write(installation.schedule(b"afterwards", epoch=0))
        installation.fired(b"afterwards")

    assert (pending.key, pending.value, pending.due_ms) == (keys[0], b"version 99", far_ms)
    fired = sorted((message["scheduler-key"], message.value) for message in installation.read(installation.target))
    assert fired == [(b"afterwards", b"payload"), (b"fired", b"payload"), *((key, b"last") for key in keys[1:])]
    told = [record["scheduler-outcome"] for record in installation.read(installation.history)]
    assert sorted(outcome or b"" for outcome in told) == [b"cancelled", *[b"fired"] * 6]


def test_an_open_transaction_of_another_client_fires_nothing_twice(installation: Installation) -> None:
    """It hides the tombstones behind it from every read_committed reader; whoever restores waits for its end."""
    with installation.replica() as replica:
        installation.write(installation.schedule(b"a", due_ms=clock.now_ms() + LATER_MS))
        wait_until_pending(replica, 1)
        stranger = installation.transaction(
            installation.group_id + "-stranger", installation.schedule(b"of the stranger", epoch=0)
        )
        replica.owners()[installation.schedules, 0].requests.change(b"a", Change(Verb.FIRE)).result(SECONDS)
    with installation.replica(restored=False) as replica:
        wait_until(
            lambda: any(owner.reading and owner.engine._end >= 1 for owner in replica.owners().values()),
            "the replica has fenced and has read all that it can",
        )
        assert [each.state for each in replica.standings().values()] == [State.RESTORING]
        stranger.commit_transaction(SECONDS)
        installation.fired(b"of the stranger")

    keys = [message["scheduler-key"] for message in installation.read(installation.target)]
    assert keys == [b"a", b"of the stranger"]
    log = [(record.key, record.value is None) for record in installation.read(installation.schedules)]
    assert log == [(b"a", False), (b"of the stranger", False), (b"a", True), (b"of the stranger", True)]


def test_a_transaction_in_flight_of_a_former_owner_is_fenced(installation: Installation) -> None:
    """A frozen process that wakes up cannot complete the firing that it had begun."""
    (schedule,) = installation.write(installation.schedule(b"a", epoch=0))
    former = installation.transaction(
        f"{installation.group_id}-{installation.schedules}-0",
        Put(installation.target, None, b"payload", [("scheduler-key", b"a")]),
        Put(installation.schedules, b"a", None, [("scheduler-replaces", b"%d" % schedule.offset)], 0),
    )
    with installation.replica():
        installation.fired(b"a")
        with pytest.raises(KafkaException) as refused:
            former.commit_transaction(SECONDS)

    assert refused.value.args[0].code() in {KafkaError._FENCED, KafkaError.PRODUCER_FENCED}
    assert len(installation.read(installation.target)) == 1
