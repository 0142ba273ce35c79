"""When a schedule is due, however it is stated; what was missed, and what is too old."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import StampedPut, steady_writer
from tests.support.clocks import ClockAt
from tests.support.schedules import clock, wait_until_pending

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.records import Put, Record
    from tests.support.schedules import Installation

PROMPT_MS = 5000
"""What fires by a clock fires within milliseconds; the rest is for a busy machine."""
DAY_MS = 86_400_000
LATER_MS = 3_600_000


def due_ms(message: Record) -> int:
    return int((message["scheduler-fire-id"] or b"").rpartition(b"@")[2])


def stamped(put: Put, timestamp_ms: int) -> StampedPut:
    return StampedPut(put.topic, put.key, put.value, put.headers, put.partition, timestamp_ms)


def test_an_epoch_is_exact_to_the_digit_it_is_written_with(installation: Installation) -> None:
    """Of whole seconds alone, peers make late firings of all that is due in between."""
    with installation.replica():
        second = clock.now_ms() // 1000 + 1
        stated = {
            b"seconds": (f"{second}", second * 1000),
            b"tenths": (f"{second}.2", second * 1000 + 200),
            b"hundredths": (f"{second}.35", second * 1000 + 350),
            b"milliseconds": (f"{second}.507", second * 1000 + 507),
        }
        installation.write(*(installation.schedule(key, epoch=text) for key, (text, _) in stated.items()))
        fired = installation.fired(*stated)

    assert {message["scheduler-key"]: due_ms(message) for message in fired} == {
        key: instant_ms for key, (_, instant_ms) in stated.items()
    }
    assert all(due_ms(message) <= message.timestamp_ms < due_ms(message) + PROMPT_MS for message in fired)


DELAYS = {
    "250ms": 250,
    "90s": 90_000,
    "1.5s": 1500,
    "15m": 900_000,
    "2h": 7_200_000,
    "1d": DAY_MS,
    "1h30m": 5_400_000,
    "PT15M": 900_000,
    "P1DT2H": DAY_MS + 7_200_000,
    "PT0.5S": 500,
}


def test_a_delay_in_any_form_counts_from_the_timestamp_of_the_record(installation: Installation) -> None:
    """Not from when it is read: each record is as old as its delay, but for a second or two."""
    with installation.replica():
        written_ms = clock.now_ms()
        expected = {text.encode(): written_ms + 1500 for text in DELAYS}
        installation.write(
            *(
                stamped(installation.schedule(text.encode(), delay=text), written_ms + 1500 - delay_ms)
                for text, delay_ms in DELAYS.items()
            )
        )
        fired = installation.fired(*expected)

    assert {message["scheduler-key"]: due_ms(message) for message in fired} == expected
    assert all(due_ms(message) <= message.timestamp_ms < due_ms(message) + PROMPT_MS for message in fired)


def test_a_delay_means_the_same_instant_after_a_restart(installation: Installation) -> None:
    """A peer counts from when it reads: each restart begins the wait anew."""
    (schedule,) = installation.write(installation.schedule(b"a", delay="1h"))
    soon = stamped(installation.schedule(b"b", delay="1h"), clock.now_ms() - LATER_MS + 2500)
    (almost,) = installation.write(soon)
    seen = []
    for _ in range(2):
        with installation.replica() as replica:
            pending = replica.owners()[installation.schedules, 0].engine.pending
            seen.append({version.key: version.due_ms for version in pending})
    with installation.replica():
        (message,) = installation.fired(b"b")

    assert all(each[b"a"] == schedule.timestamp_ms + LATER_MS for each in seen)
    assert due_ms(message) == almost.timestamp_ms + LATER_MS
    assert message.timestamp_ms >= due_ms(message)


def test_several_due_times_or_none_are_rejected_with_the_reason(installation: Installation) -> None:
    refused = {
        b"none": ({}, b"missing-due-time", b"scheduler-epoch, scheduler-at, scheduler-delay"),
        b"epoch and at": (
            {"epoch": 1, "at": "2030-01-01T00:00:00Z"},
            b"several-due-times",
            b"scheduler-epoch and scheduler-at",
        ),
        b"epoch and delay": ({"epoch": 1, "delay": "1s"}, b"several-due-times", b"scheduler-epoch and scheduler-delay"),
        b"all three": (
            {"epoch": 1, "at": "2030-01-01T00:00:00Z", "delay": "1s"},
            b"several-due-times",
            b"scheduler-epoch and scheduler-at and scheduler-delay",
        ),
    }
    with installation.replica():
        installation.write(
            *(installation.schedule(key, **stated) for key, (stated, _, _) in refused.items()),
            installation.schedule(b"neighbour", epoch=0),
        )
        installation.fired(b"neighbour")
        installation.wait_for(installation.history, len(refused) + 1)

    told = {record.key: record for record in installation.read(installation.history)}
    assert told.pop(b"neighbour")["scheduler-outcome"] == b"fired"
    assert {key: (record["scheduler-outcome"], record["scheduler-reason"]) for key, record in told.items()} == {
        key: (b"rejected", reason) for key, (_, reason, _) in refused.items()
    }
    for key, (_, _, named) in refused.items():
        assert named in (told[key]["scheduler-reason-detail"] or b"")
    assert [message["scheduler-key"] for message in installation.read(installation.target)] == [b"neighbour"]


def test_what_is_due_now_or_was_due_earlier_today_is_neither_dropped_nor_left_for_a_restart(
    installation: Installation,
) -> None:
    """Live or while nobody ran: a peer takes the one for outdated and deletes it, and keeps the other for midnight."""
    ages_ms = (0, 1, 999, 1000, 60_000, LATER_MS, DAY_MS, 400 * DAY_MS)
    now_ms = clock.now_ms()
    before = [installation.schedule(b"before-%d" % age_ms, due_ms=now_ms - age_ms) for age_ms in ages_ms]
    installation.write(*before)
    with installation.replica():
        installation.fired(*(b"before-%d" % age_ms for age_ms in ages_ms))
        now_ms = clock.now_ms()
        written = installation.write(
            *(installation.schedule(b"live-%d" % age_ms, due_ms=now_ms - age_ms) for age_ms in ages_ms)
        )
        fired = installation.fired(*(b"live-%d" % age_ms for age_ms in ages_ms))

    assert len(fired) == 2 * len(ages_ms)
    assert max(message.timestamp_ms for message in fired) < written[-1].timestamp_ms + PROMPT_MS
    told = [record["scheduler-outcome"] for record in installation.read(installation.history)]
    assert told == [b"fired"] * 2 * len(ages_ms)


def test_what_was_missed_fires_first_in_order_of_due_time_and_what_is_live_still_fires_on_time(
    installation: Installation,
) -> None:
    """Not in order of arrival, as a peer does; on time is within seconds here, whatever the machine does besides."""
    dice = random.Random(4)
    now_ms = clock.now_ms()
    missed_ms = [now_ms - 1000 - 7 * number for number in range(8000)]
    dice.shuffle(missed_ms)
    installation.write(
        *(installation.schedule(b"missed-%d" % instant_ms, due_ms=instant_ms) for instant_ms in missed_ms)
    )
    start_ms = clock.now_ms()
    live_ms = [start_ms + 20 * number for number in range(150)]
    installation.write(*(installation.schedule(b"live-%d" % instant_ms, due_ms=instant_ms) for instant_ms in live_ms))
    with installation.replica():
        running_ms = clock.now_ms()
        installation.fired(*(b"live-%d" % instant_ms for instant_ms in live_ms))
        late_ms = clock.now_ms()
        installation.write(installation.schedule(b"at last", due_ms=late_ms))
        installation.fired(b"at last")

    fired = installation.read(installation.target)
    assert [due_ms(message) for message in fired] == [*sorted(missed_ms), *live_ms, late_ms]
    for message in fired[len(missed_ms) :]:
        assert due_ms(message) <= message.timestamp_ms < max(due_ms(message), running_ms) + PROMPT_MS


def test_a_steady_stream_keeps_no_restore_from_its_end(installation: Installation, tmp_path: Path) -> None:
    """Peers wait for a quiet moment, or for the end of the topic, and plan nothing as long as clients write."""
    # the broker says that there is nothing more after so long a silence only, which a busy writer's is not
    patient = tmp_path / "patient.yaml"
    patient.write_text("kafka: {consumer: {configuration: {fetch.wait.max.ms: 10000}}}")
    start_ms = clock.now_ms()
    installation.write(
        *(installation.schedule(b"missed-%d" % number, due_ms=start_ms - 1) for number in range(100)),
        *(installation.schedule(b"cancelled-%d" % number, due_ms=start_ms - 1) for number in range(100)),
        *(installation.cancel(b"cancelled-%d" % number) for number in range(100)),
    )

    def stream(number: int) -> Put:
        # some are due before, during and after the restore, most of them later
        late_ms = LATER_MS if number % 20 else 0
        return installation.schedule(b"stream-%d" % number, due_ms=start_ms + number // 3 + late_ms)

    with steady_writer(installation, stream, a_second=3000) as written:
        with installation.replica(configuration_file=patient):
            installation.fired(*(b"missed-%d" % number for number in range(100)))
        with installation.replica(configuration_file=patient):
            installation.write(installation.schedule(b"live", due_ms=clock.now_ms()))
            installation.fired(b"live")
    with installation.replica() as replica:
        later = [record for record in written if due_stated_ms(record) > clock.now_ms() + LATER_MS // 2]
        wait_until_pending(replica, len(later))

    keys = [message["scheduler-key"] for message in installation.read(installation.target)]
    assert len(keys) == len(set(keys))
    expected = {record.key for record in written} - {record.key for record in later}
    assert set(keys) == expected | {b"missed-%d" % number for number in range(100)} | {b"live"}


def due_stated_ms(record: Record) -> int:
    return round(float(record["scheduler-epoch"] or b"") * 1000)


@pytest.mark.parametrize(
    ("since_delta", "misfired"),
    [(0, {b"yesterday", b"the day before"}), (-1, {b"the day before"}), (None, set())],
    ids=["today", "since yesterday", "unset"],
)
def test_what_was_due_before_since_delta_is_told_to_have_misfired_and_never_lost(
    installation: Installation, since_delta: int | None, misfired: set[bytes]
) -> None:
    """A peer that was down over midnight says nothing of what was due before it, fires it never and keeps it."""
    midnight_ms = clock.now_ms() // DAY_MS * DAY_MS
    due = {
        b"today": midnight_ms,
        b"yesterday": midnight_ms - 1,
        b"the day before": midnight_ms - DAY_MS - 1,
    }
    installation.write(*(installation.schedule(key, due_ms=instant_ms) for key, instant_ms in due.items()))
    hourly_ms = midnight_ms - 2 * DAY_MS
    installation.write(installation.schedule(b"recurring", cron="@every 24h", misfire="all", due_ms=hourly_ms))
    noon = ClockAt(midnight_ms + DAY_MS // 2)  # no midnight comes in between
    with installation.replica(clock=noon, since_delta=since_delta) as replica:
        installation.wait_for(installation.history, len(due) + 3)
        wait_until_pending(replica, 1)
        (pending,) = replica.owners()[installation.schedules, 0].engine.pending

    history = installation.read(installation.history)
    told = {record.key: record["scheduler-outcome"] for record in history if record.key != b"recurring"}
    assert told == {key: b"misfired" if key in misfired else b"fired" for key in due}
    outcomes = [(due_ms(record), record["scheduler-outcome"]) for record in history if record.key == b"recurring"]
    oldest_ms = 0 if since_delta is None else midnight_ms + since_delta * DAY_MS
    assert outcomes == [
        (each, b"fired" if each >= oldest_ms else b"misfired") for each in (hourly_ms, hourly_ms + DAY_MS, midnight_ms)
    ]
    fired = [message["scheduler-key"] for message in installation.read(installation.target)]
    assert sorted(fired) == sorted(
        [key for key in due if key not in misfired] + [b"recurring"] * [each for _, each in outcomes].count(b"fired")
    )
    ended = {record.key for record in installation.read(installation.schedules) if record.value is None}
    assert ended == set(due)
    assert (pending.key, pending.due_ms) == (b"recurring", midnight_ms + DAY_MS)
