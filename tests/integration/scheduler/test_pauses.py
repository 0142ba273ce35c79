"""What waits until it is told to go on: one schedule by its header, a whole partition by a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler.schedule import PAUSE_KEY
from tests.support.records import Put
from tests.support.schedules import clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000


def paused(replica: Scheduler) -> dict[int, bool]:
    return {partition: standing.paused for (_, partition), standing in replica.standings().items()}


def test_a_paused_schedule_waits_over_restarts_until_a_version_without_the_header_comes(
    installation: Installation,
) -> None:
    """Its neighbours fire; a cancel of it is a cancel."""
    now_ms = clock.now_ms()
    with installation.replica():
        installation.write(
            installation.schedule(b"paused", b"old", due_ms=now_ms, paused="true"),
            installation.schedule(b"cancelled", due_ms=now_ms, paused="true"),
            installation.schedule(b"recurring", b"old", cron="@every 1h", due_ms=now_ms, paused="true"),
            installation.schedule(b"false", due_ms=now_ms, paused="false"),
        )
        installation.fired(b"false")
    with installation.replica() as replica:
        wait_until_pending(replica, 3)
        installation.write(installation.cancel(b"cancelled"), installation.schedule(b"neighbour", due_ms=now_ms))
        installation.fired(b"neighbour")
        wait_until_pending(replica, 2)
        assert [message["scheduler-key"] for message in installation.read(installation.target)] == [
            b"false",
            b"neighbour",
        ]
        installation.write(
            installation.schedule(b"paused", b"new", due_ms=now_ms),
            installation.schedule(b"recurring", b"new", cron="@every 1h", due_ms=now_ms),
        )
        installation.fired(b"paused", b"recurring")
        wait_until_pending(replica, 1)
        (successor,) = replica.owners()[installation.schedules, 0].engine.pending

    fired = {message["scheduler-key"]: message.value for message in installation.read(installation.target)[2:]}
    assert fired == {b"paused": b"new", b"recurring": b"new"}
    assert (successor.key, successor.due_ms, successor.paused) == (b"recurring", now_ms + HOUR_MS, False)
    told = [(record.key, record["scheduler-outcome"]) for record in installation.read(installation.history)]
    assert sorted(told) == [
        (b"cancelled", b"cancelled"),
        (b"false", b"fired"),
        (b"neighbour", b"fired"),
        (b"paused", b"fired"),
        (b"recurring", b"fired"),
    ]


def test_a_pause_that_is_neither_true_nor_false_is_rejected_and_the_good_version_fires(
    installation: Installation,
) -> None:
    now_ms = clock.now_ms()
    installation.write(
        installation.schedule(b"a", b"good", due_ms=now_ms),
        installation.schedule(b"a", b"bad", due_ms=now_ms, paused="yes"),
    )
    with installation.replica():
        (message,) = installation.fired(b"a")
        installation.wait_for(installation.history, 2)

    assert message.value == b"good"
    told = {record.value: record["scheduler-reason"] for record in installation.read(installation.history)}
    assert told == {b"good": None, b"bad": b"bad-paused"}


@pytest.mark.parametrize("said", [b"", b"maintenance until six"], ids=["empty", "with a text"])
def test_a_record_under_the_pause_key_holds_its_partition_over_restarts_until_it_is_taken_back(
    install: Callable[..., Installation], said: bytes
) -> None:
    """What was missed meanwhile follows each schedule's policy; cancels and refusals are told at once."""
    installation = install(partitions=2)
    pause = Put(installation.schedules, PAUSE_KEY, said, [], 0)
    go_on = Put(installation.schedules, PAUSE_KEY, None, [], 0)
    with installation.replica() as replica:
        installation.write(pause)
        wait_until(lambda: paused(replica) == {0: True, 1: False}, "partition 0 is paused")
        now_ms = clock.now_ms()
        installation.write(
            installation.schedule(b"one-shot", due_ms=now_ms, partition=0),
            installation.schedule(b"skips", due_ms=now_ms - HOUR_MS, misfire="skip", misfire_grace="1m", partition=0),
            installation.schedule(b"recurring", cron="@every 1h", misfire="all", due_ms=now_ms - HOUR_MS, partition=0),
            installation.schedule(b"cancelled", due_ms=now_ms, partition=0),
            installation.cancel(b"cancelled", partition=0),
            Put(installation.schedules, b"bad", b"", [], 0),
            installation.schedule(b"elsewhere", due_ms=now_ms, partition=1),
        )
        installation.fired(b"elsewhere")
        told = installation.wait_for(installation.history, 3)
        assert sorted((each.key, each["scheduler-outcome"]) for each in told) == [
            (b"bad", b"rejected"),
            (b"cancelled", b"cancelled"),
            (b"elsewhere", b"fired"),
        ]
    with installation.replica() as replica:
        assert paused(replica) == {0: True, 1: False}
        wait_until_pending(replica, 3)
        assert [message["scheduler-key"] for message in installation.read(installation.target)] == [b"elsewhere"]
        installation.write(go_on)
        installation.fired(b"one-shot", b"recurring")
        installation.wait_for(installation.history, 7)
        assert paused(replica) == {0: False, 1: False}
    with installation.replica() as replica:
        assert paused(replica) == {0: False, 1: False}
        wait_until_pending(replica, 1)

    history = installation.read(installation.history)
    told = sorted((record.key, record["scheduler-outcome"]) for record in history)
    assert told == [
        (b"bad", b"rejected"),
        (b"cancelled", b"cancelled"),
        (b"elsewhere", b"fired"),
        (b"one-shot", b"fired"),
        (b"recurring", b"fired"),
        (b"recurring", b"fired"),
        (b"skips", b"misfired"),
    ]
    assert not [record for record in history if record.key == PAUSE_KEY]
    fired = sorted(message["scheduler-key"] or b"" for message in installation.read(installation.target))
    assert fired == [b"elsewhere", b"one-shot", b"recurring", b"recurring"]
