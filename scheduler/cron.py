"""The language of Debian cron's five fields, read strictly into a calendar of local minutes."""

import re
from functools import lru_cache
from typing import NamedTuple

from croniter import croniter

from scheduler.cron_calendar import CronCalendar, bits, members

__all__ = ["MACROS", "RecurrenceError", "parse_fields"]

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What each name stands for; Debian cron knows them in lower case only."""


class RecurrenceError(ValueError):
    """A recurrence rule that cannot be used.

    `message` says what is wrong, `position` is the 0-based column of it inside the expression (None when it
    is not in the expression), `hint` says what to write instead. As text: the message, then the hint.
    """

    def __init__(self, message: str, *, position: int | None = None, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.position = position
        self.hint = hint


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # the first one stands for `low`


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),  # 7 is Sunday too
)
_FIVE_FIELDS = "a rule has five fields: " + ", ".join(field.name for field in _FIELDS)

_VALUE = r"[0-9]+|[A-Za-z]+"
_ITEM = re.compile(rf"(?:(?P<star>\*)|(?P<low>{_VALUE})(?:-(?P<high>{_VALUE}))?)(?:/(?P<step>[0-9]+))?")
_EXTENSION = re.compile(r"[0-9]*(?:L|W|LW|H|R)(?:[-/(0-9].*)?|.*[#?~].*", re.IGNORECASE)

_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_fields(expression: str) -> CronCalendar:
    """Read `minute hour day-of-month month day-of-week`.

    Raises:
        RecurrenceError: not Debian cron's language, or no date in the calendar matches.
    """
    tokens = [(found.group(), found.start()) for found in re.finditer(r"[^ \t]+", expression)]
    if len(tokens) != len(_FIELDS):
        raise _wrong_count(expression, tokens)
    sets = [
        _expand(index, _canonical(field, text, position))
        for index, (field, (text, position)) in enumerate(zip(_FIELDS, tokens, strict=True))
    ]
    minutes, hours, days_of_month, months, weekdays = sets
    starred = [text.startswith("*") for text, _ in tokens]
    either_day_field = not (starred[2] or starred[4])
    if not (either_day_field or _date_exists(days_of_month, months)):
        text, position = tokens[2]
        raise RecurrenceError(
            f"day of month {text!r} never comes in month {tokens[3][0]!r}: the rule would never occur",
            position=position,
            hint="choose a day that the month has",
        )
    return CronCalendar(
        follows_clock=starred[0] or starred[1],
        minutes_of_day=bits(60 * hour + minute for hour in members(hours) for minute in members(minutes)),
        days_of_month=days_of_month,
        months=months,
        weekday_days=tuple(
            # cron's Sunday is 0, Python's Monday is 0: day d of a month that begins on `first` is first + d
            bits(day for day in range(1, 32) if weekdays >> (first + day) % 7 & 1)
            for first in range(7)
        ),
        either_day_field=either_day_field,
    )


def _canonical(field: _Field, text: str, position: int) -> str:
    """Check a field item by item, and write it in the plain form that `_expand` may see."""
    items = []
    for item in text.split(","):
        items.append(_canonical_item(field, item, position))
        position += len(item) + 1
    return ",".join(items)


def _canonical_item(field: _Field, item: str, position: int) -> str:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _unreadable(field, item, position)
    step = int(match["step"] or 1)
    if step < 1:
        raise RecurrenceError(
            f"{field.name}: a step of 0 in {item!r}",
            position=position + match.start("step"),
            hint="a step is 1 or more",
        )
    if match["star"]:
        return f"{field.low}-{field.high}/{step}"
    low = _value(field, match["low"], position)
    if match["high"] is None:
        if match["step"]:
            raise RecurrenceError(
                f"{field.name}: a step needs a range, {item!r} has none",
                position=position + match.end("low"),
                hint=f"write {low}-{field.high}/{step}",
            )
        return str(low)
    high = _value(field, match["high"], position + match.start("high"))
    if high < low:
        raise RecurrenceError(
            f"{field.name}: the range {item!r} is reversed",
            position=position,
            hint=f"write {_span(low, field.high)},{_span(field.low, high)}" if step == 1 else "write two ranges",
        )
    return f"{low}-{high}/{step}" if low < high else str(low)


def _value(field: _Field, text: str, position: int) -> int:
    if text.isdigit():
        value = int(text)
        if not field.low <= value <= field.high:
            raise RecurrenceError(
                f"{field.name}: {text} is out of range, {field.low} to {field.high}", position=position
            )
        return value
    if text.lower() in field.names:
        return field.low + field.names.index(text.lower())
    if not field.names:
        raise RecurrenceError(f"{field.name}: {text!r} is not a number", position=position, hint=_extension_hint(text))
    short = text[:3].lower()
    raise RecurrenceError(
        f"{field.name}: {text!r} is not one of {', '.join(field.names)}",
        position=position,
        hint=f"write {short}" if short in field.names else _extension_hint(text),
    )


@lru_cache(maxsize=4096)
def _expand(index: int, items: str) -> int:
    """Return a field's values as a bit set.

    croniter expands numbers, ascending ranges and steps, and sees nothing else: it reads the equal range
    `5-5` as every value, lets `22-2` run past the end of the field, and takes L, six fields and more.
    """
    columns = ["*"] * len(_FIELDS)
    columns[index] = items
    values = croniter.expand(" ".join(columns))[0][index]
    field = _FIELDS[index]
    every = range(field.low, field.high + 1)
    return bits(every if values == ["*"] else (int(value) for value in values))


def _date_exists(days_of_month: int, months: int) -> bool:
    return any(
        days_of_month & ((2 << length) - 1)
        for month, length in enumerate(_LONGEST_MONTHS, start=1)
        if months >> month & 1
    )


def _wrong_count(expression: str, tokens: list[tuple[str, int]]) -> RecurrenceError:
    wanted = len(_FIELDS)
    for text, position in tokens if len(tokens) > wanted else ():
        if text.startswith(",") or text.endswith(","):
            return RecurrenceError(
                f"a list that ends at {text!r}", position=position, hint="write lists without blanks, such as 1,2,3"
            )
    if len(tokens) > wanted:
        return RecurrenceError(
            f"{len(tokens)} fields where there are {wanted}",
            position=tokens[wanted][1],
            hint=f"{_FIVE_FIELDS}; there are none for seconds or years, `@every 10s` is finer than a minute",
        )
    return RecurrenceError(
        f"{len(tokens)} field{'s' * (len(tokens) > 1)} where there are {wanted}" if tokens else "the rule is empty",
        position=len(expression),
        hint=_FIVE_FIELDS,
    )


def _unreadable(field: _Field, item: str, position: int) -> RecurrenceError:
    if not item:
        return RecurrenceError(
            f"{field.name}: an empty item in a list", position=position, hint="remove a comma, or add a value"
        )
    readable = _ITEM.match(item)
    hint = _extension_hint(item)
    if hint is None and not item.isascii():
        hint = "write the digits 0 to 9 and the letters a to z"
    return RecurrenceError(
        f"{field.name}: cannot read {item!r}",
        position=position + (readable.end() if readable else 0),
        hint=hint or "write *, a value, a range a-b, either of the two with a step /n, or a list of them",
    )


def _extension_hint(text: str) -> str | None:
    if _EXTENSION.fullmatch(text):
        return "L, W, H, R, #, ? and ~ are other schedulers' extensions, not Debian cron's"
    return None


def _span(low: int, high: int) -> str:
    return f"{low}-{high}" if low < high else str(low)
