"""The ledger on a real broker: a member that is past writes nothing, and what is in the books is not written again."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from scheduler.clock import Deadline, SystemClock
from tests.support.schedules import wait_until
from worker.ledger import Booking, BookkeepingError, Ledger
from worker.offsets import Position
from worker.records import Books
from worker.recovery import booked_offsets
from worker.runs import Poison, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.broker import Broker, Topics
    from worker.partitions import Key

SECONDS = 40.0
CLOCK = SystemClock()


class Group:
    """A consumer group on a topic, and ledgers for it that write messages that are no jobs."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self._servers = broker.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        self._id = f"group-{uuid.uuid4().hex[:8]}"
        self._members: list[Consumer] = []
        self.topic = topics.create("cluster")
        self.dead_letters = topics.create("dead-letters")

    def conf(self, group: str) -> dict[str, object]:
        return {
            "bootstrap.servers": self._servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }

    def join(self) -> tuple[Consumer, bytes]:
        """A member that has the partition, and its metadata."""
        assigned: list[bytes] = []
        consumer = Consumer(self.conf(self._id))
        self._members.append(consumer)
        consumer.subscribe([self.topic], on_assign=lambda c, _: assigned.append(bytes(c.consumer_group_metadata())))
        deadline = Deadline(CLOCK, SECONDS)
        while not assigned:
            assert not deadline.passed, "no partition"
            consumer.poll(0.1)
        return consumer, assigned[-1]

    def ledger(self, transactional_id: str = "", *, uncertain: bool = False) -> Ledger:
        transactional_id = transactional_id or uuid.uuid4().hex
        conf = {"bootstrap.servers": self._servers, "log_level": 0, "transactional.id": transactional_id}

        def committed(partitions: list[TopicPartition], *, stable: bool) -> list[TopicPartition]:
            asked = ConsumerGroupTopicPartitions(self._id, partitions)
            answer = self._admin.list_consumer_group_offsets([asked], require_stable=stable)[self._id]
            return list(answer.result().topic_partitions)

        def booked(keys: Sequence[Key]) -> dict[Key, set[int]]:
            return booked_offsets(self.conf("reads"), self.dead_letters, keys, CLOCK)

        books = Books("schedules", "results", self.dead_letters, "cluster", "here")
        return Ledger(
            books, lambda _: Producer(conf), committed, booked, CLOCK, patience_seconds=45, uncertain=uncertain
        )

    def booking(self, metadata: bytes, *offsets: int, position: Position) -> Booking:
        entries = [Poison(Source(self.topic, 0, o), None, b"%d" % o, [], 0, "not a job") for o in offsets]
        return Booking(entries, {(self.topic, 0): position}, metadata)

    def written(self) -> list[bytes | None]:
        """The committed dead letters, to the end of the topic."""
        consumer = Consumer(self.conf("reads"))
        consumer.assign([TopicPartition(self.dead_letters, 0, 0)])
        found: list[bytes | None] = []
        deadline = Deadline(CLOCK, SECONDS)
        try:
            while True:
                message = consumer.poll(deadline.remaining())
                assert message is not None, "the end did not come"
                error = message.error()
                if error is None:
                    found.append(message.value())
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    return found
        finally:
            consumer.close()

    def close(self) -> None:
        for member in self._members:
            member.close()


@pytest.fixture
def group(broker: Broker, topics: Topics) -> Iterator[Group]:
    made = Group(broker, topics)
    yield made
    made.close()


def test_a_member_of_an_earlier_generation_writes_nothing(group: Group) -> None:
    first, old = group.join()
    first.close()
    _, new = group.join()
    ledger = group.ledger()

    with pytest.raises(BookkeepingError):
        ledger.book(group.booking(old, 0, position=Position(1)))
    assert ledger.positions([(group.topic, 0)]) == {(group.topic, 0): None}
    ledger.book(group.booking(new, 0, position=Position(1)))

    assert group.written() == [b"0"]


def test_what_an_uncertain_transaction_did_write_is_not_written_again(group: Group) -> None:
    _, metadata = group.join()
    position = Position(0, "1;3;")
    group.ledger("same").book(group.booking(metadata, 1, 2, position=position))

    group.ledger("same", uncertain=True).book(group.booking(metadata, 1, 2, 3, position=Position(0, "1;4;")))

    assert group.written() == [b"1", b"2", b"3"]
    assert group.ledger().positions([(group.topic, 0)]) == {(group.topic, 0): Position(0, "1;4;")}


def test_what_a_transaction_left_open_is_undone_and_written_once(group: Group) -> None:
    _, metadata = group.join()
    left_open = group.ledger("same")
    left_open.given_up = True
    with pytest.raises(BookkeepingError):
        left_open.book(group.booking(metadata, 0, position=Position(1)))

    group.ledger("same", uncertain=True).book(group.booking(metadata, 0, position=Position(1)))

    assert group.written() == [b"0"]


def test_another_owner_is_told_to_wait_while_a_transaction_is_open(group: Group) -> None:
    _, metadata = group.join()
    left_open = group.ledger("same")
    left_open.given_up = True
    with pytest.raises(BookkeepingError):
        left_open.book(group.booking(metadata, 0, position=Position(1)))
    other = group.ledger()

    with pytest.raises(BookkeepingError, match="not decided yet"):
        other.positions([(group.topic, 0)])
    group.ledger("same", uncertain=True).book(group.booking(metadata, 0, position=Position(1)))

    found: dict[Key, Position | None] = {}

    def decided() -> bool:
        # the coordinator hears of the commit a moment after the client
        with contextlib.suppress(BookkeepingError):
            found.update(other.positions([(group.topic, 0)]))
        return bool(found)

    wait_until(decided, "the transaction is decided")
    assert found == {(group.topic, 0): Position(1)}
