"""What is in the books already, told by the results themselves.

Needed where the group coordinator cannot tell: a broker that is killed amid transactions may forget to mark one of them
when it comes back (seen with a single Apache Kafka 4.3.0: the transaction is decided, its partitions never hear of it),
and then calls the group's offsets unstable until an operator aborts it with `kafka-transactions.sh`. The results were
written in the same transactions. Those behind the forgotten one are hidden from readers too: of these few, an attempt
may be booked a second time. The other choice would be to stand still.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scheduler.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from worker.partitions import Key

LOOK_BACK_MS = 6 * 3_600_000
"""How old a result may be to be looked at: an outage that lasted longer may book an attempt twice."""
READ_SECONDS = 40.0
POLL_SECONDS = 1.0


def booked_offsets(conf: dict[str, Any], results_topic: str, keys: Sequence[Key], clock: Clock) -> dict[Key, set[int]]:
    """The messages of those partitions that have a committed result.

    Args:
        conf: of a read_committed consumer that reports the end of a partition; it joins no group.
        results_topic: where the results are.
        keys: the partitions in question.
        clock: for how far to look back, and for the limit of READ_SECONDS.

    Raises:
        KafkaException: the results could not be read to their end.
    """
    found: dict[Key, set[int]] = {key: set() for key in keys}
    deadline = Deadline(clock, READ_SECONDS)
    consumer = Consumer(conf)
    try:
        described = consumer.list_topics(results_topic, timeout=deadline.remaining()).topics[results_topic]
        since = [
            TopicPartition(results_topic, number, clock.now_ms() - LOOK_BACK_MS) for number in described.partitions
        ]
        starts = consumer.offsets_for_times(since, timeout=deadline.remaining())
        consumer.assign(starts)
        unread = {start.partition for start in starts}
        while unread:
            if deadline.passed:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"reading {results_topic}"))  # noqa: SLF001
            message = consumer.poll(POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is None:
                _note(message, found)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return found


def _note(message: Message, found: dict[Key, set[int]]) -> None:
    try:
        source = json.loads(message.value() or b"")["source"]
        key, offset = (source["topic"], source["partition"]), source["offset"]
    except (ValueError, KeyError, TypeError):
        return  # not written by a worker: anything may be sent to a topic
    if key in found and isinstance(offset, int):
        found[key].add(offset)
