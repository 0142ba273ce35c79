"""What is read together, gathered and passed on tells the engine the same as one record after another."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.broker import feed
from scheduler.broker.inbox import Inbox
from scheduler.engine.far import Versions
from scheduler.engine.partition import PartitionEngine
from scheduler.schedule import PAUSE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.schedule import Header

HORIZON_MS = 1_700_000_000_000
TARGET = ("scheduler-target-topic", b"orders")
FORMS: dict[str, tuple[bytes | None, list[Header]]] = {
    "far": (b"v", [("scheduler-epoch", b"1893456000.250"), TARGET, ("trace", b"1")]),
    "far, whole": (b"v", [("scheduler-epoch", b"1893456001"), TARGET, ("trace", b"2")]),
    "far, other headers": (b"v", [TARGET, ("scheduler-epoch", b"1893456002")]),
    "near": (b"v", [("scheduler-epoch", b"1600000000.250"), TARGET, ("trace", b"3")]),
    "far, paused": (b"v", [("scheduler-epoch", b"1893456000.250"), TARGET, ("scheduler-paused", b"true")]),
    "recurring": (b"v", [("scheduler-cron", b"0 0 1 1 *"), TARGET]),
    "bad": (b"v", [("scheduler-epoch", b"18934560.0250"), TARGET, ("trace", b"4")]),
    "no headers": (b"v", []),
    "cancel": (None, []),
    "cancel that looks like a schedule": (None, [("scheduler-epoch", b"1893456000.250"), TARGET, ("trace", b"1")]),
    "empty payload": (b"", [("scheduler-epoch", b"1893456000.250"), TARGET, ("trace", b"1")]),
}
PLAIN = {"far", "far, whole", "far, other headers", "empty payload"}
forms = st.one_of(st.just("far"), st.just("cancel"), st.sampled_from(list(FORMS)))
few_keys = st.sampled_from([b"1", b"2", b"3", b"4", b"", PAUSE_KEY, None])
keys = st.sampled_from([*(b"%d" % number for number in range(20)), b"", PAUSE_KEY, None])


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "PIECE", 4)
        patch.setattr(feed, "FEW", 2)
        yield


def message(offset: int, key: bytes | None, form: str) -> Message:
    value, headers = FORMS[form]
    return Message(topic="t", key=key, value=value, headers=headers, offset=offset, timestamp=(1, HORIZON_MS))


def new_engine() -> PartitionEngine:
    engine = PartitionEngine()
    engine.horizon_ms = HORIZON_MS
    return engine


def heard(engine: PartitionEngine) -> object:
    """All that was read, with bodies or without."""
    unsaid = {
        key: [(each.cause, each.newest, each.outcome, each.subject and each.subject.offset) for each in matters]
        for key, matters in engine._unsaid.by_key.items()
    }
    offsets = {each.offset for each in (*engine.pending, *engine.pending.far())}
    dues = {each.due_ms for each in (*engine.pending, *engine.pending.far())}
    targets = Counter(engine.pending.far_by_target()) + Counter(each.target_topic for each in engine.pending)
    return engine.accepted, engine.paused, engine._cancels, unsaid, offsets, dues, targets, engine._end


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(keys, forms), min_size=1, max_size=40),
    st.sets(st.integers(1, 39)),
    st.booleans(),
    st.booleans(),
)
def test_what_is_read_together_says_the_same_as_one_by_one(
    records: list[tuple[bytes | None, str]], cuts: set[int], look: bool, restored: bool
) -> None:
    one_by_one, together, inbox = new_engine(), new_engine(), Inbox()
    if restored:
        for engine in (one_by_one, together):
            engine.fenced(0)
            engine.reached_end(0)
    for offset, record in enumerate(records):
        feed.tell(one_by_one, [(message(offset, *record), None)])
    bounds = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        given = [message(offset, *records[offset]) for offset in range(start, end)]
        inbox.give(given, None if restored or (look and number % 3 == 2) else HORIZON_MS)
    inbox.pass_on()
    count = 0
    while (passed := inbox.next()).count:
        assert passed.messages[0].offset() == count
        count += passed.count
        assert passed.messages[-1].offset() == count - 1
        if passed.facts is None:
            feed.feed(together, passed.messages)
        else:
            feed.tell(together, passed.facts)
        inbox.applied(passed)

    assert count == len(records)
    assert inbox.backlog == 0
    assert heard(together) == heard(one_by_one)
    assert {records[each.offset][1] for each in together.pending.far()} <= PLAIN


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(few_keys, forms), max_size=8),
    st.lists(few_keys, min_size=1, max_size=6),
    st.booleans(),
)
def test_null_records_read_together_say_the_same_as_one_by_one(
    before: list[tuple[bytes | None, str]], ended: list[bytes | None], paused: bool
) -> None:
    engines = new_engine(), new_engine()
    pause = [(PAUSE_KEY, "empty payload")] if paused else []
    stated = [message(offset, *record) for offset, record in enumerate([*pause, *before])]
    nulls = [message(len(stated) + number, key, "cancel") for number, key in enumerate(ended)]
    for engine in engines:
        engine.fenced(0)
        engine.reached_end(0)
        for each in stated:
            feed.tell(engine, [(each, None)])
    one_by_one, together = engines
    for each in nulls:
        feed.tell(one_by_one, [(each, None)])
    feed.feed(together, nulls)

    assert heard(together) == heard(one_by_one)


def test_hundreds_of_far_ones_are_told_at_once() -> None:
    records = [message(offset, b"%d" % offset, "far" if offset % 3 else "far, whole") for offset in range(100)]
    (far,) = feed.read(records, HORIZON_MS)

    assert isinstance(far, Versions)
    assert far.offsets == list(range(100))
    assert far.dues == [1_893_456_000_250 if offset % 3 else 1_893_456_001_000 for offset in range(100)]
    assert far.keys == [b"%d" % offset for offset in range(100)]
