"""Durations as people write them, `1h30m` or `PT1H30M`, read and written in whole milliseconds."""

import re

__all__ = ["MAX_DURATION_MS", "format_duration", "parse_duration"]

_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

MAX_DURATION_MS = 36_500 * _UNIT_MS["d"]
"""One hundred years of 365 days; more is a slip of the pen, and would overflow a date."""

_MAX_LENGTH = 64  # refused before any digit is read; int() itself is quadratic in the number of digits

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_SHORT = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?")
_ISO = re.compile(
    rf"P(?:([0-9]+)D)?(?=T[0-9]|$)(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:{_NUMBER}S)?)?",
)
_ACCEPTED = "write it like 250ms, 90s, 15m, 2h, 1d, 1h30m (largest unit first), or in ISO 8601 like PT15M, P1DT2H"


def parse_duration(text: str) -> int:
    """Return the duration in milliseconds.

    Accepts sums of d, h, m, s and ms, each at most once and the largest first (`1h30m`, `1.5s`), and the
    part of ISO 8601 whose length is fixed: days, hours, minutes, seconds (`P1DT2H`, `PT0.5S`).

    Raises:
        ValueError: the text is neither, is finer than a millisecond, or is over 100 years.
    """
    shown = repr(text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}...")
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"{shown} is not a duration: {_ACCEPTED}")
    match = _ISO.fullmatch(text) or _SHORT.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"{shown} is not a duration: {_ACCEPTED}")
    total = 0
    for number, unit_ms in zip(match.groups(), _UNIT_MS.values(), strict=False):  # ISO 8601 has no ms
        whole, _, fraction = (number or "0").partition(".")
        part, finer = divmod(int(fraction or "0") * unit_ms, 10 ** len(fraction))
        if finer:
            raise ValueError(f"{shown} is finer than a millisecond")
        total += int(whole) * unit_ms + part
    if total > MAX_DURATION_MS:
        raise ValueError(f"{shown} is over 100 years")
    return total


def format_duration(milliseconds: int) -> str:
    """Return the shortest sum that `parse_duration` reads back as the same number: `1h30m`, `250ms`, `0s`.

    Raises:
        ValueError: the number is negative.
    """
    if milliseconds < 0:
        raise ValueError(f"{milliseconds} ms is not a duration: it is negative")
    parts = []
    rest = milliseconds
    for unit, unit_ms in _UNIT_MS.items():
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
