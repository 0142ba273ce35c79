"""Settings lines of a crontab, `MAX_ATTEMPTS=3`: which there are, how each is read, what is in force."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from scheduler.durations import format_duration, parse_duration
from scheduler.job import Overlap
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.schedule import Misfire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ATTEMPTS = 10_000
MAX_RETRY_FACTOR = 100
YEAR_MS = 365 * 86_400_000
"""The longest timeout and the longest delay that a job message may state."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
"""What a name of an entry or of a source is made of: it stands in schedule ids, addresses and logs."""

_RECURRING_MISFIRE = (Misfire.ONCE, Misfire.ALL, Misfire.SKIP)
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What holds for the entries below; None leaves it to the worker or the scheduler."""

    timezone: str = "UTC"
    cluster: str | None = None
    max_attempts: int | None = None
    timeout_ms: int | None = None
    retry_delay_ms: int | None = None
    retry_factor: float | None = None
    retry_max_delay_ms: int | None = None
    misfire: Misfire | None = None
    misfire_grace: str | None = None
    """A duration, in the shortest form that `parse_duration` reads."""
    overlap: Overlap | None = None
    jitter_ms: int = 0
    """Entries come later by a time of their own, less than this."""


DEFAULTS = JobSettings()


def with_setting(settings: JobSettings, name: str, text: str, clusters: Sequence[str]) -> JobSettings:
    """The settings after the line `name=text`; an empty text brings the default back.

    Raises:
        ValueError: the text is not a value of that setting; the message says what would be.
    """
    field, read = READERS[name]
    value = read(text, clusters) if text else getattr(DEFAULTS, field)
    changed: JobSettings = replace(settings, **{field: value})
    return changed


def check_name(text: str) -> str:
    """The name of an entry, as it is.

    Raises:
        ValueError: it has characters that a schedule id should not have.
    """
    if NAME_PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a name; use letters, digits, '.', '_' and '-', at most 100")
    return text


def _timezone(text: str, _clusters: Sequence[str]) -> str:
    try:
        return parse_rule("@hourly", text).timezone
    except RecurrenceError as error:
        raise ValueError(str(error)) from None


def _cluster(text: str, clusters: Sequence[str]) -> str:
    if text not in clusters:
        raise ValueError(f"{text!r} is not a cluster; there are {', '.join(clusters)}")
    return text


def _attempts(text: str, _clusters: Sequence[str]) -> int:
    if _WHOLE.fullmatch(text) is None or not 1 <= int(text) <= MAX_ATTEMPTS:
        raise ValueError(f"{text!r} is not a number of attempts, 1 to {MAX_ATTEMPTS}; the first one counts")
    return int(text)


def _delay(text: str, _clusters: Sequence[str]) -> int:
    milliseconds = parse_duration(text)
    if milliseconds > YEAR_MS:
        raise ValueError(f"{text!r} is over 365 days")
    return milliseconds


def _timeout(text: str, clusters: Sequence[str]) -> int:
    milliseconds = _delay(text, clusters)
    if milliseconds == 0:
        raise ValueError(f'{text!r} leaves no time to run; TIMEOUT="" sets no limit')
    return milliseconds


def _factor(text: str, _clusters: Sequence[str]) -> float:
    if _DECIMAL.fullmatch(text) is None or not 1 <= float(text) <= MAX_RETRY_FACTOR:
        raise ValueError(f"{text!r} is not a factor, 1 to {MAX_RETRY_FACTOR}, such as 2 or 1.5")
    return float(text)


def _misfire(text: str, _clusters: Sequence[str]) -> Misfire:
    if text not in _RECURRING_MISFIRE:
        raise ValueError(f"{text!r} is not one of {', '.join(_RECURRING_MISFIRE)}")
    return Misfire(text)


def _grace(text: str, _clusters: Sequence[str]) -> str:
    return format_duration(parse_duration(text))


def _overlap(text: str, _clusters: Sequence[str]) -> str:
    policies = get_args(Overlap)
    if text not in policies:
        raise ValueError(f"{text!r} is not one of {', '.join(policies)}")
    return text


READERS: dict[str, tuple[str, Callable[[str, Sequence[str]], Any]]] = {
    "CRON_TZ": ("timezone", _timezone),
    "CLUSTER": ("cluster", _cluster),
    "MAX_ATTEMPTS": ("max_attempts", _attempts),
    "TIMEOUT": ("timeout_ms", _timeout),
    "RETRY_DELAY": ("retry_delay_ms", _delay),
    "RETRY_FACTOR": ("retry_factor", _factor),
    "RETRY_MAX_DELAY": ("retry_max_delay_ms", _delay),
    "MISFIRE": ("misfire", _misfire),
    "MISFIRE_GRACE": ("misfire_grace", _grace),
    "OVERLAP": ("overlap", _overlap),
    "JITTER": ("jitter_ms", _delay),
}
"""Name of the line -> field of `JobSettings`, and how its text is read."""

NAME = "NAME"
"""The setting of the next entry only."""
UNSET = "UNSET"
"""Takes a variable back from the entries below."""
UNUSED = frozenset({"MAILTO", "MAILFROM"})
ONLY_A_VARIABLE = {
    "TZ": "times are in CRON_TZ",
    "RANDOM_DELAY": "JITTER=5m spreads entries over five minutes",
    "START_HOURS_RANGE": "the hours of an entry are in its time",
}
"""What another cron, or a reader, may take for a setting: given to the commands, and what is the setting here."""
