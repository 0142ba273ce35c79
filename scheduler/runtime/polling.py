"""Reads what a consumer has, without a call for each record; want of memory is told as what it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Consumer, Message


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


@contextmanager
def _told_as_memory() -> Iterator[None]:
    """The client goes on after a MemoryError, and then the interpreter complains of the client."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        raise
