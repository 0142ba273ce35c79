"""A model of Kafka, as far as the protocol stands on it: logs, transactions, fencing, compaction.

As in Kafka, the end of a transaction is decided by its coordinator, and each partition learns of it by a marker of its
own, some time later; until then the partition's last stable offset stays where it is. A request that says how a
transaction ends may be delayed and decide a later one of the same producer. A cleaner removes what newer records of a
key hide and tombstones that have been kept long enough, never the newest record of a key that has a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Header = tuple[str, bytes | None]

LARGE: Header = ("large", b"")
"""Of a record that is too large for a target."""
COMPACTION_LAG_MS = 600_000
"""`min.compaction.lag.ms` of a schedules topic."""
DELETE_RETENTION_MS = 3_600_000
"""`delete.retention.ms`: a tombstone is kept for so long after the cleaning that first met it."""


class FencedError(Exception):
    """The writer's epoch is not the newest."""


class InvalidStateError(Exception):
    """The coordinator knows of no such transaction."""


class NotYetError(Exception):
    """The last transaction of this transactional id is not told to all of its partitions."""


class State(StrEnum):
    """How a transaction stands at its coordinator."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(eq=False, slots=True)
class Transaction:
    """Its records take effect in a log when it is committed and the log has its marker."""

    by: str
    """Who writes it, for the trace."""
    state: State = State.OPEN
    unmarked: list[Log] = field(default_factory=list)
    """Logs that have records of it and no marker yet."""
    entries: list[Entry] = field(default_factory=list)
    context: object = None
    """What the judge has to know of the circumstances."""


@dataclass(eq=False, slots=True)
class Entry:
    """A record; a marker has no key and is not kept."""

    log: Log
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp_ms: int
    transaction: Transaction | None
    horizon_ms: int | None = None
    """When a tombstone may go."""

    @property
    def committed(self) -> bool:
        return self.transaction is None or self.transaction.state is State.COMMITTED


class Log:
    """One partition; one that is strict refuses what is too large for it."""

    def __init__(self, name: str, *, strict: bool = False) -> None:
        self.name = name
        self._strict = strict
        self.entries: list[Entry] = []
        """What is left of it."""
        self.archive: list[Entry] = []
        """All that was ever in it."""
        self.end = 0
        self._open: dict[Transaction, int] = {}

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header],
        timestamp_ms: int,
        transaction: Transaction | None = None,
    ) -> Entry:
        entry = Entry(self, self.end, key, value, headers, timestamp_ms, transaction)
        self.end += 1
        self.entries.append(entry)
        self.archive.append(entry)
        if transaction is not None:
            transaction.entries.append(entry)
            if self not in transaction.unmarked:
                transaction.unmarked.append(self)
                self._open[transaction] = entry.offset
        return entry

    def refuses(self, headers: list[Header]) -> bool:
        return self._strict and LARGE in headers

    def mark(self, transaction: Transaction) -> None:
        """The marker, which takes an offset."""
        transaction.unmarked.remove(self)
        del self._open[transaction]
        self.end += 1

    def last_stable_offset(self) -> int:
        return min(self._open.values(), default=self.end)

    def read(self, position: int, limit: int, *, uncommitted: bool = False) -> tuple[list[Entry], int | None]:
        """Records from the position on, and the end if they reach it."""
        stable = self.end if uncommitted else self.last_stable_offset()
        found: list[Entry] = []
        for entry in self.entries[self._index(position) :]:
            if entry.offset >= stable:
                break
            if uncommitted or entry.committed:
                if len(found) == limit:
                    return found, None
                found.append(entry)
        return found, stable

    def at(self, offset: int) -> Entry | None:
        """What stands there; None where the cleaner has taken it."""
        index = self._index(offset)
        found = self.entries[index] if index < len(self.entries) else None
        return found if found is not None and found.offset == offset else None

    def _index(self, position: int) -> int:
        """The first entry at the position or behind it."""
        low, high = 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle].offset < position:
                low = middle + 1
            else:
                high = middle
        return low

    def compact(
        self,
        now_ms: int,
        end: int,
        spared: Collection[bytes],
        read_to: Callable[[int], bool],
        retention_ms: int = DELETE_RETENTION_MS,
    ) -> int:
        """Clean what is decided and older than the lag.

        Args:
            now_ms: the broker's clock.
            end: what is behind it is not touched.
            spared: keys that are left as they are.
            read_to: whether every reader that has begun is behind a tombstone at that offset.
            retention_ms: how long a tombstone is kept.
        """
        old_ms = now_ms - COMPACTION_LAG_MS
        stable = min(end, self.last_stable_offset())
        dirty = next((e.offset for e in self.entries if e.offset >= stable or e.timestamp_ms > old_ms), stable)
        newest = {entry.key: entry.offset for entry in self.entries if entry.offset < dirty and entry.committed}
        before = len(self.entries)
        self.entries = [
            entry
            for entry in self.entries
            if entry.offset >= dirty
            or (entry.key in spared and entry.committed)
            or (newest.get(entry.key) == entry.offset and _stays(entry, now_ms, read_to, retention_ms))
        ]
        return before - len(self.entries)


def _stays(entry: Entry, now_ms: int, read_to: Callable[[int], bool], retention_ms: int) -> bool:
    """Whether the cleaner leaves the newest record of a key."""
    if entry.value is not None:
        return True
    if entry.horizon_ms is None:
        entry.horizon_ms = now_ms + retention_ms
    return now_ms < entry.horizon_ms or not read_to(entry.offset)


class Coordinator:
    """Of one transactional id: it speaks the first transaction protocol, as librdkafka does."""

    def __init__(self) -> None:
        self.epoch = 0
        self._current: Transaction | None = None
        self._unmarked: list[Transaction] = []
        self._last: State | None = None
        """How the last transaction of this epoch has ended."""

    def init(self) -> int:
        """`InitProducerId`: whoever held the id is fenced, and its transaction aborted.

        Raises:
            NotYetError: until all partitions of the last transaction have their markers.
        """
        self.epoch += 1
        self._last = None
        if self._current is not None:
            self._decide(State.ABORTED)
        if self._unmarked:
            raise NotYetError
        return self.epoch

    def begin(self, epoch: int, transaction: Transaction) -> None:
        """The first partition is added. It waits until the last transaction is told everywhere."""
        self._check(epoch)
        if self._current is not None:
            raise InvalidStateError
        while self._unmarked:
            self.write_marker(0)
        self._current = transaction

    def produce(
        self,
        epoch: int,
        transaction: Transaction,
        log: Log,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header],
        timestamp_ms: int,
    ) -> Entry:
        self._check(epoch)
        if self._current is not transaction:  # the broker verifies that the transaction goes on (KIP-890, part 1)
            raise InvalidStateError
        return log.append(key, value, headers, timestamp_ms, transaction)

    def end(self, epoch: int, state: State) -> None:
        """`EndTxn`: it names an epoch, not a transaction (KAFKA-17754)."""
        self._check(epoch)
        if self._current is not None:
            self._decide(state)
        elif self._last is not state:
            raise InvalidStateError

    def time_out(self) -> bool:
        """The transaction has lasted too long: it is aborted, and its producer fenced."""
        if self._current is None:
            return False
        self.epoch += 1
        self._decide(State.ABORTED)
        return True

    def write_marker(self, which: int) -> Log | None:
        """One partition learns how a transaction has ended."""
        if not self._unmarked:
            return None
        transaction = self._unmarked[0]
        log = transaction.unmarked[which % len(transaction.unmarked)]
        log.mark(transaction)
        if not transaction.unmarked:
            self._unmarked.pop(0)
        return log

    def _check(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise FencedError

    def _decide(self, state: State) -> None:
        transaction = self._current
        if transaction is None:
            raise InvalidStateError
        self._current = None
        self._last = transaction.state = state
        if transaction.unmarked:
            self._unmarked.append(transaction)
