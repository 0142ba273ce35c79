"""Recurrence rules: when a schedule occurs next, by a period or by Debian cron's rules in a time zone."""

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import ClassVar, NamedTuple, Protocol
from zoneinfo import ZoneInfo, available_timezones

from scheduler.cron import MACROS, RecurrenceError, parse_fields
from scheduler.cron_calendar import CronCalendar
from scheduler.durations import format_duration, parse_duration

__all__ = ["MIN_PERIOD_MS", "RecurrenceError", "Rule", "parse_rule"]

MIN_PERIOD_MS = 100
"""The shortest `@every`; each occurrence is a transaction's work, and ten a second is no schedule any more."""

_MAX_LENGTH = 1_000  # characters; the longest useful expression, all values listed, has about 400
_MAX_ZONE_LENGTH = 64  # shown of an unknown zone; the longest name has 32
_DAY = 86_400
_BLOCK = 400 * _DAY
_HORIZON = 50 * 366 * _DAY
_LAST_SECOND = 221_845_392_000  # 9000-01-01: no sum below leaves the years that datetime knows
# Debian cron takes a shift of the wall clock for daylight saving up to these, and for a clock set anew beyond.
_LONGEST_REPEAT = 3 * 3_600
_LONGEST_GAP = 3 * 3_600 - 60


class Rule(Protocol):
    """When a schedule occurs. Immutable and shared; all instants are Unix milliseconds from 1970 to 9000."""

    @property
    def text(self) -> str:
        """The expression as it was given."""

    @property
    def timezone(self) -> str:
        """The IANA name of the zone whose wall clock the rule follows."""

    @property
    def shift_ms(self) -> int:
        """By how much each occurrence is later than the expression says."""

    def next_after(self, instant_ms: int, anchor_ms: int) -> int | None:
        """Return the first occurrence strictly later than the instant.

        A period counts from the anchor, which is its first occurrence; cron rules ignore it. None: a cron
        rule has no occurrence in the 50 years that follow, or the next one lies beyond the year 9000.
        """

    def latest_until(self, instant_ms: int, anchor_ms: int) -> int:
        """Return the latest occurrence at or before the instant, given that the anchor is one.

        Raises:
            ValueError: the anchor is later than the instant.
        """


def parse_rule(expression: str, timezone: str = "UTC") -> Rule:
    """Read `*/5 * * * *`, `@daily` and the like, or `@every 90s`; equal arguments share one rule.

    Raises:
        RecurrenceError: the expression is not in the language, can never occur, or the zone is unknown.
    """
    return _parse(expression, timezone)


@lru_cache(maxsize=16_384)
def _parse(expression: str, timezone: str) -> Rule:
    if timezone not in _zone_names():
        shown = timezone[:_MAX_ZONE_LENGTH]
        close = get_close_matches(shown, _zone_names(), n=1)
        raise RecurrenceError(
            f"unknown time zone {shown!r}",
            hint=f"did you mean {close[0]}?" if close else "use an IANA name such as Europe/Riga or UTC",
        )
    if len(expression) > _MAX_LENGTH:
        raise RecurrenceError(f"the rule is longer than {_MAX_LENGTH} characters", position=_MAX_LENGTH)
    words = [(found.group(), found.start()) for found in re.finditer(r"[^ \t]+", expression)]
    if not words or not words[0][0].startswith("@"):
        return CronRule(expression, timezone, parse_fields(expression))
    (name, position), *arguments = words
    if name == "@every":
        return EveryRule(expression, timezone, _period(expression, arguments))
    if name not in MACROS:
        raise RecurrenceError(f"unknown rule {name!r}", position=position, hint=_name_hint(name))
    if arguments:
        raise RecurrenceError(f"nothing may follow {name}", position=arguments[0][1])
    return CronRule(expression, timezone, parse_fields(MACROS[name]))


def _name_hint(name: str) -> str:
    if name == "@reboot":
        return "a schedule knows no start of a machine; give it a time, or `@every 1h`"
    if name.lower() in MACROS:
        return f"write {name.lower()}"
    return f"there are {', '.join(MACROS)} and `@every 90s`"


def _period(expression: str, arguments: list[tuple[str, int]]) -> int:
    if len(arguments) != 1:
        position = arguments[1][1] if arguments else len(expression)
        raise RecurrenceError("@every takes one duration", position=position, hint="write `@every 1h30m`")
    text, position = arguments[0]
    try:
        period = parse_duration(text)
    except ValueError as error:
        raise RecurrenceError(str(error), position=position) from None
    if period < MIN_PERIOD_MS:
        raise RecurrenceError(
            f"a period of {format_duration(period)} is too short",
            position=position,
            hint=f"the shortest is {format_duration(MIN_PERIOD_MS)}",
        )
    return period


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime"})  # a machine's own zone differs between replicas


def _check_order(instant_ms: int, anchor_ms: int) -> None:
    if anchor_ms > instant_ms:
        raise ValueError(f"the anchor {anchor_ms} is later than the instant {instant_ms}")


@dataclass(frozen=True, slots=True)
class EveryRule:
    """A fixed period: anchor, anchor + period, anchor + 2 periods, ..."""

    text: str
    timezone: str
    period_ms: int
    shift_ms: ClassVar[int] = 0

    def next_after(self, instant_ms: int, anchor_ms: int) -> int | None:
        """See `Rule`."""
        if instant_ms < anchor_ms:
            return anchor_ms
        found = instant_ms + self.period_ms - (instant_ms - anchor_ms) % self.period_ms
        return found if found <= _LAST_SECOND * 1_000 else None

    def latest_until(self, instant_ms: int, anchor_ms: int) -> int:
        """See `Rule`."""
        _check_order(instant_ms, anchor_ms)
        return instant_ms - (instant_ms - anchor_ms) % self.period_ms


class _Stretch(NamedTuple):
    """Seconds [start, end) in which a zone keeps one offset from UTC."""

    start: int
    end: int
    offset: int  # seconds east of UTC
    shift: int  # seconds by which the wall clock jumped at the start; negative: it went back


@dataclass(frozen=True, slots=True)
class CronRule:
    """A calendar of local minutes, laid over the stretches of a zone as Debian cron does.

    A wildcard job occurs whenever the wall clock shows a matching minute. A fixed-time job occurs once for
    each: minutes that a stretch repeats are passed over, and those skipped just before it are made up for
    by one occurrence at its start. (Debian cron makes up for wildcard jobs too after a gap of less than
    5 minutes; since 1970 no zone has had one of less than 15.)
    """

    text: str
    timezone: str
    calendar: CronCalendar
    shift_ms: ClassVar[int] = 0

    def next_after(self, instant_ms: int, anchor_ms: int) -> int | None:  # noqa: ARG002 - only a period has an anchor
        """See `Rule`."""
        second = max(instant_ms // 1_000 + 1, 0)
        last = min(second + _HORIZON, _LAST_SECOND)
        while second <= last:
            stretch = _stretch_at(self.timezone, second)
            if second == stretch.start and self._makes_up(stretch):
                return second * 1_000
            minute = self.calendar.first_from(
                _minute_from(max(second, self._resumes(stretch)) + stretch.offset),
                _minute_from(min(stretch.end, last + 1) + stretch.offset),
            )
            if minute is not None:
                return (minute * 60 - stretch.offset) * 1_000
            second = stretch.end
        return None

    def latest_until(self, instant_ms: int, anchor_ms: int) -> int:
        """See `Rule`."""
        _check_order(instant_ms, anchor_ms)
        second = min(instant_ms // 1_000, _LAST_SECOND)
        first = max(anchor_ms // 1_000 + 1, 0)
        while second >= first:
            stretch = _stretch_at(self.timezone, second)
            minute = self.calendar.last_to(
                (second + stretch.offset) // 60,
                _minute_from(max(first, self._resumes(stretch)) + stretch.offset),
            )
            if minute is not None:
                return (minute * 60 - stretch.offset) * 1_000
            if stretch.start >= first and self._makes_up(stretch):
                return stretch.start * 1_000
            second = stretch.start - 1
        return anchor_ms

    def _resumes(self, stretch: _Stretch) -> int:
        """Return the second from which the rule follows the wall clock in this stretch."""
        if self.calendar.follows_clock or not -_LONGEST_REPEAT <= stretch.shift < 0:
            return stretch.start
        return stretch.start - stretch.shift

    def _makes_up(self, stretch: _Stretch) -> bool:
        """Tell whether a fixed-time job fell into the gap before this stretch."""
        if self.calendar.follows_clock or not 0 < stretch.shift <= _LONGEST_GAP:
            return False
        after_gap = stretch.start + stretch.offset
        skipped = self.calendar.first_from(_minute_from(after_gap - stretch.shift), _minute_from(after_gap))
        return skipped is not None


def _minute_from(local_second: int) -> int:
    return -(-local_second // 60)


def _stretch_at(timezone: str, second: int) -> _Stretch:
    stretches = _stretches(timezone, second // _BLOCK)
    for stretch in stretches:
        if second < stretch.end:
            return stretch
    raise AssertionError(f"second {second} lies beyond its block in {timezone}")


@lru_cache(maxsize=8_192)
def _stretches(timezone: str, block: int) -> tuple[_Stretch, ...]:
    """Return the stretches that cover a block of 400 days, and the day before it.

    The day before, so that a shift close to the block's start is seen as such. zoneinfo does not list its
    shifts; one probe a day finds them all, as no two since 1970 are closer than seven days.
    """
    zone = ZoneInfo(timezone)

    def offset_at(second: int) -> int:
        offset = datetime.fromtimestamp(second, zone).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    end = (block + 1) * _BLOCK
    start = block * _BLOCK - _DAY
    offset, shift = offset_at(start - 1), 0
    stretches = []
    for probe in range(start - 1 + _DAY, end, _DAY):
        if offset_at(probe) == offset:
            continue
        same, switch = probe - _DAY, probe
        while switch - same > 1:
            middle = (same + switch) // 2
            same, switch = (middle, switch) if offset_at(middle) == offset else (same, middle)
        if switch > start:
            stretches.append(_Stretch(start, switch, offset, shift))
        start, shift, offset = switch, offset_at(switch) - offset, offset_at(switch)
    stretches.append(_Stretch(start, end, offset, shift))
    return tuple(stretches)
