"""Single defects of the protocol, by name, to be built into a replica: the tests of guarantees must notice each.

Each takes away one thing on which a guarantee stands (docs/how-it-works.md). `installed` is for a replica in this
process; tests/support/failing_replica.py installs one in a process of its own.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from confluent_kafka import IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import OffsetSpec

from scheduler import service
from scheduler.broker import cluster, feed, owner
from scheduler.broker.failures import Kind, PublishError
from scheduler.engine import partition
from scheduler.engine.life import State
from scheduler.headers import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from confluent_kafka import Message

    from scheduler.engine.settlement import Out, Settlement

EARLY_MS = 300


class Mutation(StrEnum):
    """What is broken."""

    NO_FENCE = "no fence"
    """The new owner's producer does not fence the last one's."""
    STABLE_OFFSET = "stable offset"
    """A restore ends at the last stable offset instead of the high watermark."""
    NO_MARK = "no mark"
    """A restore ends at the first end that the consumer reports."""
    READ_AHEAD = "read ahead"
    """A new owner leaves out what was written between its reading ahead and its fence."""
    END_FIRST = "end first"
    """The end of the partition overtakes the records before it."""
    READ_UNCOMMITTED = "read uncommitted"
    """A restore believes records of transactions that were aborted."""
    BY_PARTITIONER = "by partitioner"
    """The successor goes where the partitioner of this client puts the key."""
    BLIND_TOMBSTONE = "blind tombstone"
    """A tombstone ends whatever is in force, also what its writer had not read."""
    TWO_TRANSACTIONS = "two transactions"
    """The message and the tombstone are committed one after the other."""
    KEPT_PRODUCER = "kept producer"
    """A producer goes on though an end of its last transaction may still be on its way."""
    DOUBT_IS_FAILURE = "doubt is failure"
    """A transaction of unknown outcome is taken for one that was aborted."""
    DOUBT_IS_SUCCESS = "doubt is success"
    """It is taken for one that was committed."""
    HEADERS_TWICE = "headers twice"
    """The headers of a message are asked for again after they could not be read."""
    EARLY = "early"
    """What is due soon is fired now."""


def install(mutation: Mutation) -> None:
    """Build the defect into this process, for good."""
    for target, name, defect in _PATCHES[mutation]():
        setattr(target, name, defect)


@contextmanager
def installed(mutation: Mutation | None) -> Iterator[None]:
    """Build the defect into replicas that are made within the block; None is a sound one."""
    with ExitStack() as until_the_end:
        if mutation is not None:
            for target, name, defect in _PATCHES[mutation]():
                until_the_end.enter_context(patch.object(target, name, defect, create=True))
        yield


Patch = tuple[Any, str, Any]


def _no_fence() -> Iterator[Patch]:
    sound = service.transactional_conf

    def conf(settings: Any, client_id: str, name: str) -> Any:
        return sound(settings, client_id, f"{name}-{os.getpid()}")

    yield service, "transactional_conf", conf


def _stable_offset() -> Iterator[Patch]:
    def high_watermark(self: cluster.Cluster, topic: str, partition: int) -> int:
        place = TopicPartition(topic, partition)
        asked = self._admin.list_offsets(
            {place: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=10
        )
        return int(asked[place].result(10).offset)

    yield cluster.Cluster, "high_watermark", high_watermark


def _no_mark() -> Iterator[Patch]:
    sound = partition.PartitionEngine.fenced
    yield partition.PartitionEngine, "fenced", lambda self, _mark: sound(self, 0)


def _read_ahead() -> Iterator[Patch]:
    def put_up(self: owner.Owner, fence: Callable[[], int | None]) -> None:
        known = self.read_to
        mark = fence()
        if mark is not None:
            self.engine.fenced(min(mark, known))
        self.reading = True

    yield owner.Owner, "_put_up", put_up


def _end_first() -> Iterator[Patch]:
    sound = owner.Owner.give

    def give(self: owner.Owner, messages: Sequence[Message], *, quietly: bool = False) -> None:
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self.engine.reached_end(message.offset())
        sound(self, messages, quietly=quietly)

    yield owner.Owner, "give", give


def _read_uncommitted() -> Iterator[Patch]:
    sound = service.consumer_conf
    yield service, "consumer_conf", lambda *given: {**sound(*given), "isolation.level": "read_uncommitted"}


def _by_partitioner() -> Iterator[Patch]:
    sound = service.Publisher

    class ByPartitioner(sound):  # type: ignore[misc,valid-type]
        ahead_ms = 0  # it is in what is published

        def publish(self, outs: Iterable[Out], ailing: Callable[[], bool] = lambda: False) -> None:
            super().publish((out._replace(partition=None) for out in outs), ailing)

    yield service, "Publisher", ByPartitioner


def _blind_tombstone() -> Iterator[Patch]:
    def ended(self: partition.PartitionEngine, key: bytes, replaces: int) -> None:
        self._unsaid.said(key, replaces, None)
        self.pending.remove(key)

    yield partition.PartitionEngine, "_ended", ended


def _two_transactions() -> Iterator[Patch]:
    sound = service.Publisher

    class Twice(sound):  # type: ignore[misc,valid-type]
        ahead_ms = 0  # it is in what is published

        def publish(self, outs: Iterable[Out], ailing: Callable[[], bool] = lambda: False) -> None:
            records = list(outs)
            super().publish([out for out in records if out.partition is None], ailing)
            super().publish([out for out in records if out.partition is not None], ailing)

    yield service, "Publisher", Twice


def _kept_producer() -> Iterator[Patch]:
    # a property that has no setter would raise: what is set is forgotten
    yield service.Publisher, "worn", property(lambda _self: False, lambda _self, _worn: None)


def _doubt_is_failure() -> Iterator[Patch]:
    sound = service.Publisher

    class Again(sound):  # type: ignore[misc,valid-type]
        ahead_ms = 0  # it is in what is published

        def publish(self, outs: Iterable[Out], ailing: Callable[[], bool] = lambda: False) -> None:
            records = list(outs)
            try:
                super().publish(records, ailing)
            except PublishError as error:
                if error.kind is Kind.FENCED:
                    raise
                self.open()
                super().publish(records, ailing)

    yield service, "Publisher", Again


def _doubt_is_success() -> Iterator[Patch]:
    def uncertain(self: partition.PartitionEngine, batch: Iterable[Settlement]) -> None:
        self.committed(batch)
        self.state = State.RECOVERING

    yield partition.PartitionEngine, "uncertain", uncertain


def _headers_twice() -> Iterator[Patch]:
    sound = feed.read_all_headers

    def read_all_headers(messages: Sequence[Message]) -> Any:
        found = sound(messages)
        return [
            repr(message.headers()) if headers is UNREADABLE else headers
            for message, headers in zip(messages, found, strict=True)
        ]

    yield feed, "read_all_headers", read_all_headers


def _early() -> Iterator[Patch]:
    sound_take = partition.PartitionEngine.take
    sound_next = partition.PartitionEngine.next_due_ms

    def take(self: partition.PartitionEngine, now_ms: int, limit: int, oldest_ms: int = 0) -> list[Settlement]:
        return sound_take(self, now_ms + EARLY_MS, limit, oldest_ms)

    def next_due_ms(self: partition.PartitionEngine) -> int | None:
        due_ms = sound_next(self)
        return None if due_ms is None else due_ms - EARLY_MS

    yield partition.PartitionEngine, "take", take
    yield partition.PartitionEngine, "next_due_ms", next_due_ms


_PATCHES: dict[Mutation, Callable[[], Iterator[Patch]]] = {
    Mutation.NO_FENCE: _no_fence,
    Mutation.STABLE_OFFSET: _stable_offset,
    Mutation.NO_MARK: _no_mark,
    Mutation.READ_AHEAD: _read_ahead,
    Mutation.END_FIRST: _end_first,
    Mutation.READ_UNCOMMITTED: _read_uncommitted,
    Mutation.BY_PARTITIONER: _by_partitioner,
    Mutation.BLIND_TOMBSTONE: _blind_tombstone,
    Mutation.TWO_TRANSACTIONS: _two_transactions,
    Mutation.KEPT_PRODUCER: _kept_producer,
    Mutation.DOUBT_IS_FAILURE: _doubt_is_failure,
    Mutation.DOUBT_IS_SUCCESS: _doubt_is_success,
    Mutation.HEADERS_TWICE: _headers_twice,
    Mutation.EARLY: _early,
}
