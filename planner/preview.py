"""When entries come next: instants in the zone of each, and the occurrences of many in their order."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.entry import Entry
    from scheduler.recurrence import Rule


class Occurrence(NamedTuple):
    """One due time of an entry; in order of time, then of place in the file."""

    due_ms: int
    place: int
    entry: Entry


def local_time(instant_ms: int, timezone: str) -> str:
    """RFC 3339 with the offset of that zone at that instant: `2030-01-02T03:30:00+02:00`."""
    moment = datetime.fromtimestamp(instant_ms // 1000, UTC).replace(microsecond=instant_ms % 1000 * 1000)
    timespec = "milliseconds" if instant_ms % 1000 else "seconds"
    return moment.astimezone(ZoneInfo(timezone)).isoformat(timespec=timespec)


def occurrences(rule: Rule, first_ms: int | None) -> Iterator[int]:
    """The first occurrence, and those that follow it by the rule."""
    due_ms = first_ms
    while due_ms is not None:
        yield due_ms
        due_ms = rule.next_after(due_ms, due_ms)


def upcoming(entries: Iterable[Entry], after_ms: int, count: int) -> list[Occurrence]:
    """The first occurrences of all of the entries together, later than the instant."""

    def of(place: int, entry: Entry) -> Iterator[Occurrence]:
        for due_ms in occurrences(entry.rule, entry.first_after(after_ms)):
            yield Occurrence(due_ms, place, entry)

    merged = heapq.merge(*(of(place, entry) for place, entry in enumerate(entries)))
    return list(islice(merged, count))
