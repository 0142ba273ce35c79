"""Results, retries, dead letters and the offsets that are done: one transaction, or nothing of it.

**Who may write.** The transactional id is the process's own and random; what keeps a replaced worker from writing is
the group metadata that `send_offsets_to_transaction` carries: the coordinator refuses a generation or member that is
past. (An id per partition, as the scheduler has it, would be a producer for each partition, to fence what a worker,
unlike the scheduler, fences anyway by the offsets that it commits.) The metadata is taken in the rebalance callbacks
and kept: there, what is owned and the generation belong together, and the group goes on only when the callback returns.
Taken later, that of a member that was lost and has joined again would pass for partitions it no longer has. Without a
generation and a member id the coordinator checks nothing at all, so nothing is booked with such metadata.
The next owner's first look at the committed offsets waits until an old owner's transaction is decided.

**Uncertain is dead.** After any call that raised, or a transaction that took long, the producer is dropped. The next
has the same id: its `init_transactions` decides what was left open. Then the committed position, which is part of the
transaction, says which entries are in the books already; only the others are written again, no attempt is repeated.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from scheduler.runtime.logs import fields
from worker.offsets import Position, Progress, corrected
from worker.partitions import key_of, offset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import Message, Producer

    from scheduler.clock import Clock
    from scheduler.records import Write
    from worker.partitions import Key
    from worker.records import Books
    from worker.runner import Finished
    from worker.runs import Poison, Started

log = logging.getLogger("worker")

CALL_SECONDS = 15.0
UNDECIDED_SECONDS = 30.0
"""A transaction is decided at the latest this long after its timeout: the coordinator looks every 10 s."""
RETRY_BACKOFF_MS = 100
RESENT_SECONDS = 0.075
"""A commit that is answered sooner was asked for once: the client waits for its backoff, less a fifth, before it asks
again. The first request of one that was asked for twice may still be on its way, and would decide the next transaction
of the same producer (KAFKA-17754): that producer is not used again."""

_METADATA_MAGIC = b"CGMDv2:"


class Committed(Protocol):
    """Asks for committed offsets and their metadata."""

    def __call__(self, partitions: list[TopicPartition], *, stable: bool) -> list[TopicPartition]:
        """The offsets, each with an error where there is one; raises KafkaException where nothing answers."""
        ...


class BookkeepingError(Exception):
    """The transaction failed, or its end is uncertain. Nothing is lost: book again."""


@dataclass(frozen=True, slots=True)
class Booking:
    """Entries, and the positions to commit with them."""

    entries: Sequence[Finished | Poison]
    positions: Mapping[Key, Position]
    group_metadata: bytes
    started: Sequence[Started] = ()
    """Told in the results, beside the notes that are part of the positions."""


class Ledger:
    """Books on one producer at a time, on one thread at a time.

    Args:
        open_producer: makes a producer, always with the same transactional id, that tells the given function of each
            record that failed, and of no other.
        committed: asks for the group's offsets; stable ones are an error while an open transaction may change them.
        booked: the offsets that have a result, for when the coordinator cannot tell.
        patience_seconds: after this, no transaction of a worker can still be open.
        uncertain: an earlier ledger of this id was given up in the middle.
    """

    def __init__(
        self,
        books: Books,
        open_producer: Callable[[Callable[[KafkaError | None, Message], None]], Producer],
        committed: Committed,
        booked: Callable[[Sequence[Key]], Mapping[Key, set[int]]],
        clock: Clock,
        *,
        patience_seconds: float,
        uncertain: bool = False,
    ) -> None:
        self._books = books
        self._open_producer = open_producer
        self._committed = committed
        self._booked = booked
        self._clock = clock
        self._patience = patience_seconds
        self._unstable_since: dict[Key, float] = {}
        self._uncertain = uncertain
        self._producer: Producer | None = None
        self._too_large: set[Finished | Poison] = set()
        self._failures: list[tuple[str, bytes | None, KafkaError]] = []
        """Topic and key of what was refused, and why."""
        self.given_up = False
        """Set from outside when a call hangs: should it ever return, nothing may be committed any more."""

    def positions(self, keys: Sequence[Key]) -> dict[Key, Position | None]:
        """Where the group stands, once every earlier owner's transaction is decided.

        Raises:
            BookkeepingError: that cannot be told yet.
        """
        found = self._ask(keys, stable=True)
        unstable = [_key(it) for it in found if it.error and it.error.code() == KafkaError.UNSTABLE_OFFSET_COMMIT]
        now = self._clock.monotonic()
        self._unstable_since = {key: self._unstable_since.get(key, now) for key in unstable}
        if unstable:
            if now - max(self._unstable_since.values()) < self._patience:
                raise BookkeepingError("an earlier transaction is not decided yet")
            return self._corrected(_positions(self._ask(keys, stable=False)))
        return _positions(found)

    def _corrected(self, positions: dict[Key, Position | None]) -> dict[Key, Position | None]:
        log.warning("offsets stay unstable", extra=fields(offsets=str(positions)))
        try:
            booked = self._booked(list(positions))
        except KafkaException as error:
            raise BookkeepingError(f"results: {_text(error.args[0])}") from None
        return {key: corrected(position or Position(0), booked[key]) for key, position in positions.items()}

    def _ask(self, keys: Sequence[Key], *, stable: bool) -> list[TopicPartition]:
        try:
            return self._committed([TopicPartition(topic, partition) for topic, partition in keys], stable=stable)
        except KafkaException as error:
            raise BookkeepingError(f"committed offsets: {_text(error.args[0])}") from None

    def book(self, booking: Booking) -> None:
        """Write the booking; when it returns, it is committed.

        Raises:
            BookkeepingError: it may be committed or not; give the same entries again.
        """
        if self._producer is None:
            self._producer = self._open()
        entries = booking.entries
        if self._uncertain:
            entries = self._missing(booking)
            self._uncertain = False
        self._transact(self._producer, entries, booking)

    def _open(self) -> Producer:
        try:
            producer = self._open_producer(self._delivered)
            producer.init_transactions(CALL_SECONDS)
        except KafkaException as error:
            raise BookkeepingError(f"init_transactions: {_text(error.args[0])}") from None
        return producer

    def _missing(self, booking: Booking) -> list[Finished | Poison]:
        known = {key: Progress(position) for key, position in self.positions(list(booking.positions)).items()}
        return [entry for entry in booking.entries if not known[key_of(entry)].done(offset_of(entry))]

    def _transact(self, producer: Producer, entries: Sequence[Finished | Poison], booking: Booking) -> None:
        # until the end is known to be good, the producer is not to be used again
        self._producer, self._uncertain = None, True
        self._failures.clear()
        try:
            producer.begin_transaction()
            # before the first record: an abort while partitions are still being added fails (librdkafka 4849)
            producer.send_offsets_to_transaction(_offsets(booking), booking.group_metadata, CALL_SECONDS)
            for beginning in booking.started:
                self._produce(producer, self._books.started(beginning))
            for entry in entries:
                for write in self._records(entry):
                    self._produce(producer, write)
            producer.flush(CALL_SECONDS)
            if self.given_up:
                raise BookkeepingError("this transaction was given up for hanging")
            asked = self._clock.monotonic()
            producer.commit_transaction()
        except KafkaException as error:
            self._note_too_large(entries)
            with contextlib.suppress(KafkaException):
                producer.purge()
            raise BookkeepingError(self._told(error.args[0])) from None
        self._too_large.difference_update(entries)
        self._uncertain = False
        if self._clock.monotonic() - asked < RESENT_SECONDS:
            self._producer = producer

    def _records(self, entry: Finished | Poison) -> list[Write]:
        return self._books.records(entry, brief=entry in self._too_large)

    def _produce(self, producer: Producer, write: Write) -> None:
        try:
            producer.produce(write.topic, write.value, write.key, headers=write.headers)
        except KafkaException as error:
            self._failures.append((write.topic, write.key, error.args[0]))
            raise

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append((message.topic(), message.key(), error))

    def _note_too_large(self, entries: Sequence[Finished | Poison]) -> None:
        refused = {
            (topic, key) for topic, key, error in self._failures if error.code() == KafkaError.MSG_SIZE_TOO_LARGE
        }
        if refused:
            self._too_large |= {
                entry for entry in entries if any((one.topic, one.key) in refused for one in self._records(entry))
            }

    def _told(self, error: KafkaError) -> str:
        # what befell a record says more than "1 message(s) failed delivery"
        causes = {_text(cause) for *_, cause in self._failures if cause.code() != KafkaError._PURGE_QUEUE}  # noqa: SLF001 - librdkafka's name
        return "; ".join([_text(error), *sorted(causes)])


def fences(group_metadata: bytes) -> bool:
    """Whether a commit with this metadata is checked: it names a generation and a member.

    The layout is librdkafka's: magic, generation (int32), then group, member and instance id, each with a zero byte.
    """
    if not group_metadata.startswith(_METADATA_MAGIC):
        return False
    body = group_metadata[len(_METADATA_MAGIC) :]
    (generation,) = struct.unpack_from("=i", body)
    _, member, *_ = body[4:].split(b"\0")
    return generation > 0 and member != b""


def _positions(found: list[TopicPartition]) -> dict[Key, Position | None]:
    for partition in found:
        if partition.error is not None:
            raise BookkeepingError(f"committed offset of {partition.topic}-{partition.partition}: {partition.error}")
    return {
        _key(partition): Position(partition.offset, partition.metadata or "") if partition.offset >= 0 else None
        for partition in found
    }


def _key(partition: TopicPartition) -> Key:
    return partition.topic, partition.partition


def _offsets(booking: Booking) -> list[TopicPartition]:
    return [
        TopicPartition(topic, partition, position.offset, position.metadata)
        for (topic, partition), position in booking.positions.items()
    ]


def _text(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"
