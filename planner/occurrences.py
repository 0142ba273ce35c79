"""Occurrences of an entry as schedules of their own, one-shot: what `sync --horizon` writes.

The key of one is `<source>/<entry id>/<instant>`, so that planning it again finds it. A period is counted
from 1970 (and the entry's own part of its jitter): whoever plans, and when, finds the same instants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.entry import shift_of
from planner.standing import SOURCE
from scheduler.clock import rfc3339
from scheduler.durations import format_duration
from scheduler.instants import parse_instant
from scheduler.recurrence import EveryRule
from scheduler.schedule import Misfire
from scheduler.wire import DEFAULT_RECURRING_GRACE_MS, EPOCH, PAUSED, REPLACES, schedule_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.entry import Entry
    from planner.standing import Standing
    from scheduler.schedule import Header, Schedule

_KEY = re.compile(rb"[^/]+/[^/]+/(?P<instant>[0-9T:.-]+Z)")
_MOVES = frozenset({EPOCH, PAUSED, REPLACES})


@dataclass(frozen=True, slots=True)
class Planned:
    """One occurrence of an entry."""

    standing: Standing
    due_ms: int

    @property
    def entry(self) -> Entry:
        """The entry that it is of."""
        return self.standing.entry

    @property
    def key(self) -> bytes:
        """`<source>/<entry id>/<instant>`."""
        return b"%s/%s" % (self.standing.key, rfc3339(self.due_ms).encode())

    @property
    def payload(self) -> bytes:
        """The job: the same for every occurrence."""
        return self.standing.payload

    def headers(self, due_ms: int | None, *, paused: bool = False) -> list[Header]:
        """The record's headers; None leaves the due time out."""
        settings = self.entry.settings
        skips = settings.misfire is Misfire.SKIP
        return schedule_headers(
            self.entry.cluster,
            due_ms=due_ms,
            target_key=self.standing.key,
            misfire=Misfire.SKIP if skips else None,
            misfire_grace=(settings.misfire_grace or format_duration(DEFAULT_RECURRING_GRACE_MS)) if skips else None,
            paused=paused,
            headers=[(SOURCE, self.standing.source.encode())],
        )

    def matches(self, schedule: Schedule) -> bool:
        """Whether the schedule is this one."""
        return (
            schedule.value == self.payload
            and schedule.due_ms == self.due_ms
            and _lasting(schedule.headers + schedule.own_headers) == _lasting(self.headers(None))
        )


def _lasting(headers: list[Header]) -> list[tuple[str, bytes]]:
    return sorted((name, value or b"") for name, value in headers if name not in _MOVES)


def planned_instant(key: bytes) -> int | None:
    """The instant that stands in the key of an occurrence; None for any other key."""
    found = _KEY.fullmatch(key)
    return None if found is None else parse_instant(found["instant"].decode())


def entry_key(key: bytes) -> bytes:
    """The key of the standing schedule of an occurrence's entry."""
    return key.rpartition(b"/")[0]


def occurrences(entry: Entry, after_ms: int, until_ms: int) -> Iterator[int]:
    """The instants at which it occurs, later than the one and not later than the other."""
    anchor_ms = _anchor_ms(entry)
    due_ms = entry.rule.next_after(after_ms, anchor_ms)
    while due_ms is not None and due_ms <= until_ms:
        yield due_ms
        due_ms = entry.rule.next_after(due_ms, anchor_ms)


def occurs_at(entry: Entry, instant_ms: int) -> bool:
    """Whether the instant is one of them."""
    return entry.rule.next_after(instant_ms - 1, _anchor_ms(entry)) == instant_ms


def first_occurrence(entry: Entry, after_ms: int) -> int | None:
    """The first one later than the instant."""
    return entry.rule.next_after(after_ms, _anchor_ms(entry))


def _anchor_ms(entry: Entry) -> int:
    rule = entry.rule
    return shift_of(entry.id, entry.settings.jitter_ms) % rule.period_ms if isinstance(rule, EveryRule) else 0
