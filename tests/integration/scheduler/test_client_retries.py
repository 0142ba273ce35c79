"""A consumer's side of the client library on a real broker: retries, copies, its own transactions, asyncio."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import aclosing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from scheduler import (
    AsyncSchedulerClient,
    HistoryFilter,
    InputError,
    SchedulerClient,
    is_retried_message,
    is_scheduler_message,
    original_timestamp_ms,
    partitioners,
    retry_attempts,
)
from tests.support.raw_produce import produce_raw
from tests.support.records import Put, Record
from tests.support.schedules import SECONDS, clock, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Message

    from tests.support.schedules import Installation

PAGE = Path(__file__).parents[3] / "docs/library.md"
HOUR_MS = 3_600_000


def shown(name: str, place: int = 0) -> dict[str, Any]:
    """What the document's code that defines this function makes."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    made: dict[str, Any] = {}
    exec([block for block in blocks if f"def {name}(" in block][place], made)  # noqa: S102 - our own document
    return made


@pytest.fixture
def client(installation: Installation) -> Iterator[SchedulerClient]:
    with SchedulerClient(installation.settings()) as made:
        yield made


@contextmanager
def consuming(installation: Installation, topic: str) -> Iterator[Callable[[], Message]]:
    """A consumer of the whole topic; the function waits for its next message."""
    consumer = Consumer(
        {"bootstrap.servers": installation.broker, "group.id": "reads", "isolation.level": "read_committed"}
    )

    def following() -> Message:
        message = consumer.poll(SECONDS)
        assert message is not None, f"nothing more on {topic}"
        assert message.error() is None, message.error()
        return message

    try:
        partitions = consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        yield following
    finally:
        consumer.close()


def test_a_consumer_that_fails_retries_with_growing_delays_and_gives_up(
    installation: Installation, client: SchedulerClient
) -> None:
    example = shown("handle_or_retry")
    policy = example["POLICY"]
    aside: list[Message] = []

    def handle(_: Message) -> None:
        raise ZeroDivisionError

    (first,) = installation.write(Put(installation.target, b"k", b"payload", [("trace", b"1")]))
    with installation.replica(), consuming(installation, installation.target) as following:
        seen = []
        while not aside:
            message = following()
            seen.append(Record.of(message))
            assert retry_attempts(message) == len(seen) - 1
            assert is_retried_message(message) is is_scheduler_message(message) is (len(seen) > 1)
            example["handle_or_retry"](message, handle, client, aside.append)

    assert len(seen) == policy.max_attempts + 1
    assert {(each.key, each.value, each["trace"]) for each in seen} == {(b"k", b"payload", b"1")}
    assert {each["error"] for each in seen[1:]} == {b"ZeroDivisionError()"}
    # the target stamps: what lies between two of them is at least the delay, and no more is certain on a busy machine
    waited = [after.timestamp_ms - before.timestamp_ms for before, after in pairwise(seen)]
    assert [ms >= 200 * 2**number for number, ms in enumerate(waited)] == [True] * policy.max_attempts
    assert original_timestamp_ms(aside[0]) == first.timestamp_ms // 1000 * 1000
    assert client.schedules(installation.schedules) == []


def test_a_message_that_fails_twice_before_its_offset_is_committed_comes_back_once(
    installation: Installation, client: SchedulerClient
) -> None:
    installation.write(Put(installation.target, None, b"payload", []))
    for _ in range(2):
        with consuming(installation, installation.target) as following:
            client.schedule_retry(following(), delay="1h")

    (stored,) = client.schedules(installation.schedules)
    assert stored.schedule.schedule_id == f"{installation.target}-0@0#1"


def test_copies_of_an_occurrence_are_handled_once(installation: Installation, client: SchedulerClient) -> None:
    for key in ("a", "b"):
        client.schedule(key, key, installation.target, delay="0s")
    with installation.replica():
        fired = installation.fired(b"a", b"b")
    installation.write(*(Put(each.topic, each.key, each.value, each.headers) for each in fired))

    in_memory, in_database = shown("handle_once"), shown("handle_once", 1)
    database, handled = sqlite3.connect(":memory:"), []
    database.executescript(in_database["SCHEMA"])
    with consuming(installation, installation.target) as following:
        for _ in range(4):
            message = following()
            in_memory["handle_once"](message, lambda each: handled.append(each.value()))
            in_database["handle_once"](message, database)

    assert sorted(handled) == [b"a", b"b"]
    assert database.execute("SELECT count(*) FROM views").fetchone() == (2,)
    database.close()


def test_a_schedule_in_the_callers_transaction_that_is_aborted_never_fires(
    install: Callable[..., Installation],
) -> None:
    """Its producer partitions in its own way; a schedule stands where the client's others would replace it."""
    installation = install(partitions=4)
    keys = [f"key-{number}" for number in range(40)]
    keys = [key for key in keys if partitioners.librdkafka(key.encode(), 4) != partitioners.java(key.encode(), 4)][:3]
    producer = Producer({"bootstrap.servers": installation.broker, "transactional.id": installation.group_id})
    producer.init_transactions(SECONDS)
    with SchedulerClient(installation.settings()) as client, installation.replica() as replica:
        due_ms = clock.now_ms()
        producer.begin_transaction()
        client.produce(producer, *(client.draft(key, b"aborted", installation.target, at=due_ms) for key in keys))
        assert producer.flush(SECONDS) == 0
        producer.abort_transaction(SECONDS)

        producer.begin_transaction()
        client.produce(producer, *(client.draft(key, b"replaced", installation.target, delay="1h") for key in keys))
        producer.commit_transaction(SECONDS)
        wait_until_pending(replica, 3)
        receipts = [client.schedule(key, b"committed", installation.target, at=due_ms) for key in keys]
        fired = installation.fired(*(key.encode() for key in keys))
        wait_until_pending(replica, 0)

        assert [record.value for record in fired] == [b"committed"] * 3
        assert [receipt.partition for receipt in receipts] == [partitioners.java(key.encode(), 4) for key in keys]
    assert len(installation.read(installation.target)) == 3


def test_a_retry_and_the_offset_stand_together_or_not_at_all(
    installation: Installation, client: SchedulerClient
) -> None:
    installation.write(Put(installation.target, b"k", b"payload", []))
    producer = Producer({"bootstrap.servers": installation.broker, "transactional.id": installation.group_id})
    producer.init_transactions(SECONDS)
    consumer = Consumer(
        {
            "bootstrap.servers": installation.broker,
            "group.id": f"consumer-of-{installation.target}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    place = TopicPartition(installation.target, 0)
    try:
        consumer.subscribe([installation.target])
        message = consumer.poll(SECONDS)
        assert message is not None
        offsets = [TopicPartition(installation.target, 0, message.offset() + 1)]
        for commits in (False, True):
            producer.begin_transaction()
            client.produce(producer, client.draft_retry(message, delay="1h"))
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), SECONDS)
            if commits:
                producer.commit_transaction(SECONDS)
            else:
                producer.abort_transaction(SECONDS)
            (committed,) = consumer.committed([place], SECONDS)
            assert (committed.offset == 1) is commits
            assert len(client.schedules(installation.schedules)) == commits
    finally:
        consumer.close()

    producer.begin_transaction()
    (stored,) = client.schedules(installation.schedules)
    client.produce(producer, client.draft_cancel(stored))
    producer.commit_transaction(SECONDS)
    assert client.schedules(installation.schedules) == []


def test_a_message_whose_headers_cannot_be_read_is_refused_as_often_as_it_is_asked_for(
    installation: Installation, client: SchedulerClient
) -> None:
    now_ms = clock.now_ms()
    produce_raw(installation.broker, installation.target, 0, b"k", b"v", [(b"\xff", b"1")], timestamp_ms=now_ms)
    with consuming(installation, installation.target) as following:
        message = following()
    for _ in range(100):
        with pytest.raises(InputError, match=r"-0@0: the name of a header is not UTF-8"):
            is_scheduler_message(message)
    with pytest.raises(InputError, match="not UTF-8"):
        client.schedule_retry(message)


def test_tasks_schedule_at_the_same_time_and_follow_what_becomes_of_it(installation: Installation) -> None:
    keys = [f"key-{number}" for number in range(200)]

    async def main() -> None:
        async with AsyncSchedulerClient(installation.settings()) as client:
            beats = 0

            async def beat() -> None:
                nonlocal beats
                while True:
                    await asyncio.sleep(0)
                    beats += 1

            heart = asyncio.create_task(beat())
            receipts = await asyncio.gather(
                *(client.schedule(key, key, installation.target, delay="1h") for key in keys)
            )
            heart.cancel()
            assert beats > len(keys)  # the loop went on
            assert [receipt.key for receipt in receipts] == [key.encode() for key in keys]
            assert len({(receipt.partition, receipt.offset) for receipt in receipts}) == len(keys)

            found = await client.find(*keys[:2])
            await asyncio.gather(client.cancel(found[0]), client.fire(found[1]))
            told = set()
            async with aclosing(client.history(HistoryFilter(), follow=True)) as events:
                async for event in events:
                    told.add((event.schedule_id, event.outcome))
                    if len(told) == 2:
                        break
            assert len(await client.schedules(installation.schedules, prefix="key-")) == len(keys) - 2
            ended = [event.schedule_id async for event in client.history()]
            expected = {(found[0].schedule.schedule_id, "cancelled"), (found[1].schedule.schedule_id, "fired")}
            assert told == expected
            assert sorted(ended) == sorted(key for key, _ in expected)

    with installation.replica():
        asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_a_client_that_is_closed_ends_what_follows_and_a_task_that_is_cancelled_ends(
    installation: Installation,
) -> None:
    async def follow(client: AsyncSchedulerClient) -> int:
        return len([event async for event in client.history(follow=True)])

    async def main() -> None:
        async with AsyncSchedulerClient(installation.settings()) as client:
            closed, cancelled = (asyncio.create_task(follow(client)) for _ in range(2))
            await client.schedule("a", b"", installation.target, delay="1h")  # both have begun
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert not closed.done()
        assert await closed == 0

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_a_retry_from_a_task(installation: Installation) -> None:
    async def main(message: Message) -> None:
        async with AsyncSchedulerClient(installation.settings()) as client:
            await client.schedule_retry(message, delay="0s")

    installation.write(Put(installation.target, b"k", b"payload", []))
    with installation.replica(), consuming(installation, installation.target) as following:
        asyncio.run(asyncio.wait_for(main(following()), SECONDS))
        again = following()
    assert (again.key(), again.value(), retry_attempts(again)) == (b"k", b"payload", 1)
