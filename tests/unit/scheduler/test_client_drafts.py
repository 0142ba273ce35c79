"""What the client is about to write: new schedules, and changes that carry everything else along."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import drafts, wire
from scheduler.engine.targets import TargetPolicy
from scheduler.errors import InputError
from scheduler.records import Stored
from scheduler.schedule import PAUSE_KEY, Schedule, display

NOW_MS = 1_893_456_000_000
POLICY = TargetPolicy(frozenset({"schedules"}), "history", frozenset())


def new(key=b"key", payload=b"payload", target="target", **how):
    return drafts.new("schedules", key, payload, target, NOW_MS, POLICY, **how)


def read(write):
    """What a replica makes of the record."""
    fact = wire.decode(write.key, write.value, write.headers, timestamp_ms=NOW_MS, offset=7)
    assert isinstance(fact, Schedule), fact
    return fact


def stored(*extra, paused=False, partition_paused=False, **how):
    """A schedule in force, as a replica may have written it."""
    write = new(**({"at": NOW_MS + 60_000} | how), paused=paused, headers=[("trace", b"1"), ("trace", b"2")])
    headers = [*write.headers, *extra]
    schedule = wire.decode(write.key, write.value, headers, timestamp_ms=NOW_MS, offset=7)
    return Stored("schedules", 3, schedule, partition_paused)


@pytest.mark.parametrize(
    ("how", "due_ms"),
    [
        ({"at": NOW_MS + 1}, NOW_MS + 1),
        ({"at": datetime(2030, 1, 1, tzinfo=UTC)}, NOW_MS),
        ({"at": datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))}, NOW_MS),
        ({"at": datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)}, NOW_MS + 1),  # rounded down it would fire early
        ({"delay": "15m"}, NOW_MS + 900_000),
        ({"delay": timedelta(seconds=1.5)}, NOW_MS + 1500),
        ({"cron": "30 2 * * *", "timezone": "Europe/Riga"}, NOW_MS + 30 * 60_000),
    ],
)
def test_when(how, due_ms):
    assert read(new(**how)).due_ms == due_ms


def test_all_of_it_is_in_the_record():
    schedule = read(
        new(
            at=NOW_MS,
            target_key=b"k",
            target_partition=2,
            target_tombstone=True,
            misfire_grace="5m",
            paused=True,
            headers={"trace": "1", "raw": b"\xff"},
        )
    )

    assert (schedule.target_key, schedule.target_partition, schedule.delivers_null) == (b"k", 2, True)
    assert (schedule.grace_ms, schedule.paused) == (300_000, True)
    assert schedule.headers == [("trace", b"1"), ("raw", b"\xff")]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "one of scheduler-epoch"),
        ({"at": 1, "delay": "1m"}, "give one of them"),
        ({"at": datetime(2030, 1, 1)}, "without an offset"),  # noqa: DTZ001 - that is the point
        ({"at": -1}, "before 1970"),
        ({"delay": "soon"}, "scheduler-delay"),
        ({"cron": "61 * * * *"}, "scheduler-cron"),
        ({"at": 1, "timezone": "UTC"}, "scheduler-timezone"),
        ({"at": 1, "target": "schedules"}, "would loop"),
        ({"at": 1, "target": "__consumer_offsets"}, "internal"),
        ({"at": 1, "target": "no topic"}, "not a topic name"),
        ({"at": 1, "key": b""}, "has no key"),
        ({"at": 1, "key": PAUSE_KEY}, "reserved"),
        ({"at": 1, "headers": {"scheduler-typo": "1"}}, "not known"),
    ],
)
def test_what_is_no_schedule_is_refused_before_it_is_sent(how, said):
    with pytest.raises(InputError, match=said):
        new(**how)


@pytest.mark.parametrize(
    "change",
    [
        lambda each: drafts.fire(each, NOW_MS),
        lambda each: drafts.pause(each, NOW_MS),
        lambda each: drafts.reschedule(each, NOW_MS, at=NOW_MS + 5),
        lambda each: drafts.resume(replace(each, schedule=wire.restated(each.schedule, paused=True)), NOW_MS),
    ],
)
def test_a_change_goes_where_the_schedule_stands_and_keeps_the_rest(change):
    write = change(stored((wire.REPLACES, b"5")))
    schedule = read(write)

    assert (write.topic, write.partition, write.key, write.value) == ("schedules", 3, b"key", b"payload")
    assert schedule.headers == [("trace", b"1"), ("trace", b"2")]
    assert schedule.target_topic == "target"
    # a client's record that said so would be taken for an owner's, and might have no effect
    assert schedule.replaces is None


def test_what_each_change_changes():
    assert read(drafts.fire(stored(), NOW_MS)).due_ms == NOW_MS
    assert not read(drafts.fire(stored(paused=True), NOW_MS)).paused
    paused = read(drafts.pause(stored(), NOW_MS))
    assert (paused.paused, paused.due_ms) == (True, NOW_MS + 60_000)
    assert not read(drafts.resume(stored(paused=True), NOW_MS)).paused
    assert read(drafts.reschedule(stored(), NOW_MS, at=NOW_MS + 5)).due_ms == NOW_MS + 5


def test_another_rule_begins_with_its_next_occurrence():
    schedule = read(drafts.reschedule(stored(), NOW_MS, cron="0 12 * * *"))

    assert schedule.rule is not None
    assert (schedule.due_ms, schedule.rule.text) == (NOW_MS + 12 * 3_600_000, "0 12 * * *")


def test_a_recurring_one_that_is_resumed_leaves_out_what_has_passed():
    missed = stored(at=NOW_MS - 90_000, cron="* * * * *", paused=True)

    assert read(drafts.resume(missed, NOW_MS)).due_ms == NOW_MS + 60_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: drafts.fire(stored(partition_paused=True), NOW_MS), "scheduler resume --all"),
        (lambda: drafts.fire(stored(cron="@daily", paused=True), NOW_MS), "Resume it first"),
        (lambda: drafts.reschedule(stored(), NOW_MS), "neither a time nor a rule"),
        (lambda: drafts.reschedule(stored(), NOW_MS, at=1, timezone="UTC"), "without a rule"),
        (lambda: drafts.reschedule(stored(), NOW_MS, cron="never"), "key: "),
    ],
)
def test_a_change_that_would_not_do_what_is_asked_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        change()


@given(st.binary(min_size=1))
def test_a_key_is_found_by_how_it_is_shown(key):
    assert key in drafts.keys_shown_as(display(key)) or b"\\x" in key
