"""What an owner begins with is looked at before its restore is over, so that its bodies are there when it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from scheduler.broker.bodies import Bodies
from scheduler.broker.collector import Collected
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Place
from tests.support.clocks import ClockAt
from tests.support.far import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Asked:
    """A collector that is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.give: Callable[[Collected], None] = lambda _: None

    def ask(self, _topic: str, _partition: int, offsets: Sequence[int], give: Any, _wanted: Any) -> None:
        self.offsets, self.give = [*self.offsets, *offsets], give


def body(offset: int, key: bytes, due_ms: int) -> Message:
    headers = [("scheduler-epoch", f"{due_ms / 1000:.3f}".encode()), ("scheduler-target-topic", b"orders")]
    return Message(topic="s", partition=0, key=key, value=b"v", headers=headers, offset=offset, timestamp=(1, NOW_MS))


def restoring() -> tuple[PartitionEngine, Asked, Bodies]:
    engine, asked = PartitionEngine(), Asked()
    engine.far(versions([(b"soon", NOW_MS + 60_000, 3), (b"late", NOW_MS + HOUR_MS, 4), (b"due", NOW_MS - 1, 5)]))
    place = Place("s", 0, "history", "dead-letters")
    bodies = Bodies(place, engine, asked, ClockAt(NOW_MS), lambda: None, lambda: True)  # type: ignore[arg-type]
    bodies.prepare()
    return engine, asked, bodies


def test_bodies_that_have_come_by_the_end_of_a_restore_are_at_hand() -> None:
    engine, asked, bodies = restoring()
    assert asked.offsets == [5, 3]
    asked.give(Collected([body(5, b"due", NOW_MS - 1), body(3, b"soon", NOW_MS + 60_000)], []))
    bodies.collect()
    engine.record(b"soon", None, [], timestamp_ms=NOW_MS, offset=6)
    engine.fenced(7)

    taken = engine.take(NOW_MS, 10)
    assert {settlement.subject.key for settlement in taken} == {b"due", b"soon"}, "one fires, one is cancelled"
    assert not engine.wanted()


def test_a_record_that_is_gone_while_a_restore_goes_on_may_have_been_replaced() -> None:
    engine, asked, bodies = restoring()
    asked.give(Collected([], [3, 5]))
    bodies.collect()
    due = (b"due", NOW_MS, 7)
    engine.far(versions([due]))
    engine.fenced(8)

    assert engine.take(NOW_MS, 10) == []
    assert engine.wanted() == [7]
    assert len(engine.pending) == 3
