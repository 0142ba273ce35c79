"""Reads what a consumer has, without waiting for a batch to fill and without a call for each record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message


def poll_batch(consumer: Consumer, seconds: float, most: int) -> list[Message]:
    """What there is, as soon as there is any: records, ends of partitions and errors; nothing after that time.

    `poll` returns with the first, and `consume` without a time takes what is there beside it.
    """
    first = consumer.poll(seconds)
    return [] if first is None else [first, *consumer.consume(most, 0)]
