"""The wall clock's minutes that match a cron rule, searched forwards and backwards by days, whatever the zone."""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

__all__ = ["CronCalendar", "bits", "members"]

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MINUTES_PER_DAY = 1440
_DECEMBER = 12

_month_shape = lru_cache(maxsize=4096)(monthrange)  # (weekday of the first, Monday is 0; number of days)


@dataclass(frozen=True, slots=True)
class CronCalendar:
    """The local minutes that match five fields, as bit sets: value v is in the set when bit v is.

    A local minute is counted from 1970-01-01 00:00 on the wall clock, whatever the zone.
    """

    follows_clock: bool  # a wildcard job: the minute or hour field starts with a star
    minutes_of_day: int
    days_of_month: int
    months: int
    weekday_days: tuple[int, ...]  # days of a month on a wanted weekday, by the weekday of its first day
    either_day_field: bool  # a match of one day field is enough (neither starts with a star)

    def first_from(self, minute: int, before: int) -> int | None:
        """Return the first matching local minute in [minute, before), or None."""
        if minute >= before:
            return None
        day, minute_of_day = divmod(minute, _MINUTES_PER_DAY)
        today = date.fromordinal(day + _EPOCH_ORDINAL)
        days = self._days(today.year, today.month) >> today.day
        if days & 1 and (later := self.minutes_of_day >> minute_of_day):
            found = minute + _lowest(later)
            return found if found < before else None
        first_day = day - today.day  # the day before the first of the month
        days = (days & ~1) << today.day
        year, month = today.year, today.month
        while not days:
            first_day += _month_shape(year, month)[1]
            if (first_day + 1) * _MINUTES_PER_DAY >= before:
                return None
            year, month = (year, month + 1) if month < _DECEMBER else (year + 1, 1)
            days = self._days(year, month)
        found = (first_day + _lowest(days)) * _MINUTES_PER_DAY + _lowest(self.minutes_of_day)
        return found if found < before else None

    def last_to(self, minute: int, since: int) -> int | None:
        """Return the last matching local minute in [since, minute], or None."""
        if minute < since:
            return None
        day, minute_of_day = divmod(minute, _MINUTES_PER_DAY)
        today = date.fromordinal(day + _EPOCH_ORDINAL)
        days = self._days(today.year, today.month)
        if days >> today.day & 1 and (earlier := self.minutes_of_day & ((2 << minute_of_day) - 1)):
            found = day * _MINUTES_PER_DAY + _highest(earlier)
            return found if found >= since else None
        first_day = day - today.day
        days &= (1 << today.day) - 1
        year, month = today.year, today.month
        while not days:
            if (first_day + 1) * _MINUTES_PER_DAY <= since:
                return None
            year, month = (year, month - 1) if month > 1 else (year - 1, _DECEMBER)
            first_day -= _month_shape(year, month)[1]
            days = self._days(year, month)
        found = (first_day + _highest(days)) * _MINUTES_PER_DAY + _highest(self.minutes_of_day)
        return found if found >= since else None

    def _days(self, year: int, month: int) -> int:
        if not self.months >> month & 1:
            return 0
        first_weekday, length = _month_shape(year, month)
        by_weekday = self.weekday_days[first_weekday]
        days = self.days_of_month | by_weekday if self.either_day_field else self.days_of_month & by_weekday
        return days & ((2 << length) - 1)


def bits(values: Iterable[int]) -> int:
    """Return the set of the values, none negative."""
    found = 0
    for value in values:
        found |= 1 << value
    return found


def members(of: int) -> Iterator[int]:
    """Yield the values of a set, the lowest first."""
    while of:
        yield _lowest(of)
        of &= of - 1


def _lowest(of: int) -> int:
    return (of & -of).bit_length() - 1


def _highest(of: int) -> int:
    return of.bit_length() - 1
