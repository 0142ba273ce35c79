"""Reads what a consumer has, without a call for each record; want of memory is told as what it is."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

from confluent_kafka import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from confluent_kafka import Consumer


def poll_batch(consumer: Consumer, seconds: float, most: int) -> list[Message]:
    """What there is, as soon as there is any: records, ends of partitions and errors; nothing after that time.

    `poll` returns with the first, and `consume` without a time takes what is there beside it.

    Raises:
        MemoryError: there is none for them; they are lost to this consumer.
    """
    with _told_as_memory():
        first = consumer.poll(seconds)
        return [] if first is None else [first, *consumer.consume(most, 0)]


def gather_batch(consumer: Consumer, seconds: float, most: int) -> list[Message]:
    """So many, or what has come in that time: for whom a batch matters more than its first record.

    Raises:
        MemoryError: there is none for them; they are lost to this consumer.
    """
    with _told_as_memory():
        batch: list[Message] = consumer.consume(most, seconds)
        return batch


def by_partition(
    messages: Sequence[Message], topics: Sequence[str] = ()
) -> Iterator[tuple[tuple[str, int], list[Message]]]:
    """Runs of one partition, in order, each with its topic and number.

    Args:
        messages: as they were read.
        topics: all that there may be, where that is known: of one alone, no tuple is made for each record, which is
            a tenth of what a restore costs.
    """
    if len(topics) == 1:
        for number, run in groupby(messages, key=Message.partition):
            yield (topics[0], number), list(run)
    else:
        for key, run in groupby(messages, key=lambda message: (message.topic(), message.partition())):
            yield key, list(run)


@contextmanager
def _told_as_memory() -> Iterator[None]:
    """The client goes on after a MemoryError, and then the interpreter complains of the client."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        raise
