"""Reads what a consumer has, without waiting for a batch to fill and without a call for each record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message


def poll_batch(consumer: Consumer, seconds: float, most: int) -> list[Message]:
    """What there is, as soon as there is any: records, ends of partitions and errors; nothing after that time.

    `poll` returns with the first, and `consume` without a time takes what is there beside it.

    Raises:
        MemoryError: there is none for them; they are lost to this consumer.
    """
    try:
        first = consumer.poll(seconds)
        return [] if first is None else [first, *consumer.consume(most, 0)]
    except SystemError as error:
        if isinstance(error.__cause__, MemoryError):  # the client goes on after it, and then the interpreter complains
            raise error.__cause__ from None
        raise
