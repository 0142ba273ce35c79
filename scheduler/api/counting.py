"""What is pending in a replica's partitions, counted by target and by the minute: looked through in small steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scheduler.api.local import CHUNK, Local, UnansweredError
from scheduler.api.models import Pending, TargetPending
from scheduler.api.views import unanswered
from scheduler.clock import Deadline, rfc3339
from scheduler.engine.far import Far
from scheduler.engine.pending import place
from scheduler.instants import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler.api.problems import Unanswered
    from scheduler.api.views import Where
    from scheduler.clock import Clock
    from scheduler.recurrence import Rule
    from scheduler.schedule import Schedule

MINUTE_MS = 60_000
MINUTES = 60
BUDGET_SECONDS = 3.0
"""For all partitions of a replica: about two million schedules."""
FRESH_SECONDS = 4.0
REST = 20
"""A count that took long is good for so many times as long: it takes no more than a twentieth of a processor."""
MOST_OCCURRENCES = 20_000
"""Of recurring schedules, beyond their first ones; a rule in force a thousand times is reckoned once."""
MOST_TARGETS = 1000


@dataclass
class Tally:
    """A count under way."""

    first_ms: int
    counted: int = 0
    complete: bool = True
    recurring: int = 0
    paused: int = 0
    later: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    minutes: Counter[int] = field(default_factory=Counter)
    """By minutes since 1970."""
    unanswered: list[Unanswered] = field(default_factory=list)
    _known: dict[tuple[str, str, int, int], list[int]] = field(default_factory=dict)
    _reckoned: int = 0

    def add(self, versions: Iterable[Schedule | Far]) -> None:
        """Count versions in force."""
        end_ms = self.first_ms + MINUTES * MINUTE_MS
        for version in versions:
            self.counted += 1
            if isinstance(version, Far):
                self.later += 1
                if version.due_ms < end_ms:
                    self.minutes[version.due_ms // MINUTE_MS] += 1
                continue
            self.targets[version.target_topic] += 1
            rule = version.rule
            self.recurring += rule is not None
            if version.paused:
                self.paused += 1
            elif version.due_ms < end_ms:
                self.minutes[version.due_ms // MINUTE_MS] += 1
                if rule is not None:
                    self.minutes.update(self._more(rule, version.due_ms, end_ms))

    def add_far(self, targets: Mapping[str, int]) -> None:
        """Tell the far versions, which are counted with the others, apart by target."""
        self.targets.update({name: count for name, count in targets.items() if name})

    def _more(self, rule: Rule, due_ms: int, end_ms: int) -> list[int]:
        """The minutes of a recurring schedule's later occurrences."""
        key = (rule.text, rule.timezone, rule.shift_ms, due_ms)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = []
            while True:
                if self._reckoned >= MOST_OCCURRENCES:
                    self.complete = False
                    break
                self._reckoned += 1
                next_ms = rule.next_after(due_ms, due_ms)
                if next_ms is None or next_ms >= end_ms:
                    break
                found.append(next_ms // MINUTE_MS)
                due_ms = next_ms
        return found

    def join(self, part: Pending) -> None:
        """Add what another replica has counted."""
        self.counted += part.counted
        self.complete &= part.complete
        self.recurring += part.recurring
        self.paused += part.paused
        self.later += part.later
        self.targets.update({each.target_topic: each.pending for each in part.targets})
        first = (parse_instant(part.first_minute) or 0) // MINUTE_MS
        self.minutes.update({first + number: count for number, count in enumerate(part.minutes)})

    def shown(self) -> Pending:
        """As JSON has it."""
        first = self.first_ms // MINUTE_MS
        return Pending(
            counted=self.counted,
            complete=self.complete,
            recurring=self.recurring,
            paused=self.paused,
            later=self.later,
            targets=[
                TargetPending(target_topic=topic, pending=count)
                for topic, count in self.targets.most_common(MOST_TARGETS)
            ],
            first_minute=rfc3339(self.first_ms),
            minutes=[self.minutes[first + number] for number in range(MINUTES)],
            unanswered=self.unanswered,
        )


class Counting:
    """Counts this replica's partitions, for all who ask within some seconds at once; used on one event loop."""

    def __init__(self, local: Local, clock: Clock) -> None:
        self._local = local
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: tuple[frozenset[Where], Pending] | None = None
        self._good_until = 0.0

    def start(self) -> Tally:
        """An empty count from this minute on."""
        return Tally(self._clock.now_ms() // MINUTE_MS * MINUTE_MS)

    async def mine(self, wheres: Sequence[Where]) -> Pending:
        """What is pending in these partitions of this replica."""
        async with self._lock:
            known, began = self._known, self._clock.monotonic()
            if known is not None and known[0] == frozenset(wheres) and began < self._good_until:
                return known[1]
            tally = self.start()
            deadline = Deadline(self._clock, BUDGET_SECONDS)
            for where in wheres:
                try:
                    await self._count(where, tally, deadline)
                except UnansweredError as error:
                    tally.unanswered.append(unanswered(where, str(error)))
            took = self._clock.monotonic() - began
            self._good_until = began + took + max(FRESH_SECONDS, REST * took)
            self._known = frozenset(wheres), tally.shown()
            return self._known[1]

    async def _count(self, where: Where, tally: Tally, deadline: Deadline) -> None:
        tally.add_far(await self._local.ask(where, lambda engine: engine.pending.far_by_target()))
        after: int | None = -1
        while after is not None:
            if deadline.passed:
                tally.complete = False
                return
            begin = after
            versions = await self._local.ask(where, lambda engine, begin=begin: engine.page(begin, CHUNK))  # type: ignore[misc]
            tally.add(versions)
            after = place(versions[-1]) if len(versions) == CHUNK else None
