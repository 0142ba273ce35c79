"""Brings together what is said of each occurrence of a schedule: its end in the log, the history, the messages."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from scheduler.audit.contract import CANCELLED, FIRED, MISFIRED, UNDELIVERABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scheduler.audit.replay import End
    from scheduler.audit.said import Said

ENDINGS = (FIRED, MISFIRED, UNDELIVERABLE)


class Unit(NamedTuple):
    """One occurrence, as far as there is something of it."""

    due_ms: int
    end: End | None
    told: Said | None
    message: Said | None

    @property
    def fires(self) -> bool:
        """Whether it is one for which a message is due."""
        if self.told is not None:
            return self.told.outcome == FIRED
        return self.end is None or self.end.outcome in (FIRED, None)


@dataclass(slots=True)
class _Occurrence:
    ends: list[End] = field(default_factory=list)
    told: list[Said] = field(default_factory=list)
    messages: list[Said] = field(default_factory=list)

    def takes(self, end: End, *, exactly: bool) -> bool:
        """Add the end if more is said than has ended; `exactly` of that version."""
        says = (self.told, self.messages)
        if exactly:
            told, messages = ([said for said in each if said.tells_of(end.version)] for each in says)
            known = sum(each.version.reads_as(end.version) for each in self.ends)
            room = known < max(len(told), len(messages))
        else:
            room = len(self.ends) < max(map(len, says))
        if room:
            self.ends.append(end)
        return room


class Matched(NamedTuple):
    """Everything about a key, matched."""

    units: list[Unit]
    skipped: list[End]
    """Next occurrences of which nothing is told that would have ended the one before."""
    requested: int
    """Occurrences that are told of, and that are not due by the schedule itself: fired by request."""


def match(ends: Sequence[End], told: Iterable[Said], messages: Iterable[Said]) -> Matched:
    """Find out what belongs together."""
    table = _Table(told, messages)
    certain = [end for end in ends if not end.perhaps]
    left = table.place(certain, exactly=True)
    others = [end for end in ends if end.perhaps and not table.between(end, exactly=True)]
    early = {id(end) for end in (*(each for each in left if each.outcome is not None), *others) if table.before(end)}
    # what does not fit in every word comes last, and is told apart afterwards
    skipped = []
    for end in table.place([each for each in left if id(each) not in early], exactly=False):
        if end.outcome is None:
            skipped.append(end)
        else:
            table.at(end.version.due_ms).ends.append(end)
    return Matched(table.units(), skipped, len(early))


class _Table:
    """What is said, by occurrence; ends are put to it one by one."""

    def __init__(self, told: Iterable[Said], messages: Iterable[Said]) -> None:
        self._found: dict[int, _Occurrence] = {}
        for said in told:
            if said.due_ms is not None:
                self.at(said.due_ms).told.append(said)
        for said in messages:
            if said.due_ms is not None:
                self.at(said.due_ms).messages.append(said)
        self._dues = sorted(self._found)

    def at(self, due_ms: int) -> _Occurrence:
        return self._found.setdefault(due_ms, _Occurrence())

    def units(self) -> list[Unit]:
        return [unit for due_ms in sorted(self._found) for unit in _units(due_ms, self._found[due_ms])]

    def place(self, ends: Iterable[End], *, exactly: bool) -> list[End]:
        """Give each end its occurrence; return those for which there is none."""
        left = [end for end in ends if end.outcome is None or not self.at_its_time(end, exactly=exactly)]
        return [end for end in left if end.version.rule is None or not self.between(end, exactly=exactly)]

    def at_its_time(self, end: End, *, exactly: bool) -> bool:
        """Give the end to the occurrence that the version is due at, if something is said of that one."""
        found = self._found.get(end.version.due_ms)
        return found is not None and found.takes(end, exactly=exactly)

    def between(self, end: End, *, exactly: bool) -> bool:
        """To the first one from the version's due time on and before the next one: that may be a later one."""
        for due_ms in self._dues[bisect_left(self._dues, end.version.due_ms) :]:
            if end.until_ms is not None and due_ms >= end.until_ms:
                return False
            if (not exactly or end.version.occurs(due_ms)) and self._found[due_ms].takes(end, exactly=exactly):
                return True
        return False

    def before(self, end: End) -> bool:
        """To one before the version is due: fired by request."""
        if end.outcome not in (FIRED, UNDELIVERABLE, None):
            return False
        for due_ms in self._dues[: bisect_left(self._dues, end.version.due_ms)]:
            if self._found[due_ms].takes(end, exactly=True):
                return True
        return False


def _units(due_ms: int, found: _Occurrence) -> Iterable[Unit]:
    if len(found.ends) == len(found.told) == len(found.messages) == 1:
        yield Unit(due_ms, found.ends[0], found.told[0], found.messages[0])
        return
    told, messages = list(found.told), list(found.messages)
    exact = [
        (end, _taken(told, [each for each in told if _ends_as(each, end) and each.tells_of(end.version)]))
        for end in found.ends
    ]
    pairs: list[tuple[End | None, Said | None]] = [
        (end, each or _taken(told, [one for one in told if _ends_as(one, end)])) for end, each in exact
    ]
    pairs += [(None, each) for each in told]
    units = []
    for end, each in pairs:
        unit = Unit(due_ms, end, each, None)
        units.append(unit._replace(message=_taken(messages, _messages_of(unit, messages))) if unit.fires else unit)
    for number, unit in enumerate(units):
        if unit.message is None and unit.fires and messages:
            units[number] = unit._replace(message=_taken(messages, messages))
    yield from units
    yield from (Unit(due_ms, None, None, each) for each in messages)


def _ends_as(told: Said, end: End) -> bool:
    return end.outcome == told.outcome if end.outcome is not None else told.outcome in ENDINGS


def _messages_of(unit: Unit, messages: list[Said]) -> list[Said]:
    if unit.end is not None:
        return [each for each in messages if each.tells_of(unit.end.version)]
    return [each for each in messages if unit.told is not None and each.agrees_with(unit.told)]


def _taken(left: list[Said], fitting: list[Said]) -> Said | None:
    if not fitting:
        return None
    taken = fitting[0]  # which may be the very list that it is taken from
    left.remove(taken)
    return taken


def cancelled(ends: Iterable[End]) -> list[End]:
    """Those that an operator has cancelled by request."""
    return [end for end in ends if end.outcome == CANCELLED]
