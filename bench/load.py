"""What is measured: schedules for a replica, and the raw loop that writes the same records without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Producer

from scheduler import wire
from scheduler.runtime.kafka import producer_conf, transactional_conf
from scheduler.schedule import Outcome, Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.runtime.settings import Settings

PAYLOAD = b"x" * 100
TRANSACTION = 5000


def schedule(
    settings: Settings,
    topic: str,
    target: str,
    dues_ms: Sequence[int],
    run: str,
    *,
    size: int = 100,
    partitions: Sequence[int] | None = None,
) -> None:
    """Write one schedule for each due time; return when all are acknowledged.

    Args:
        settings: where the broker is.
        topic: the schedules topic.
        target: where they fire to.
        dues_ms: when they are due, Unix ms.
        run: begins their ids.
        size: bytes of each payload.
        partitions: of each in turn; by the key without it.
    """
    producer = Producer({**producer_conf(settings, "bench-load"), "linger.ms": 20})
    payload = b"x" * size
    for number, due_ms in enumerate(dues_ms):
        headers = [
            *wire.schedule_headers(target, due_ms=due_ms, target_key=b"key-%d" % number),
            ("customer-header", b"dummy"),
        ]
        partition = -1 if partitions is None else partitions[number % len(partitions)]
        while True:
            try:
                producer.produce(topic, payload, b"%b-%d" % (run.encode(), number), partition, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def raw(settings: Settings, topic: str, target: str, history: str, count: int, partitions: int) -> None:
    """The same three records for each of `count` schedules, in transactions of 5,000, and nothing else."""
    producer = Producer(transactional_conf(settings, "bench-raw", "bench-raw"))
    producer.init_transactions(30)
    example = Schedule(
        b"run-123456",
        PAYLOAD,
        1_893_456_000_250,
        target,
        b"key",
        None,
        [("customer-header", b"dummy")],
        [
            (wire.TARGET_TOPIC, target.encode()),
            (wire.TARGET_KEY, b"key-1234"),
        ],
        1_893_456_000_000,
        1,
    )
    said = wire.said_of(example, topic.encode(), example.due_ms)
    fired = wire.fired_headers(example, said)
    told = wire.history_headers(example, said, Outcome.FIRED, lateness_ms=3)
    ended = wire.tombstone_headers(123_456, Outcome.FIRED)
    produce = producer.produce
    for start in range(0, count, TRANSACTION):
        producer.begin_transaction()
        for number in range(start, min(start + TRANSACTION, count)):
            key = b"raw-%d" % number
            produce(target, PAYLOAD, key, headers=fired)
            produce(history, PAYLOAD, key, headers=told)
            produce(topic, None, key, number % partitions, headers=ended)
        producer.commit_transaction(30)
