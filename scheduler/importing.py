"""What an import writes, and what it leaves as it is: the newer version of a schedule stays. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler import partitioners
from scheduler.records import Write
from scheduler.wire import lasting_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from scheduler.exported import Exported
    from scheduler.records import Stored


class Partitioner(StrEnum):
    """Where a key goes on a topic with another number of partitions than the one it comes from."""

    JAVA = "java"
    LIBRDKAFKA = "librdkafka"


_PLACES: Mapping[Partitioner, Callable[[bytes, int], int]] = {
    Partitioner.JAVA: partitioners.java,
    Partitioner.LIBRDKAFKA: partitioners.librdkafka,
}


class Verdict(StrEnum):
    """What becomes of a line."""

    WRITTEN = "written"  # or would be
    UNCHANGED = "unchanged"  # it is in force as the line states it
    NEWER = "newer there"  # another version is in force, written later or at the same time
    ENDED = "ended there"  # it was cancelled, or has fired, since the line was written
    REPEATED = "newer in the file"  # another line states the same schedule


@dataclass(frozen=True, slots=True)
class Decision:
    """One line, what becomes of it, and the record if there is one."""

    line: Exported
    verdict: Verdict
    topic: str
    partition: int
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A schedules topic as it is."""

    topic: str
    partitions: int
    standing: Mapping[bytes, Sequence[Stored]] = field(default_factory=dict)
    """What is in force, by key."""
    ended: Mapping[bytes, int] = field(default_factory=dict)
    """When a schedule was last ended there, Unix ms, as far as the log still tells."""


def decide(
    lines: Iterable[Exported], destination: Destination, *, partitioner: Partitioner, revive: bool
) -> Iterator[Decision]:
    """What becomes of each line, in their order.

    Args:
        lines: all for this destination.
        destination: what is there.
        partitioner: places keys where the numbers of partitions differ.
        revive: also write what has ended there since.
    """
    placed = [(line, _place(line, destination, partitioner)) for line in lines]
    newest: dict[tuple[bytes, int], Exported] = {}
    for line, partition in placed:
        known = newest.setdefault((line.schedule.key, partition), line)
        if known.written_ms < line.written_ms:
            newest[line.schedule.key, partition] = line
    for line, partition in placed:
        if newest[line.schedule.key, partition] is not line:
            yield Decision(line, Verdict.REPEATED, destination.topic, partition)
            continue
        verdict = _verdict(line, partition, destination, revive=revive)
        write = _write(line, destination.topic, partition) if verdict is Verdict.WRITTEN else None
        yield Decision(line, verdict, destination.topic, partition, write)


def astray(lines: Iterable[Exported], partitions: int, partitioner: Partitioner) -> int:
    """How many change over to a partition where the clients that wrote them may not look for them.

    They come from a topic with another number of partitions, and the partitioner had not put them where they stood.
    """
    place = _PLACES[partitioner]
    return sum(
        line.partitions != partitions and place(line.schedule.key, line.partitions) != line.partition for line in lines
    )


def _place(line: Exported, destination: Destination, partitioner: Partitioner) -> int:
    kept = line.partitions == destination.partitions
    wanted = line.partition if kept else _PLACES[partitioner](line.schedule.key, destination.partitions)
    there = {stored.partition for stored in destination.standing.get(line.schedule.key, ())}
    # a version elsewhere would be a second schedule: it is replaced where it stands
    return wanted if not there or wanted in there else min(there)


def _verdict(line: Exported, partition: int, destination: Destination, *, revive: bool) -> Verdict:
    key = line.schedule.key
    for stored in destination.standing.get(key, ()):
        if stored.partition != partition:
            continue
        if _same(line, stored):
            return Verdict.UNCHANGED
        return Verdict.NEWER if stored.schedule.timestamp_ms >= line.written_ms else Verdict.WRITTEN
    if not revive and key in destination.ended and destination.ended[key] >= line.written_ms:
        return Verdict.ENDED
    return Verdict.WRITTEN


def _same(line: Exported, stored: Stored) -> bool:
    ours, theirs = line.schedule, stored.schedule
    return (ours.due_ms, ours.value, lasting_headers(ours)) == (theirs.due_ms, theirs.value, lasting_headers(theirs))


def _write(line: Exported, topic: str, partition: int) -> Write:
    schedule = line.schedule
    # the timestamp says which version is newer, at the next import too, and travels with the message
    written_ms = None if line.written_ms < 0 else line.written_ms
    return Write(topic, schedule.key, schedule.value, list(line.headers), partition, written_ms)
