"""Listing by due time over many partitions: the order, cursors into it, filters, and the merge of partial lists."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from scheduler.api.ids import as_text
from scheduler.api.problems import ProblemError
from scheduler.engine.far import pack
from scheduler.engine.pending import NEVER_MS
from scheduler.instants import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scheduler.api.models import ListQuery, Summary
    from scheduler.api.views import Where
    from scheduler.schedule import Schedule

PAUSED_FROM = pack(NEVER_MS, 0) - 1
"""The place behind which only paused schedules stand."""


class Spot(NamedTuple):
    """A place in the order of the whole list; the paused stand last."""

    due_ms: int
    topic: str
    partition: int
    offset: int

    def place_in(self, where: Where) -> int:
        """The place in a partition behind which everything is later than this spot; see `pending.place`."""
        if (self.topic, self.partition) == where:
            return pack(self.due_ms, self.offset)
        # at the same due time, earlier partitions are over and later ones have yet to come
        return pack(self.due_ms + (where < (self.topic, self.partition)), 0) - 1

    def cursor(self) -> str:
        """As text that a client hands back."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def of_cursor(cls, text: str) -> Spot:
        """Read it again.

        Raises:
            ProblemError: it is none.
        """
        try:
            due_ms, topic, partition, offset = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not all(type(number) is int and 0 <= number < 1 << 48 for number in (due_ms, partition, offset)):
                raise TypeError
            return cls(due_ms, str(topic), partition, offset)
        except (ValueError, TypeError, RecursionError):
            raise ProblemError(422, "query.cursor: not one that this API has given") from None

    @classmethod
    def of(cls, shown: Summary) -> Spot:
        """Where a schedule stands."""
        due_ms = NEVER_MS if shown.paused else parse_instant(shown.due) or 0
        return cls(due_ms, shown.topic, shown.partition, shown.offset)


@dataclass(frozen=True)
class Wanted:
    """Which schedules, and how many of them."""

    topics: tuple[str, ...]
    id: str | None = None
    prefix: str | None = None
    contains: str | None = None
    target: str | None = None
    target_key: str | None = None
    due_from_ms: int = 0
    due_to_ms: int = NEVER_MS
    paused: bool | None = None
    limit: int = 100
    after: Spot | None = None

    @classmethod
    def of(cls, query: ListQuery, topics: tuple[str, ...]) -> Wanted:
        """Read a query.

        Raises:
            ProblemError: an instant or the cursor cannot be read.
        """
        return cls(
            topics,
            query.id,
            query.prefix,
            query.contains,
            query.target,
            query.target_key,
            _instant("due_from", query.due_from, 0),
            _instant("due_to", query.due_to, NEVER_MS),
            query.paused,
            query.limit,
            None if query.cursor is None else Spot.of_cursor(query.cursor),
        )

    def starts(self, where: Where) -> int:
        """The place behind which to begin in a partition."""
        first = PAUSED_FROM if self.paused else pack(self.due_from_ms, 0) - 1
        return first if self.after is None else max(first, self.after.place_in(where))

    def fits(self, schedule: Schedule) -> bool:
        """Whether it is wanted, wherever it stands in the order."""
        return (
            (self.paused is None or schedule.paused == self.paused)
            and self.due_from_ms <= schedule.due_ms < self.due_to_ms
            and (self.target is None or schedule.target_topic == self.target)
            and (self.target_key is None or _shown(schedule.target_key) == self.target_key)
            and (self.id is None or schedule.schedule_id == self.id)
            and (self.prefix is None or schedule.schedule_id.startswith(self.prefix))
            and (self.contains is None or self.contains in schedule.schedule_id)
        )

    def goes_on_at(self, last: int) -> int | None:
        """The place behind which to go on after the last one seen; None where nothing more can fit."""
        if last >= PAUSED_FROM:
            return None if self.paused is False else last
        if last >= pack(self.due_to_ms, 0):
            return None if self.paused is False else PAUSED_FROM
        return last


def _shown(key: bytes | None) -> str | None:
    return None if key is None else as_text(key)[0]


def _instant(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    instant_ms = parse_instant(text)
    if instant_ms is None:
        raise ProblemError(
            422,
            f"query.{name}: not an RFC 3339 instant with offset, from 1970 on: 2030-01-01T00:00:00Z "
            "(in a URL, + is written %2B)",
        )
    return instant_ms


@dataclass(frozen=True)
class Part:
    """A list as far as it was looked for."""

    schedules: Sequence[Summary]
    """In order."""
    until: Spot | None
    """All that is wanted up to here is in it; None: all that is wanted."""


def merge(parts: Iterable[Part], limit: int) -> Part:
    """The first so many of several lists: up to where each of them was looked for."""
    parts = list(parts)
    until = min((part.until for part in parts if part.until is not None), default=None)
    found = sorted(((Spot.of(shown), shown) for part in parts for shown in part.schedules), key=itemgetter(0))
    known = [(spot, shown) for spot, shown in found if until is None or spot <= until]
    if len(known) > limit:
        until = known[limit - 1][0]
    return Part([shown for _, shown in known[:limit]], until)
