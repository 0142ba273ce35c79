"""Reads a schedules topic as a replica that starts would, and looks at what it finds."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING

from scheduler import partitioners
from scheduler.doctor.facts import RestoreFacts
from scheduler.lookup import in_force
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.clock import Clock
    from scheduler.records import Stored
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings

LOOKED_AT = 10_000
"""Keys whose hash is computed: some microseconds each, and a client with another hash shows among the first."""


def restore(
    settings: Settings, topic: str, clock: Clock, ends: Mapping[int, int], progress: Progress | None
) -> RestoreFacts:
    """Read the topic up to these offsets, by partition; see `scheduler.broker.reader.read` for errors."""
    begin = clock.monotonic()
    found = in_force(settings, topic, clock, ends=ends, progress=progress)
    return judge_keys(found, partitions=len(ends), seconds=clock.monotonic() - begin)


def judge_keys(found: Sequence[Stored], *, partitions: int, seconds: float) -> RestoreFacts:
    """What the schedules in force tell of where clients put their keys."""
    where: dict[bytes, int] = {}
    several: defaultdict[bytes, set[int]] = defaultdict(set)
    for stored in found:
        key = stored.schedule.key
        first = where.setdefault(key, stored.partition)
        if first != stored.partition:
            several[key] |= {first, stored.partition}
    looked_at = list(islice(where.items(), LOOKED_AT))
    astray = [(key, at) for key, at in looked_at if partitioners.java(key, partitions) != at]
    return RestoreFacts(
        seconds=seconds,
        in_force=len(found),
        doubled=tuple((display(key), tuple(sorted(places))) for key, places in sorted(several.items())),
        looked_at=len(looked_at),
        astray=len(astray),
        by_librdkafka=sum(partitioners.librdkafka(key, partitions) == at for key, at in astray),
        paused=tuple(sorted({stored.partition for stored in found if stored.partition_paused})),
    )
