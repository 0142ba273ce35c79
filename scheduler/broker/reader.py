"""Reads a topic from a point to its end, or on and on, without joining a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings

BATCH = 10_000
POLL_SECONDS = 0.2
STALL_SECONDS = 30.0
"""A broker that gives nothing for so long, with records left to read, does not answer."""


class Stop(Protocol):
    """When to stop following: a `threading.Event`, say."""

    def is_set(self) -> bool:
        """Whether it is time."""
        ...


def read(
    settings: Settings,
    topic: str,
    clock: Clock,
    *,
    since_ms: int | None = None,
    start: Mapping[int, int] | None = None,
    ends: Mapping[int, int] | None = None,
    follow: Stop | None = None,
    progress: Progress | None = None,
) -> Iterator[Message]:
    """Every committed record of the topic, in order within each partition.

    Args:
        settings: where the brokers are.
        topic: must exist.
        clock: for the deadline of a broker that has fallen silent.
        since_ms: begin with the first record that Kafka stamped then or later (Unix ms).
        start: read these partitions only, each from that offset.
        ends: read at least up to these offsets; None is the end as it is at the start, open transactions included.
        follow: go on past the end until this is set.
        progress: is told after each batch; not while following.

    Raises:
        InputError: the topic does not exist.
        BrokerUnavailableError: the brokers do not answer.
    """
    consumer = Consumer(consumer_conf(settings, "scheduler-reader", "scheduler-reader"))
    try:
        starts = _starts(consumer, settings, topic, since_ms, start)
        if follow is None:
            if ends is None:
                cluster = Cluster(settings, "scheduler-reader")
                ends = {place.partition: cluster.high_watermark(topic, place.partition) for place in starts}
            tell = _meter(consumer, starts, ends, progress) if progress is not None else None
            consumer.assign(starts)
            yield from _until(
                consumer, {place.partition: ends[place.partition] for place in starts}, settings, clock, tell
            )
        else:
            consumer.assign(starts)
            while not follow.is_set():
                yield from _records(consumer, lambda _partition, _offset: None)
    except KafkaException as error:
        raise unavailable(settings, error) from error
    finally:
        consumer.close()


def _starts(
    consumer: Consumer, settings: Settings, topic: str, since_ms: int | None, start: Mapping[int, int] | None
) -> list[TopicPartition]:
    count = Cluster(settings, "scheduler-reader").partitions(topic)
    consumer.list_topics(topic, timeout=REQUEST_SECONDS)  # or its first fetch waits a second for the leaders
    if count is None:
        raise InputError(f"the topic {topic} does not exist; create it with: scheduler topics --create")
    if start is not None:
        return [TopicPartition(topic, partition, offset) for partition, offset in start.items()]
    if since_ms is None:
        return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(count)]
    asked = [TopicPartition(topic, partition, since_ms) for partition in range(count)]
    starts: list[TopicPartition] = consumer.offsets_for_times(asked, timeout=REQUEST_SECONDS)
    for place in starts:
        if place.offset < 0:
            place.offset = OFFSET_END  # nothing that late
    return starts


def _meter(
    consumer: Consumer, starts: list[TopicPartition], ends: Mapping[int, int], progress: Progress
) -> Callable[[], None]:
    """How far the consumer is, by its own positions: asked once a batch, not once a record."""
    topic = starts[0].topic
    lows = {
        place.partition: consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS)[0]
        if place.offset < 0
        else place.offset
        for place in starts
    }
    total = sum(max(0, ends[partition] - low) for partition, low in lows.items())

    def tell() -> None:
        positions = consumer.position([TopicPartition(topic, partition) for partition in lows])
        done = sum(max(0, place.offset - lows[place.partition]) for place in positions)
        progress(topic, min(done, total), total)

    return tell


def _until(
    consumer: Consumer, ends: Mapping[int, int], settings: Settings, clock: Clock, tell: Callable[[], None] | None
) -> Iterator[Message]:
    left = set(ends)

    def reached(partition: int, offset: int) -> None:
        if offset >= ends[partition]:
            left.discard(partition)

    silence = Deadline(clock, STALL_SECONDS)
    while left:
        for message in _records(consumer, reached):
            silence = Deadline(clock, STALL_SECONDS)
            yield message
        if tell is not None:
            tell()
        if silence.passed:
            raise BrokerUnavailableError(
                f"Kafka at {settings.bootstrap_servers} has given nothing for {STALL_SECONDS:g} s, with records "
                f"left in partitions {sorted(left)}; a transaction that stays open does that, and so does a broker "
                "that is down"
            )


def _records(consumer: Consumer, reached: Callable[[int, int], None]) -> Iterator[Message]:
    for message in poll_batch(consumer, POLL_SECONDS, BATCH):
        error = message.error()
        if error is None:
            yield message
            # told of records as well: a topic that is written to all the time has no end to stand at
            reached(message.partition(), message.offset() + 1)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            reached(message.partition(), message.offset())
        elif error.fatal() or not error.retriable():
            raise KafkaException(error)
