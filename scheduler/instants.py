"""Instants as text: Unix seconds and RFC 3339, to and from Unix milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?", re.ASCII)
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_RFC3339 = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt ]"
    rf"({_HOUR_MINUTE}):([0-5][0-9]|60)(?:\.([0-9]{{1,9}}))?([Zz]|[+-]{_HOUR_MINUTE})",
    re.ASCII,
)
_DAY_MS = 86_400_000


def epoch_ms(text: str) -> int | None:
    """Unix milliseconds of `1893456000` or `1893456000.250`: seconds, at most three decimals. None for other texts."""
    if _EPOCH.fullmatch(text) is None:
        return None
    whole, _, decimals = text.partition(".")
    instant_ms = int(whole) * 1000 + int(decimals.ljust(3, "0") or 0)
    return instant_ms if instant_ms <= LATEST_MS else None


def parse_instant(text: str) -> int | None:
    """Unix milliseconds of an RFC 3339 instant with offset, from 1970 to 9999. None for other texts."""
    # datetime.fromisoformat alone would also take dates without a time and times without an offset
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, minute, second, fraction, offset = match.groups(default="")
    try:
        since_1970 = datetime.fromisoformat(f"{date}T{minute}:00{offset.upper()}") - _1970
    except ValueError:
        return None  # a date such as February 30th
    instant_ms = since_1970 // timedelta(milliseconds=1) + int(second) * 1000
    if second == "60" and instant_ms % _DAY_MS:
        return None  # a leap second ends a day in UTC; Unix time gives it the number of the next day's first
    # rounded up to the millisecond: rounding down would fire early
    instant_ms += -(-int(fraction.ljust(9, "0")) // 1_000_000)
    return instant_ms if 0 <= instant_ms <= LATEST_MS else None


def format_epoch(instant_ms: int) -> bytes:
    """Unix seconds, with milliseconds only where there are any."""
    seconds, ms = divmod(instant_ms, 1000)
    return b"%d.%03d" % (seconds, ms) if ms else b"%d" % seconds
