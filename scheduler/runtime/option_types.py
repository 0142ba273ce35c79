"""Kinds of values that the three command lines take: instants, how long ago, how long from now, durations."""

from __future__ import annotations

from typing import Any

import click

from scheduler.clock import SystemClock
from scheduler.durations import parse_duration
from scheduler.instants import parse_instant

_WHEN = "an instant such as 2030-01-01T00:00:00Z nor a duration such as 2h"


class Since(click.ParamType[int]):
    """An instant, or so long ago; Unix ms."""

    name = "when"
    _sign = -1

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read either of the two."""
        if isinstance(value, int):
            return value
        instant_ms = parse_instant(value)
        if instant_ms is not None:
            return instant_ms
        try:
            return SystemClock().now_ms() + self._sign * parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is neither {_WHEN}", param, ctx)


class Until(Since):
    """An instant, or so long from now; Unix ms."""

    _sign = 1


class Seconds(click.ParamType[float]):
    """A duration such as 30s, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value) / 1000
        except ValueError as error:
            self.fail(str(error), param, ctx)
