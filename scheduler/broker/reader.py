"""Reads a topic from a point to its end, or on and on, without joining a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from scheduler.broker.cluster import REQUEST_SECONDS, Cluster
from scheduler.clock import Deadline
from scheduler.errors import BrokerUnavailableError, InputError
from scheduler.runtime.kafka import consumer_conf, unavailable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings

BATCH = 10_000
STALL_SECONDS = 30.0
"""A broker that gives nothing for so long, with records left to read, does not answer."""


def read(
    settings: Settings,
    topic: str,
    clock: Clock,
    *,
    since_ms: int | None = None,
    follow: threading.Event | None = None,
) -> Iterator[Message]:
    """Every committed record of the topic, in order within each partition.

    Args:
        settings: where the brokers are.
        topic: must exist.
        clock: for the deadline of a broker that has fallen silent.
        since_ms: begin with the first record that Kafka stamped then or later (Unix ms).
        follow: go on past the end until this is set; None stops at the end as it was at the start.

    Raises:
        InputError: the topic does not exist.
        BrokerUnavailableError: the brokers do not answer.
    """
    consumer = Consumer(consumer_conf(settings, "scheduler-reader", "scheduler-reader"))
    try:
        starts, ends = _bounds(consumer, settings, topic, since_ms)
        consumer.assign(starts)
        if follow is None:
            yield from _until(consumer, ends, settings, clock)
        else:
            while not follow.is_set():
                yield from _records(consumer, lambda _partition, _offset: None)
    except KafkaException as error:
        raise unavailable(settings, error) from error
    finally:
        consumer.close()


def _bounds(
    consumer: Consumer, settings: Settings, topic: str, since_ms: int | None
) -> tuple[list[TopicPartition], dict[int, int]]:
    cluster = Cluster(settings, "scheduler-reader")
    count = cluster.partitions(topic)
    consumer.list_topics(topic, timeout=REQUEST_SECONDS)  # or its first fetch waits a second for the leaders
    if count is None:
        raise InputError(f"the topic {topic} does not exist; create it with: scheduler topics --create")
    starts = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(count)]
    if since_ms is not None:
        asked = [TopicPartition(topic, partition, since_ms) for partition in range(count)]
        starts = consumer.offsets_for_times(asked, timeout=REQUEST_SECONDS)
        for start in starts:
            if start.offset < 0:
                start.offset = OFFSET_END  # nothing that late
    return starts, {partition: cluster.high_watermark(topic, partition) for partition in range(count)}


def _until(consumer: Consumer, ends: dict[int, int], settings: Settings, clock: Clock) -> Iterator[Message]:
    left = set(ends)

    def reached(partition: int, offset: int) -> None:
        if offset >= ends[partition]:
            left.discard(partition)

    silence = Deadline(clock, STALL_SECONDS)
    while left:
        for message in _records(consumer, reached):
            silence = Deadline(clock, STALL_SECONDS)
            yield message
        if silence.passed:
            raise BrokerUnavailableError(
                f"Kafka at {settings.bootstrap_servers} has given nothing for {STALL_SECONDS:g} s, with records "
                f"left in partitions {sorted(left)}; a transaction that stays open does that, and so does a broker "
                "that is down"
            )


def _records(consumer: Consumer, reached: Callable[[int, int], None]) -> Iterator[Message]:
    first = consumer.poll(0.2)
    if first is None:
        return
    for message in (first, *consumer.consume(BATCH, 0)):
        error = message.error()
        if error is None:
            yield message
            # told of records as well: a topic that is written to all the time has no end to stand at
            reached(message.partition(), message.offset() + 1)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            reached(message.partition(), message.offset())
        elif error.fatal() or not error.retriable():
            raise KafkaException(error)
