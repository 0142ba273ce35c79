"""What is in force on a schedules topic, as a client reads it: to the end, without joining a group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from scheduler.broker.feed import tell
from scheduler.broker.reader import read
from scheduler.clock import rfc3339
from scheduler.engine.partition import PartitionEngine
from scheduler.records import LogEntry, Stored
from scheduler.schedule import PAUSE_KEY, Cancel, Pause, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings
    from scheduler.schedule import Schedule


def in_force(
    settings: Settings,
    topic: str,
    clock: Clock,
    *,
    wanted: Callable[[bytes], bool] | None = None,
    start: Mapping[int, int] | None = None,
    ends: Mapping[int, int] | None = None,
    progress: Progress | None = None,
    engine_of: Callable[[int], PartitionEngine] = lambda _partition: PartitionEngine(),
) -> list[Stored]:
    """The schedules in force whose key is wanted, by partition; see `scheduler.broker.reader.read` for errors.

    Args:
        settings: where the brokers are.
        topic: one schedules topic.
        clock: for deadlines.
        wanted: which keys; others are passed over before anything of them is decoded. None is all.
        start: read these partitions only, each from that offset.
        ends: how far to read; None is the end as it is now.
        progress: is told how far the reading is.
        engine_of: makes the engine of a partition.
    """
    engines: dict[int, PartitionEngine] = {}
    read_to: dict[int, int] = {}
    for message in read(settings, topic, clock, start=start, ends=ends, progress=progress):
        partition = message.partition()
        read_to[partition] = message.offset() + 1
        key = message.key()
        if wanted is not None and key != PAUSE_KEY and (key is None or not wanted(key)):
            continue
        engine = engines.get(partition)
        if engine is None:
            engine = engines[partition] = engine_of(partition)
        tell(engine, ((message, None),))
    return [
        Stored(topic, partition, schedule, engine.paused, read_to[partition])
        for partition, engine in sorted(engines.items())
        for schedule in engine.pending
    ]


def log_of(
    settings: Settings,
    topic: str,
    clock: Clock,
    keys: Collection[bytes],
    progress: Progress | None = None,
    *,
    partition: int | None = None,
) -> tuple[list[Stored], list[LogEntry]]:
    """The schedules in force under these keys, and every record of them that the topic (or the partition) holds."""
    engines: list[_Chronicle] = []

    def engine_of(partition: int) -> _Chronicle:
        engines.append(_Chronicle(partition))
        return engines[-1]

    start = None if partition is None else {partition: OFFSET_BEGINNING}
    found = in_force(
        settings, topic, clock, wanted=keys.__contains__, start=start, progress=progress, engine_of=engine_of
    )
    standing = {(stored.partition, stored.schedule.offset) for stored in found}
    entries = [
        replace(entry, in_force=(entry.partition, entry.offset) in standing)
        for engine in engines
        for entry in engine.entries
    ]
    return found, sorted(entries, key=lambda entry: (entry.partition, entry.offset))


def endings_of(
    settings: Settings, topic: str, clock: Clock, keys: Collection[bytes], progress: Progress | None = None
) -> tuple[list[Stored], dict[bytes, int]]:
    """The schedules in force under these keys, and when each key last ended (Unix ms).

    Ends are known as far as compaction has left their tombstones.
    """
    ended: dict[bytes, int] = {}
    found = in_force(
        settings, topic, clock, wanted=keys.__contains__, progress=progress, engine_of=lambda _: _Obituary(ended)
    )
    return found, ended


class _Obituary(PartitionEngine):
    """An engine that notes when keys were ended."""

    def __init__(self, ended: dict[bytes, int]) -> None:
        super().__init__()
        self._dates = ended

    def hear(self, fact: Schedule | Cancel | Pause | Rejected) -> None:
        super().hear(fact)
        if isinstance(fact, Cancel):
            self._dates[fact.key] = max(fact.timestamp_ms, self._dates.get(fact.key, fact.timestamp_ms))


class _Chronicle(PartitionEngine):
    """An engine that keeps in words what it was told."""

    def __init__(self, partition: int) -> None:
        super().__init__()
        self.entries: list[LogEntry] = []
        self._partition = partition

    def hear(self, fact: Schedule | Cancel | Pause | Rejected) -> None:
        super().hear(fact)
        if not isinstance(fact, Pause):
            self.entries.append(LogEntry(self._partition, fact.offset, fact.timestamp_ms, _words(fact), in_force=False))


def _words(fact: Schedule | Cancel | Rejected) -> str:
    if isinstance(fact, Rejected):
        return f"rejected: {fact.detail}"
    writer = "" if fact.replaces is None else f", written by the scheduler for offset {fact.replaces}"
    if isinstance(fact, Cancel):
        return ("cancel" if fact.replaces is None else "tombstone") + writer
    state = ", paused" if fact.paused else ""
    return f"due {rfc3339(fact.due_ms)}{state}{writer}"
