"""What a transaction says: the delivery, the history and what stands under the key afterwards."""

import pytest

from scheduler import wire
from scheduler.engine.settlement import (
    Out,
    Place,
    Settlement,
    arrived,
    bookkeeping,
    delivery,
    records,
    refused,
    undeliverable,
)
from scheduler.schedule import Cancel, Outcome, Reason, Rejected, Schedule

PLACE = Place("schedules", 5, "history", "dead-letters")
DUE_MS, NEXT_MS = 1_893_456_000_000, 1_893_459_600_000


def version(*headers, key=b"k", value=b"payload", offset=7):
    found = wire.decode(
        key,
        value,
        [("customer", b"acme"), *wire.schedule_headers("orders", target_key=b"t", due_ms=DUE_MS), *headers],
        timestamp_ms=1_000,
        offset=offset,
    )
    assert isinstance(found, Schedule)
    return found


def settle(subject, outcome=Outcome.FIRED, *, successor=None, due_ms=DUE_MS, **settlement):
    return Settlement(
        subject, outcome, due_ms, 42, subject.offset, successor, NEXT_MS if successor is not None else 0, **settlement
    )


def header(out, name):
    values = [value for found, value in out.headers if found == name]
    assert len(values) <= 1
    return values[0] if values else None


REJECTED = Rejected(b"k", b"junk", [("a", b"1")], 9, 1_000, Reason.BAD_EPOCH, "scheduler-epoch: no")


def test_a_firing_is_a_delivery_a_line_of_history_and_a_tombstone():
    schedule = version()
    delivery, history, tombstone = records(settle(schedule), PLACE)

    said = wire.said_of(schedule, b"schedules", DUE_MS)
    assert delivery == Out("orders", None, b"t", b"payload", wire.fired_headers(schedule, said))
    assert history[:4] == ("history", None, b"k", b"payload")
    assert header(history, "scheduler-outcome") == b"fired"
    assert header(history, "scheduler-lateness-ms") == b"42"
    assert header(history, "scheduler-fire-id") == header(delivery, "scheduler-fire-id")
    assert tombstone[:4] == ("schedules", 5, b"k", None)
    assert header(tombstone, "scheduler-replaces") == b"7"


@pytest.mark.parametrize(
    "schedule",
    [
        version(),
        version(key="schlüssel".encode()),
        version(("scheduler-target-tombstone", b"true"), ("scheduler-target-partition", b"3")),
        version(("scheduler-misfire", b"skip"), ("scheduler-misfire-grace", b"5s"), ("scheduler-replaces", b"5")),
        version(value=b""),
    ],
)
def test_what_ends_by_firing_is_told_as_everything_else_is(schedule):
    """It is put together in another way, for speed."""
    settlement = settle(schedule, due_ms=DUE_MS + 25)

    assert list(records(settlement, PLACE)) == [delivery(settlement, PLACE), *bookkeeping(settlement, PLACE)]


def test_a_delivered_tombstone_is_null_at_the_target_and_its_payload_is_in_the_history():
    delivery, history, _ = records(settle(version(("scheduler-target-tombstone", b"true"))), PLACE)

    assert (delivery.key, delivery.value, history.value) == (b"t", None, b"payload")


def test_the_delivery_goes_to_the_partition_that_the_schedule_names():
    delivery, *_ = records(settle(version(("scheduler-target-partition", b"3"))), PLACE)

    assert (delivery.topic, delivery.partition) == ("orders", 3)


def test_the_successor_goes_to_the_partition_that_the_schedule_was_read_from():
    """Whatever client wrote it there: another partition would be another schedule."""
    for successor in (None, version()):
        *_, last = records(settle(version(), successor=successor), PLACE)

        assert (last.topic, last.partition, last.key) == ("schedules", 5, b"k")


def test_a_recurring_schedule_is_written_back_at_its_next_occurrence():
    schedule = version(("scheduler-cron", b"@hourly"))
    *_, successor = records(settle(schedule, successor=schedule), PLACE)
    again = wire.decode(successor.key, successor.value, successor.headers, timestamp_ms=2_000, offset=8)

    assert (again.due_ms, again.replaces, again.value) == (NEXT_MS, 7, b"payload")
    assert (again.headers, again.target_key, again.rule) == (schedule.headers, b"t", schedule.rule)


def test_a_tombstone_reads_back_as_the_end_of_that_version():
    *_, last = records(settle(version(offset=12)), PLACE)

    read = wire.decode(last.key, last.value, last.headers, timestamp_ms=5, offset=13)

    assert read == Cancel(b"k", 13, 5, replaces=12)


@pytest.mark.parametrize("outcome", [Outcome.MISFIRED, Outcome.CANCELLED])
def test_what_is_not_fired_is_recorded_and_not_delivered(outcome):
    history, tombstone = records(settle(version(), outcome), PLACE)

    assert (history.topic, history.value, header(history, "scheduler-outcome")) == (
        "history",
        b"payload",
        outcome.encode(),
    )
    assert (tombstone.topic, tombstone.value) == ("schedules", None)


def test_what_cannot_be_delivered_is_recorded_and_copied_to_the_dead_letters():
    settlement = undeliverable(settle(version()), Reason.UNKNOWN_TOPIC, "there is no topic orders")
    history, dead_letter, tombstone = records(settlement, PLACE)

    assert (history.topic, dead_letter.topic, tombstone.topic) == ("history", "dead-letters", "schedules")
    assert dead_letter[1:] == history[1:]
    assert history.value == b"payload"
    assert header(history, "scheduler-outcome") == b"undeliverable"
    assert header(history, "scheduler-reason") == b"unknown-target-topic"
    assert header(history, "scheduler-reason-detail") == b"there is no topic orders"


def test_a_recurring_schedule_goes_on_after_an_occurrence_that_cannot_be_delivered():
    schedule = version(("scheduler-cron", b"@hourly"))
    *_, successor = records(undeliverable(settle(schedule, successor=schedule), Reason.TOO_LARGE, "x"), PLACE)

    assert successor.value == b"payload"
    assert header(successor, "scheduler-epoch") == b"1893459600"


def test_a_payload_that_even_the_history_cannot_take_is_left_out():
    once = undeliverable(settle(version()), Reason.TOO_LARGE, "too large")
    twice = undeliverable(once, Reason.TOO_LARGE, "too large")

    assert [out.value for out in records(once, PLACE)] == [b"payload", b"payload", None]
    assert [out.value for out in records(twice, PLACE)] == [None, None, None]
    assert [out.topic for out in records(twice, PLACE)] == ["history", "dead-letters", "schedules"]


def test_a_refused_record_is_recorded_as_it_was_and_ends():
    history, tombstone = records(settle(REJECTED, Outcome.REJECTED, due_ms=0), PLACE)

    assert history == Out("history", None, b"k", b"junk", wire.rejected_headers(REJECTED, "schedules"))
    assert tombstone[:4] == ("schedules", 5, b"k", None)
    assert header(tombstone, "scheduler-replaces") == b"9"


def test_the_good_version_is_written_again_behind_a_refused_update():
    good = version(value=b"good")
    history, kept = records(settle(REJECTED, Outcome.REJECTED, successor=good), PLACE)

    assert (history.value, kept.value) == (b"junk", b"good")
    assert header(kept, "scheduler-replaces") == b"9"


def test_a_refused_record_without_a_key_is_only_recorded():
    """There is no key under which to write anything back."""
    nameless = Rejected(None, b"junk", [], 9, 1_000, Reason.MISSING_KEY, "no key")

    assert [out.topic for out in records(settle(nameless, Outcome.REJECTED, due_ms=0), PLACE)] == ["history"]


def test_a_refused_record_that_is_too_large_for_the_history_keeps_its_outcome():
    settlement = undeliverable(settle(REJECTED, Outcome.REJECTED, due_ms=0), Reason.TOO_LARGE, "too large")
    history, _ = records(settlement, PLACE)

    assert (history.value, header(history, "scheduler-outcome")) == (None, b"rejected")


def test_a_version_that_is_only_written_again_leaves_no_history():
    hidden = version()
    (again,) = records(settle(hidden, None, successor=hidden), PLACE)

    assert (again.topic, again.partition, again.value) == ("schedules", 5, b"payload")


def test_where_another_settlement_writes_under_the_key_this_one_does_not():
    outs = list(records(settle(version(), Outcome.CANCELLED, writes_back=False), PLACE))

    assert [out.topic for out in outs] == ["history"]


# ---------------------------------------------------------------- what is refused


TARGET, HISTORY, SCHEDULES = (frozenset({name}) for name in ("orders", "history", "schedules"))


def refuse(settlement, *topics):
    for each in topics:
        settlement = refused(settlement, Reason.TOO_LARGE, "too large", each, PLACE)
    return settlement


@pytest.mark.parametrize("topics", [TARGET, frozenset()])
def test_what_the_target_refuses_is_undeliverable(topics):
    settlement = refuse(settle(version()), topics)

    assert (settlement.outcome, settlement.reason) == (Outcome.UNDELIVERABLE, Reason.TOO_LARGE)
    assert [out.topic for out in records(settlement, PLACE)] == ["history", "dead-letters", "schedules"]


def test_what_the_history_refuses_is_delivered_and_less_is_told_each_time():
    schedule = version()
    told = [tuple(records(refuse(settle(schedule), *[HISTORY] * times), PLACE)) for times in (1, 2, 3, 4)]

    assert [[out.topic for out in outs] for outs in told] == [
        ["orders", "history", "schedules"],
        ["orders", "history", "schedules"],
        ["orders", "schedules"],
        ["orders", "schedules"],
    ]
    without_payload, bare = told[0][1], told[1][1]
    assert (without_payload.value, header(without_payload, "customer")) == (None, b"acme")
    assert header(without_payload, "scheduler-reason") == b"too-large"
    assert (bare.value, header(bare, "customer"), header(bare, "scheduler-key")) == (None, None, None)
    assert header(bare, "scheduler-outcome") == b"fired"
    assert all(outs[0].value == b"payload" for outs in told)


def test_a_recurring_schedule_that_cannot_be_written_again_ends_and_says_so():
    schedule = version(("scheduler-cron", b"@hourly"))
    history, _, tombstone = records(refuse(settle(schedule, successor=schedule), SCHEDULES), PLACE)

    assert header(history, "scheduler-outcome") == b"undeliverable"
    assert tombstone.value is None


def test_a_refused_record_that_the_history_cannot_take_ends_nevertheless():
    (tombstone,) = records(refuse(settle(REJECTED, Outcome.REJECTED, due_ms=0), *[HISTORY] * 3), PLACE)

    assert (tombstone.topic, tombstone.value) == ("schedules", None)


# ---------------------------------------------------------------- what has arrived at another cluster


@pytest.mark.parametrize("outcome", [Outcome.MISFIRED, Outcome.CANCELLED, Outcome.FIRED])
def test_an_occurrence_that_has_arrived_was_fired_whatever_is_decided_now(outcome):
    settlement = arrived(settle(version(), outcome), DUE_MS, 7)

    assert (settlement.outcome, settlement.due_ms) == (Outcome.FIRED, DUE_MS)
    assert settlement.successor is None


def test_a_recurring_schedule_goes_on_behind_the_occurrence_that_has_arrived():
    """A later one is the latest by now; what lies between is decided next."""
    schedule = version(("scheduler-cron", b"@hourly"))
    later = settle(schedule, successor=schedule, due_ms=DUE_MS + 7_200_000)
    settlement = arrived(later, DUE_MS, 7)

    assert (settlement.due_ms, settlement.lateness_ms) == (DUE_MS, 7)
    assert (settlement.successor, settlement.successor_due_ms) == (schedule, NEXT_MS)


def test_a_cancelled_recurring_schedule_does_not_go_on_behind_what_has_arrived():
    schedule = version(("scheduler-cron", b"@hourly"))
    settlement = arrived(settle(schedule, Outcome.CANCELLED), DUE_MS, 7)

    assert (settlement.outcome, settlement.successor) == (Outcome.FIRED, None)
