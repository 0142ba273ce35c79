"""What is followed is taken in as a restore does, and given up wherever that may not come to the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import OFFSET_BEGINNING, Message

from scheduler.broker import followed as module
from scheduler.broker.beginning import Instant, Start, too_old
from scheduler.broker.cluster import Identity
from scheduler.broker.feed import read
from scheduler.broker.followed import Followed, Sight
from scheduler.engine.life import State
from scheduler.engine.partition import PartitionEngine

if TYPE_CHECKING:
    from scheduler.schedule import Header

NOW_MS = 1_700_000_000_000
LAG_MS = 600_000
GOOD_MS = 480_000
HOUR_MS = 3_600_000
TOPIC = Identity("schedules", "id", LAG_MS)
BEGUN = Instant(NOW_MS, 100.0)


def later(ms: int, monotonic_ms: int | None = None) -> Instant:
    return Instant(BEGUN.ms + ms, BEGUN.monotonic + (ms if monotonic_ms is None else monotonic_ms) / 1000)


def message(offset: int, key: bytes, *, due_ms: int | None = None, **stated: str) -> Message:
    """A record; without a due time, a cancel."""
    said = {} if due_ms is None else {"epoch": f"{due_ms / 1000:.3f}", "target-topic": "orders"}
    headers: list[Header] = [
        (f"scheduler-{name.replace('_', '-')}", text.encode()) for name, text in {**said, **stated}.items()
    ]
    value = None if due_ms is None else b"v"
    return Message(
        topic="schedules", partition=0, key=key, value=value, headers=headers, offset=offset, timestamp=(1, NOW_MS)
    )


def tell(followed: Followed, *messages: Message, now: Instant = BEGUN) -> str | None:
    return followed.hear(messages, list(read(messages, NOW_MS)), now)


def test_it_is_good_for_four_fifths_of_the_time_for_which_compaction_waits() -> None:
    sight = Sight(TOPIC, BEGUN)

    assert sight.fault(later(GOOD_MS)) is None
    assert "480" in (sight.fault(later(GOOD_MS + 1)) or "")
    assert sight.fault(later(GOOD_MS), LAG_MS // 2) is not None, "the topic's setting was lowered since"
    assert too_old(1, 0) is not None


@pytest.mark.parametrize("now", [later(GOOD_MS + 1, 0), later(0, GOOD_MS + 1)], ids=["wall clock", "monotonic"])
def test_a_process_or_a_machine_that_stood_still_is_noticed_by_the_clock_that_went_on(now: Instant) -> None:
    assert Sight(TOPIC, BEGUN).fault(now) is not None


def test_it_stays_good_while_it_reads_up_to_where_the_log_was_said_to_end() -> None:
    sight = Sight(TOPIC, BEGUN)
    sight.note(later(300_000), 10)
    sight.has_read(9)
    assert (sight.reached, sight.end) == (False, 10)
    sight.note(later(400_000), 20)  # the first is not forgotten for one that is not reached either
    sight.has_read(15)

    assert sight.reached
    assert sight.fault(later(300_000 + GOOD_MS)) is None
    assert sight.fault(later(300_001 + GOOD_MS)) is not None, "from when it was asked, not from when it was reached"


def test_what_was_read_too_late_is_not_taken_in() -> None:
    followed = Followed(Sight(TOPIC, BEGUN))
    followed.sight.note(BEGUN, 1)

    assert tell(followed, message(0, b"a", due_ms=NOW_MS + HOUR_MS), now=later(GOOD_MS + 1)) is not None
    assert (len(followed.engine.pending), followed.sight.reached) == (0, False)


def test_an_owner_goes_on_from_where_it_was_followed_to() -> None:
    followed = Followed(Sight(TOPIC, BEGUN))
    assert (followed.offset, followed.beginning().start) == (OFFSET_BEGINNING, Start.COLD)
    assert tell(followed, message(3, b"a", due_ms=NOW_MS + HOUR_MS), message(7, b"b", due_ms=NOW_MS - 1)) is None
    beginning = followed.beginning()

    assert (beginning.start, beginning.offset) == (Start.STANDBY, 8)
    assert beginning.engine.state is State.RESTORING
    beginning.engine.fenced(9)
    beginning.engine.reached_end(9)
    assert [each.offset for each in beginning.engine.page(-1, 10)] == [7, 3]


def test_a_log_that_begins_again_is_another() -> None:
    followed = Followed(Sight(TOPIC, BEGUN))
    tell(followed, message(5, b"a", due_ms=NOW_MS + HOUR_MS))

    assert "5 comes again" in (tell(followed, message(5, b"b", due_ms=NOW_MS + HOUR_MS)) or "")


def test_it_goes_on_from_what_an_owner_has_left() -> None:
    """Also with what is near and waits for its body, which a restore would have."""
    engine = PartitionEngine()
    engine.horizon_ms = NOW_MS
    engine.fenced(0)
    engine.reached_end(0)
    for fact in (message(0, b"near", due_ms=NOW_MS + 1000), message(1, b"far", due_ms=NOW_MS + HOUR_MS)):
        owner = Followed(Sight(TOPIC, BEGUN))
        owner.engine = engine
        tell(owner, fact)
    tell(owner, message(2, b"daily", due_ms=NOW_MS + HOUR_MS, cron="0 4 * * *"))
    assert len(engine.look_ahead(NOW_MS + 5000, 10)) == 1, "its body is being read"
    kept = engine.kept(3)
    assert kept is not None
    followed = Followed(Sight(TOPIC, BEGUN), kept)
    engine.lost()

    assert (followed.offset, len(followed.engine.pending)) == (3, 3)
    assert tell(followed, message(3, b"far", due_ms=None)) is None
    assert len(followed.engine.pending) == 2


def test_cancels_that_every_owner_has_read_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_CANCELS", 10)
    followed = Followed(Sight(TOPIC, BEGUN))
    for number in range(0, 1000, 2):
        tell(followed, message(number, b"unknown-%d" % number))
        # an owner fires something that was written after that
        tell(followed, message(number + 1, b"k", replaces=str(number)))

    assert followed.engine.cancels <= 11


def test_cancels_of_which_an_owner_may_still_speak_are_not_forgotten() -> None:
    """It took the occurrence at 0 before it read the cancel at 1, and writes the next one behind it."""
    followed = Followed(Sight(TOPIC, BEGUN))
    tell(
        followed,
        message(0, b"k", due_ms=NOW_MS, cron="@every 60s"),
        message(1, b"k"),
        message(2, b"other", replaces="1"),  # of the same batch at the latest: what it took before it had read 1
    )
    assert followed.engine.forget() == 1
    tell(followed, message(3, b"k", due_ms=NOW_MS + 60_000, cron="@every 60s", replaces="0"))

    assert b"k" not in followed.engine.pending


def test_more_cancels_than_can_be_remembered_are_read_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that stood in the log at the beginning: they would be there again."""
    monkeypatch.setattr(module, "FEW_CANCELS", 5)
    monkeypatch.setattr(module, "MOST_CANCELS", 10)
    followed = Followed(Sight(TOPIC, BEGUN))
    followed.sight.note(BEGUN, 20)
    assert all(tell(followed, message(number, b"at-first-%d" % number)) is None for number in range(20))
    faults = [tell(followed, message(number, b"since-%d" % number)) for number in range(20, 60)]

    first = next(index for index, fault in enumerate(faults) if fault is not None)
    assert 19 <= first < 40
