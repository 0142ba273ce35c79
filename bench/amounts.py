"""Amounts as people write them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def number(value: float) -> str:
    """As people write it: three digits, and no more behind the point than they need."""
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4  # noqa: PLR2004 - powers of ten
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """The median, and the range where there is one."""
    median = number(statistics.median(values))
    return median if len(values) == 1 else f"{median}  ({number(min(values))} to {number(max(values))})"


def count(value: float) -> str:
    """As people say it: 10,000; 3 million; 10 billion."""
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:,.3g}{name}"
    return f"{value:,.0f}" if value >= 10 else number(value)  # noqa: PLR2004 - digits


def seconds(value: float) -> str:
    """3 ms, 40 s, 25 min, 3 h, 2 d."""
    if value < 1:
        return f"{value * 1000:,.3g} ms"
    for size, name in ((172_800, "d"), (7_200, "h"), (120, "min")):
        if value >= size:
            return f"{value / {'d': 86_400, 'h': 3_600, 'min': 60}[name]:,.3g} {name}"
    return f"{value:,.3g} s"


def size(value: float) -> str:
    """In bytes."""
    for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= unit:
            return f"{value / unit:,.3g} {name}"
    return f"{value:,.0f} B"
