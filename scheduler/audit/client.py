"""The judge's own consumers: read_committed, from the beginning, in no group; and what they are given."""

from __future__ import annotations

from hashlib import sha256
from itertools import starmap
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scheduler.audit.records import Record, shared
from scheduler.headers import read_headers
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from confluent_kafka import Message

BATCH = 10_000
POLL_SECONDS = 0.1
REQUEST_SECONDS = 10.0

_LASTING = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's public code
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)


def make_consumer(conf: Mapping[str, Any]) -> Consumer:
    """A consumer that sees only what is committed, is told where partitions end, and joins nothing."""
    return Consumer(
        {
            "client.id": "scheduler-audit",
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 2,
            "reconnect.backoff.max.ms": 1000,
            **conf,
            "group.id": "scheduler-audit",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )


def partitions_of(consumer: Consumer, topics: Collection[str], seconds: float = REQUEST_SECONDS) -> dict[str, int]:
    """How many partitions each of the topics has; those that are not there are left out.

    Raises:
        KafkaException: no broker answers.
    """
    known = consumer.list_topics(timeout=seconds).topics
    return {name: len(known[name].partitions) for name in topics if name in known and known[name].error is None}


def from_beginning(topic: str, partitions: int, first: int = 0) -> list[TopicPartition]:
    """Where to begin: offset 0 of the partitions from the `first` on."""
    return [TopicPartition(topic, partition, 0) for partition in range(first, partitions)]


def take(consumer: Consumer) -> list[Message]:
    """Records and ends of partitions, as soon as there are any; what passes by itself is waited for.

    Raises:
        KafkaException: an error that does not pass: a missing right, say.
    """
    messages = []
    for message in poll_batch(consumer, POLL_SECONDS, BATCH):
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            messages.append(message)
        elif error.fatal() or error.code() in _LASTING:
            raise KafkaException(error)
    return messages


def record_of(message: Message, received_ms: int | None = None) -> Record:
    """Take a message of the client apart, once."""
    try:
        headers = tuple(starmap(shared, read_headers(message)))
    except UnicodeDecodeError:
        headers = None
    value = message.value()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        None if value is None else sha256(value).digest(),
        0 if value is None else len(value),
        headers,
        received_ms,
    )
