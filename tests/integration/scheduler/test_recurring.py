"""Recurring schedules: each firing leaves the next occurrence behind, in the same partition."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from tests.support.clients import Entry, write_by_timetable
from tests.support.clocks import ClockAt
from tests.support.schedules import JAVA, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.records import Put, Record
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000


def dues_ms(fired: list[Record]) -> list[int]:
    return [int((message["scheduler-fire-id"] or b"").rpartition(b"@")[2]) for message in fired]


def next_in(zone: str, hour: int) -> int:
    """When it is this full hour next in the zone, by the standard library; Unix ms."""
    now = datetime.fromtimestamp(clock.now_ms() / 1000, ZoneInfo(zone))
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return int((today if today > now else today + timedelta(days=1)).timestamp()) * 1000


def test_every_second_fires_every_second_and_writes_its_successor_beside_it(
    install: Callable[..., Installation],
) -> None:
    installation = install(partitions=3)
    with installation.replica():
        first_ms = clock.now_ms() + 500
        (schedule,) = installation.write(
            installation.schedule(
                b"tick",
                b"p",
                cron="@every 1s",
                misfire="all",  # a machine that is busy for a second leaves none out
                due_ms=first_ms,
                target_key=b"k",
                headers=[("trace", b"1")],
                partition=1,
            )
        )
        installation.wait_for(installation.target, 3)

    fired = installation.read(installation.target)
    assert dues_ms(fired) == [first_ms + 1000 * number for number in range(len(fired))]
    assert all(due_ms <= message.timestamp_ms for due_ms, message in zip(dues_ms(fired), fired, strict=True))
    assert {(message.key, message.value, message["trace"]) for message in fired} == {(b"k", b"p", b"1")}
    log = installation.read(installation.schedules)
    assert {record.partition for record in log} == {1}
    assert len(log) == len(fired) + 1
    for number, (before, successor) in enumerate(pairwise(log), 1):
        assert successor.value == b"p"
        assert successor["scheduler-replaces"] == b"%d" % before.offset
        due_ms = first_ms + 1000 * number
        assert float(successor["scheduler-epoch"] or b"") == due_ms / 1000
        for name in ("scheduler-cron", "scheduler-target-topic", "scheduler-target-key", "trace"):
            assert successor[name] == schedule[name]


def test_after_a_stop_of_three_periods_the_missed_become_one_firing_of_the_latest(installation: Installation) -> None:
    with installation.replica():
        installation.write(installation.schedule(b"tick", cron="@every 1s", due_ms=clock.now_ms()))
        installation.fired(b"tick")
    before = dues_ms(installation.read(installation.target))
    clock.wait(threading.Event(), clock.seconds_until(before[-1] + 3500))  # the stop is the subject of the test
    resumed_ms = clock.now_ms()
    with installation.replica():
        installation.wait_for(installation.target, len(before) + 2)

    after = dues_ms(installation.read(installation.target))[len(before) :]
    latest_ms = max(each for each in range(before[-1], after[0] + 1, 1000) if each <= after[0])
    assert after[0] == latest_ms >= resumed_ms - 1000
    assert all(later_ms > earlier_ms for earlier_ms, later_ms in pairwise(after))
    assert after[0] - before[-1] >= 3000


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("all", [b"fired"] * 4),
        ("once", [b"fired"]),
        ("skip", [b"misfired"]),
    ],
)
def test_what_was_missed_beyond_the_grace_follows_the_misfire_policy(
    installation: Installation, misfire: str, outcomes: list[bytes]
) -> None:
    """Four occurrences an hour apart were missed; the last one is half an hour late."""
    due_ms = clock.now_ms() - 3 * 3_600_000 - 1_800_000
    installation.write(installation.schedule(b"hourly", cron="@every 1h", misfire=misfire, due_ms=due_ms))
    with installation.replica():
        *_, successor = installation.wait_for(installation.schedules, 1 + len(outcomes))

    assert [record["scheduler-outcome"] for record in installation.read(installation.history)] == outcomes
    assert float(successor["scheduler-epoch"] or b"") == (due_ms + 4 * 3_600_000) / 1000
    told = dues_ms(installation.read(installation.history))
    assert told == [due_ms + 3_600_000 * number for number in range(4 - len(outcomes), 4)]
    assert len(installation.read(installation.target)) == outcomes.count(b"fired")


@pytest.mark.parametrize(
    ("misfire", "grace", "outcomes"),
    [
        ("once", None, [b"fired"]),
        ("all", None, [b"fired"] * 3),
        ("skip", None, [b"misfired"]),
        ("skip", "40m", [b"fired"]),
    ],
    ids=["once", "all", "skip beyond the grace", "skip within the grace"],
)
@pytest.mark.parametrize(
    ("cron", "zone", "past_the_hour_ms"),
    [("@every 1h", None, 754_321), ("0 * * * *", "Asia/Kolkata", 1_800_000)],
    ids=["a period", "cron in a zone"],
)
def test_after_three_missed_periods_with_every_replica_down_exactly_that_happens_which_the_policy_says(
    installation: Installation,
    misfire: str,
    grace: str | None,
    outcomes: list[bytes],
    cron: str,
    zone: str | None,
    past_the_hour_ms: int,
) -> None:
    """Half an hour after the third one a replica starts; in India it is full hour when it is half past in UTC."""
    first_ms = clock.now_ms() // HOUR_MS * HOUR_MS + past_the_hour_ms
    installation.write(
        installation.schedule(b"a", cron=cron, timezone=zone, misfire=misfire, misfire_grace=grace, due_ms=first_ms)
    )
    with installation.replica(clock=ClockAt(first_ms + 1000)) as replica:
        installation.fired(b"a")
        wait_until_pending(replica, 1)
    with installation.replica(clock=ClockAt(first_ms + 3 * HOUR_MS + HOUR_MS // 2)) as replica:
        *_, successor = installation.wait_for(installation.schedules, 2 + len(outcomes))
        wait_until_pending(replica, 1)

    history = installation.read(installation.history)
    told = list(zip(dues_ms(history), [record["scheduler-outcome"] for record in history], strict=True))
    missed_ms = [first_ms + HOUR_MS * number for number in (1, 2, 3)][-len(outcomes) :]
    assert told == [(first_ms, b"fired"), *zip(missed_ms, outcomes, strict=True)]
    fired = installation.read(installation.target)
    assert dues_ms(fired) == [due_ms for due_ms, outcome in told if outcome == b"fired"]
    assert float(successor["scheduler-epoch"] or b"") == (first_ms + 4 * HOUR_MS) / 1000
    assert len(installation.read(installation.schedules)) == 2 + len(outcomes)


def test_a_change_of_the_rule_while_it_fires_is_never_lost_and_never_followed_by_the_old_rule(
    installation: Installation,
) -> None:
    """Rules of seven and ten a second, changed or cancelled around each occurrence; the judge goes by offsets."""
    dice = random.Random(4)
    rules = ("@every 100ms", "@every 150ms", "* * * * *")
    keys = [b"key-%d" % number for number in range(10)]

    def change(key: bytes, number: int, due_ms: int, cron: str) -> Put:
        name = b"%s/%d" % (key, number)
        return installation.schedule(key, b"of " + name, cron=cron, due_ms=due_ms, headers=[("version", name)])

    def made(key: bytes, number: int, due_ms: int) -> Put:
        cancels = number % 4 == 3  # until the next one
        return installation.cancel(key) if cancels else change(key, number, due_ms, rules[number % len(rules)])

    with installation.replica() as replica:
        start_ms = clock.now_ms() + 200
        entries = [
            Entry(at_ms, made(key, number, at_ms + dice.randint(-50, 50)), JAVA)
            for place, key in enumerate(keys)
            for number in range(50)
            for at_ms in (start_ms + 10 * place + 70 * number + dice.randint(0, 40),)
        ]
        # in the end, all have a rule that is far from its time
        end_ms = start_ms + 50 * 70 + 300
        entries += [Entry(end_ms, change(key, 50, end_ms + HOUR_MS, "@every 1h"), JAVA) for key in keys]
        written = write_by_timetable(installation.broker, entries)
        engine = replica.owners()[installation.schedules, 0].engine
        last = {key: b"of %s/50" % key for key in keys}
        wait_until(lambda: {each.key: each.value for each in engine.pending} == last, "the last rules are in force")
        with suppress(AssertionError):  # the verdict below says what is missing
            wait_until(lambda: installation.judged(written).clean, "all is told")

    found = installation.judged(written)
    found.check()
    assert not found.unjudged
    assert found.messages > 20
    assert found.replaced > 0


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_cron_follows_the_wall_clock_of_its_zone(installation: Installation, zone: str) -> None:
    """Without an epoch the first occurrence is computed; with one, the next after it."""
    expected_ms = next_in(zone, 9)
    with installation.replica() as replica:
        installation.write(installation.schedule(b"computed", cron="0 9 * * *", timezone=zone))
        wait_until_pending(replica, 1)
        (standing,) = replica.standings().values()
        installation.write(installation.schedule(b"stated", cron="0 9 * * *", timezone=zone, due_ms=clock.now_ms()))
        _, successor = installation.wait_for(installation.schedules, 2, key=b"stated")

    assert expected_ms == next_in(zone, 9), "nine o'clock came in the middle of the test"
    assert standing.next_due_ms == expected_ms
    assert float(successor["scheduler-epoch"] or b"") == expected_ms / 1000
    assert [message["scheduler-key"] for message in installation.read(installation.target)] == [b"stated"]


def test_a_cancel_ends_a_recurring_schedule(installation: Installation) -> None:
    with installation.replica():
        installation.write(installation.schedule(b"tick", cron="@every 1s", due_ms=clock.now_ms()))
        installation.fired(b"tick")
        installation.write(installation.cancel(b"tick"))
        *_, told = installation.wait_for(installation.history, 2)
        due_ms = clock.now_ms() + 1500
        installation.write(installation.schedule(b"afterwards", due_ms=due_ms))
        fired = installation.fired(b"afterwards")

    outcomes = [record["scheduler-outcome"] for record in installation.read(installation.history)]
    assert outcomes == [b"fired", b"cancelled", b"fired"]
    assert told["scheduler-outcome"] == b"cancelled"
    assert [message["scheduler-key"] for message in fired] == [b"tick", b"afterwards"]
