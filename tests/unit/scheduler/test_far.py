"""Versions that are not in memory: known by due time and offset, and missed by nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import wire
from scheduler.engine.changes import Change, Verb
from scheduler.engine.far import Far
from scheduler.engine.partition import PartitionEngine
from scheduler.plain import all_plain, plain_due_ms, target_of
from scheduler.schedule import Outcome, Reason, Schedule
from tests.support.far import versions

TARGET = ("scheduler-target-topic", b"orders")
NOW_MS = 1_700_000_000_000
SOON_MS = NOW_MS + 60_000
LATER_MS = NOW_MS + 3_600_000


def record(key: bytes, due_ms: int, offset: int, value: bytes = b"payload") -> Schedule:
    headers = [("scheduler-epoch", b"%d.%03d" % divmod(due_ms, 1000)), TARGET]
    found = wire.decode(key, value, headers, timestamp_ms=NOW_MS, offset=offset)
    assert isinstance(found, Schedule)
    return found


@pytest.fixture
def engine() -> PartitionEngine:
    """Running, with nothing pending, and a horizon a minute away."""
    found = PartitionEngine()
    found.horizon_ms = SOON_MS
    found.fenced(0)
    found.reached_end(0)
    return found


epochs = st.one_of(
    st.integers(0, 10**13).map(lambda s: b"%d" % s),
    st.builds(lambda s, ms: b"%d.%03d" % (s, ms), st.integers(0, 10**11), st.integers(0, 999)),
    st.sampled_from(
        [
            b"",
            b"1e9",
            b" 1700000000",
            b"1700000000 ",
            b"1_700_000_000",
            b"1700000000.5",
            b"-1",
            None,
            b"1700000000x250",
            "\uff11\uff12\uff13".encode(),
        ]
    ),
)
headers = st.lists(
    st.one_of(
        st.tuples(st.just("scheduler-epoch"), epochs),
        st.tuples(
            st.just("scheduler-target-topic"), st.sampled_from([b"orders", b"__internal", b"", None, b"a/b", b"\xff"])
        ),
        st.tuples(st.just("scheduler-target-key"), st.sampled_from([b"k", None])),
        st.tuples(
            st.sampled_from(
                [
                    "scheduler-cron",
                    "scheduler-paused",
                    "scheduler-replaces",
                    "scheduler-at",
                    "scheduler-unknown",
                    "scheduler-misfire",
                    "scheduler-key",
                ]
            ),
            st.sampled_from([b"true", b"* * * * *", b"7", b"skip"]),
        ),
        st.tuples(st.sampled_from(["trace", "Scheduler-epoch"]), st.just(b"x")),
    ),
    max_size=6,
)


@given(headers)
def test_what_is_taken_for_plain_is_what_a_full_look_finds(given: list[tuple[str, bytes | None]]) -> None:
    record(b"seen before", LATER_MS, 0)
    due_ms = plain_due_ms(given)
    stated = wire.decode(b"k", b"v", given, timestamp_ms=NOW_MS, offset=1)

    if due_ms is not None:
        assert isinstance(stated, Schedule)
        assert stated.due_ms == due_ms
        assert stated.target_topic.encode() == target_of(given)
        assert (stated.rule, stated.replaces, stated.paused, stated.continues) == (None, None, False, False)


@given(st.lists(headers, min_size=1, max_size=4), st.integers(0, 3))
def test_many_are_plain_where_each_of_them_is(records: list[list[tuple[str, bytes | None]]], copies: int) -> None:
    given = [*records, *records[:1] * copies]
    stated = all_plain(given)

    if stated is not None:
        assert stated.dues_ms == [plain_due_ms(each) for each in given]
        assert stated.targets == [target_of(each) for each in given]


@pytest.mark.parametrize("epochs", [(b"1893456000.250", b"1893456000.001"), (b"1893456000", b"2000000000.500")])
def test_many_of_the_usual_form_are_plain(epochs: tuple[bytes, bytes]) -> None:
    records = [[("scheduler-epoch", epoch), TARGET, ("trace", epoch)] for epoch in epochs]

    stated = all_plain(records)
    assert stated is not None
    assert stated.dues_ms == [plain_due_ms(each) for each in records]
    assert stated.targets == [TARGET[1]] * 2


@pytest.mark.parametrize(
    "other",
    [
        b"893456000",
        b"18934560000250",
        b"1893456.000250",
        b"189345600 .250",
        b"18934_6000.250",
        b"-893456000.250",
        b"0893456000.250",
        b"0893456000",
        b"1893456000,250",
        b"1893456000.25,",
        b"",
        None,
    ],
)
def test_many_are_not_plain_where_one_is_due_in_another_form(other: bytes | None) -> None:
    records = [[("scheduler-epoch", epoch), TARGET] for epoch in (b"1893456000.250", other, b"1893456000.250")]

    assert all_plain(records) is None


def test_the_usual_form_is_plain() -> None:
    record(b"seen before", LATER_MS, 0)

    assert plain_due_ms([("trace", b"1"), ("scheduler-epoch", b"1893456000.250"), TARGET]) == 1_893_456_000_250
    assert (
        plain_due_ms([("scheduler-epoch", b"1893456000"), TARGET, ("scheduler-target-key", b"k")]) == 1_893_456_000_000
    )


def test_bodies_are_wanted_once_in_order_of_the_due_time_and_as_many_as_asked_for(engine: PartitionEngine) -> None:
    for offset, due_ms in enumerate([LATER_MS + 3, LATER_MS + 1, LATER_MS + 2, LATER_MS + 90_000]):
        engine.far(versions([(b"%d" % offset, due_ms, offset)]))

    assert engine.look_ahead(LATER_MS + 10, 2) == [1, 2]
    assert engine.look_ahead(LATER_MS + 10, 2) == [0]
    assert engine.look_ahead(LATER_MS + 10, 2) == []


def test_of_one_instant_as_many_are_wanted_as_asked_for_until_all_are(engine: PartitionEngine) -> None:
    engine.far(versions([(b"%d" % offset, LATER_MS, offset) for offset in range(5)]))

    wanted = [engine.look_ahead(LATER_MS + 10, 2) for _ in range(4)]

    assert wanted == [[0, 1], [2, 3], [4], []]


def test_what_is_due_without_its_body_waits_for_it_and_holds_up_nothing_else(engine: PartitionEngine) -> None:
    engine.far(versions([(b"far", LATER_MS, 0)]))
    engine.hear(record(b"near", LATER_MS + 1, 1))

    (settlement,) = engine.take(LATER_MS + 5, 10)
    assert settlement.subject.key == b"near"
    assert engine.wanted() == [0]
    assert engine.wanted() == []
    assert engine.take(LATER_MS + 5, 10) == []

    engine.supply(record(b"far", LATER_MS, 0))
    (settlement,) = engine.take(LATER_MS + 5, 10)
    assert (settlement.subject.key, settlement.outcome) == (b"far", Outcome.FIRED)


def test_a_body_that_comes_too_late_changes_nothing(engine: PartitionEngine) -> None:
    engine.far(versions([(b"k", LATER_MS, 0)]))
    assert engine.take(LATER_MS, 10) == []
    engine.hear(record(b"k", LATER_MS + 1, 1, b"newer"))

    engine.supply(record(b"k", LATER_MS, 0))

    (settlement,) = engine.take(LATER_MS + 5, 10)
    assert settlement.subject.value == b"newer"


def test_a_cancel_of_a_far_version_is_told_when_its_body_has_come(engine: PartitionEngine) -> None:
    engine.far(versions([(b"k", LATER_MS, 0)]))
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=1)

    assert engine.take(NOW_MS, 10) == []
    assert engine.next_due_ms() is None, "it would be asked again and again"
    assert engine.wanted() == [0]
    engine.supply(record(b"k", LATER_MS, 0))
    assert engine.next_due_ms() == 0
    (settlement,) = engine.take(NOW_MS, 10)

    assert (settlement.outcome, settlement.subject.value) == (Outcome.CANCELLED, b"payload")


def test_a_hidden_far_version_is_written_again_when_its_body_has_come(engine: PartitionEngine) -> None:
    engine.far(versions([(b"k", LATER_MS, 5)]))
    engine.record(b"k", None, [("scheduler-replaces", b"3")], timestamp_ms=NOW_MS, offset=6)

    assert engine.take(NOW_MS, 10) == []
    assert engine.wanted() == [5]
    engine.supply(record(b"k", LATER_MS, 5))
    (settlement,) = engine.take(NOW_MS, 10)

    assert settlement.outcome is None
    assert settlement.successor is not None
    assert settlement.successor.value == b"payload"


def test_a_change_on_request_waits_for_the_body(engine: PartitionEngine) -> None:
    engine.far(versions([(b"k", LATER_MS, 0)]))

    assert engine.change(b"k", Change(Verb.FIRE), NOW_MS) is None
    assert engine.change(b"k", Change(Verb.FIRE), NOW_MS) is None
    assert engine.wanted() == [0]
    assert engine.change(b"k", Change(Verb.FIRE), NOW_MS) is None
    assert engine.wanted() == [], "it is on its way"
    engine.supply(record(b"k", LATER_MS, 0))
    settlement = engine.change(b"k", Change(Verb.FIRE), NOW_MS)

    assert settlement is not None
    assert settlement.outcome is Outcome.FIRED


@pytest.mark.parametrize("cancelled", [False, True], ids=["in-force", "cancelled"])
def test_a_version_whose_record_is_gone_is_told_of(engine: PartitionEngine, cancelled: bool) -> None:
    engine.far(versions([(b"k", LATER_MS, 0)]))
    if cancelled:
        engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=1)
        engine.take(NOW_MS, 10)

    engine.gone(0)
    (settlement,) = engine.take(NOW_MS, 10)

    assert settlement.outcome is (Outcome.CANCELLED if cancelled else Outcome.UNDELIVERABLE)
    assert settlement.reason is Reason.RECORD_GONE
    assert (settlement.subject.key, settlement.due_ms) == (b"k", LATER_MS)
    assert b"k" not in engine.pending


def test_a_page_shows_far_and_near_in_order(engine: PartitionEngine) -> None:
    engine.far(versions([(b"second", LATER_MS, 0)]))
    engine.hear(record(b"first", SOON_MS, 1))

    first, second = engine.page(-1, 10)

    assert isinstance(first, Schedule)
    assert second == Far(LATER_MS, 0)


def test_a_new_version_does_not_fire_before_the_cancel_of_a_far_one_is_told(engine: PartitionEngine) -> None:
    """Its tombstone would say that the cancel is told."""
    engine.far(versions([(b"k", LATER_MS, 0)]))
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=1)
    engine.hear(record(b"k", NOW_MS, 2, b"anew"))

    assert engine.take(NOW_MS, 10) == []
    engine.supply(record(b"k", LATER_MS, 0))
    told = [settlement.outcome for _ in range(2) for settlement in engine.take(NOW_MS, 10)]

    assert told[0] is Outcome.CANCELLED
