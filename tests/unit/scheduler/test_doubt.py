"""What a restore finds cancelled or refused is told only where the log still has it: else somebody has told of it.

A cleaner that passes while a log is read may take an owner's tombstone that a newer record hides, between two fetches:
the reader has the version before it and the cancel behind it, which came too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler.engine.partition import PartitionEngine
from scheduler.schedule import Outcome
from tests.support.far import versions

if TYPE_CHECKING:
    from scheduler.engine.settlement import Settlement

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
HEADERS = [("scheduler-epoch", b"%d" % (NOW_MS // 1000 + 30)), ("scheduler-target-topic", b"orders")]
REFUSED = [*HEADERS, ("scheduler-tpyo", b"")]


@pytest.fixture
def engine() -> PartitionEngine:
    """It restores, and what it reads can be read again."""
    found = PartitionEngine()
    found.horizon_ms = NOW_MS + 120_000
    return found


def read(engine: PartitionEngine, kind: str) -> None:
    """A version or a refusal at 4, and a cancel of the key at 9."""
    if kind == "far":
        engine.far(versions([(b"k", NOW_MS + HOUR_MS, 4)]))
    else:
        engine.record(b"k", b"v", HEADERS if kind == "near" else REFUSED, timestamp_ms=NOW_MS, offset=4)
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=9)
    engine.fenced(10)


def told(engine: PartitionEngine) -> list[Settlement]:
    batch = engine.take(NOW_MS, 10)
    engine.committed(batch)
    return batch


@pytest.mark.parametrize("kind", ["near", "far", "refused"])
def test_what_the_log_has_no_more_was_told_by_an_earlier_owner(engine: PartitionEngine, kind: str) -> None:
    read(engine, kind)

    assert told(engine) == []
    assert engine.wanted() == [4]
    assert engine.gone(4) is False, "nobody misses it"
    assert told(engine) == []
    assert engine.settled(NOW_MS)


@pytest.mark.parametrize(("kind", "outcome"), [("near", Outcome.CANCELLED), ("refused", Outcome.REJECTED)])
def test_what_the_log_still_has_is_told(engine: PartitionEngine, kind: str, outcome: Outcome) -> None:
    read(engine, kind)
    told(engine)

    assert engine.wanted() == [4]
    assert engine.there(4), "its body need not be supplied"
    assert [settlement.outcome for settlement in told(engine)] == [outcome]


def test_a_far_version_that_was_cancelled_is_told_of_with_its_body(engine: PartitionEngine) -> None:
    read(engine, "far")
    told(engine)

    assert engine.wanted() == [4]
    assert not engine.there(4)
    headers = [("scheduler-epoch", b"%d" % ((NOW_MS + HOUR_MS) // 1000)), HEADERS[1]]
    again = PartitionEngine()
    again.record(b"k", b"v", headers, timestamp_ms=NOW_MS, offset=4)
    (stated,) = again.pending
    engine.supply(stated)

    assert [(settlement.outcome, settlement.subject.value) for settlement in told(engine)] == [
        (Outcome.CANCELLED, b"v")
    ]


def test_a_version_behind_what_is_in_doubt_waits_for_the_answer_and_stays(engine: PartitionEngine) -> None:
    engine.record(b"k", b"old", HEADERS, timestamp_ms=NOW_MS, offset=4)
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=9)
    due = [("scheduler-epoch", b"%d" % (NOW_MS // 1000)), HEADERS[1]]
    engine.record(b"k", b"new", due, timestamp_ms=NOW_MS, offset=11)
    engine.fenced(12)

    assert told(engine) == []
    assert engine.wanted() == [4]
    engine.gone(4)

    assert [(settlement.outcome, settlement.subject.value) for settlement in told(engine)] == [(Outcome.FIRED, b"new")]


def test_what_was_read_again_before_the_restore_was_over_proves_nothing(engine: PartitionEngine) -> None:
    """The cleaner may have passed since."""
    read(engine, "near")

    assert not engine.there(4)
    assert told(engine) == []
    assert engine.wanted() == [4]


def test_what_a_running_owner_reads_is_told_at_once(engine: PartitionEngine) -> None:
    engine.fenced(0)
    engine.reached_end(0)
    engine.record(b"k", b"v", HEADERS, timestamp_ms=NOW_MS, offset=4)
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=9)

    assert [settlement.outcome for settlement in told(engine)] == [Outcome.CANCELLED]
    assert engine.wanted() == []


def test_what_has_come_is_not_asked_for_again_though_it_was_missed_meanwhile(engine: PartitionEngine) -> None:
    """A far version, and a refused record of its key: both are read again, one before the other."""
    engine.far(versions([(b"k", NOW_MS + HOUR_MS, 4)]))
    engine.record(b"k", b"v", REFUSED, timestamp_ms=NOW_MS, offset=9)
    engine.fenced(10)
    told(engine)
    assert sorted(engine.wanted()) == [4, 9]
    again = PartitionEngine()
    headers = [("scheduler-epoch", b"%d" % ((NOW_MS + HOUR_MS) // 1000)), HEADERS[1]]
    again.record(b"k", b"v", headers, timestamp_ms=NOW_MS, offset=4)
    (stated,) = again.pending
    engine.supply(stated)

    assert told(engine) == [], "the refused one has not come yet, and is wanted"
    assert engine.there(9)
    assert engine.wanted() == []
    assert [settlement.outcome for settlement in told(engine)] == [Outcome.REJECTED]
