"""What is asked of each figure: a bound, and which figure it is about."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.amounts import number, spread
from bench.figures import QUIET_CORES, values
from bench.scenarios import Sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.figures import Measured

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure and its bound."""

    what: str
    scenario: str
    group: str
    name: str
    least: float | None = None
    most: float | None = None
    aim: float | None = None
    unit: str = ""

    @property
    def bound(self) -> str:
        """For people."""
        limit, word = (self.least, "at least") if self.least is not None else (self.most, "at most")
        if limit is None:
            return "none stated"
        aim = f" (aim: {number(self.aim)})" if self.aim is not None else ""
        return f"{word} {number(limit)}{self.unit}{aim}"

    def met(self, found: list[float]) -> bool:
        """Whether the median is within the bound."""
        median = statistics.median(found)
        return (self.least is None or median >= self.least) and (self.most is None or median <= self.most)

    def row(self, runs: Mapping[str, Measured]) -> tuple[str, str, str, str]:
        """What, bound, measured, verdict."""
        found = values(runs, self.scenario, self.group, self.name)
        if not found:
            return self.what, self.bound, NOT_MEASURED, ""
        return self.what, self.bound, spread(found), self._verdict(found, runs[self.scenario])

    def _verdict(self, found: list[float], run: Measured) -> str:
        if run.others > QUIET_CORES:
            return "to be measured again"
        if self.least is None and self.most is None:
            return ""
        return "met" if self.met(found) else "**missed**"


SIZES = Sizes()
_BURST = f"{SIZES.burst:,} due at one instant"
_SECONDS = f"1,000 due at each of {SIZES.seconds} whole seconds"
_SPREAD = f"1,000/s spread over milliseconds for {SIZES.seconds} s"
_FAST = f"{SIZES.fast:,}/s spread over milliseconds for {SIZES.fast_seconds} s"
_WRITING = f"1,000/s fire while {SIZES.fast * 5:,}/s are written"
_SCALE = f"{_BURST}, by partitions and replicas"
_RESTORE = f"{SIZES.pending:,} pending of 100 bytes"
_WARM = f"{SIZES.pending:,} pending: a start with a snapshot"
_PAYLOADS = f"{SIZES.pending // 4:,} pending: payloads of 100 bytes and of 10 kB"
_RESTORING = f"due while {SIZES.pending:,} are restored"
_MILLIONS = f"{SIZES.many:,} pending on one replica"
_PLANNER = f"planner sync of {SIZES.entries:,} entries"

_TO_BARE = "lateness p99, to the bare client of its round"

BARS = (
    Bar(f"{_BURST}: ratio to the raw loop", "burst", _BURST, "ratio to the raw loop of its round", 0.7, aim=0.85),
    Bar(f"{_BURST}: fired", "burst", _BURST, "fired per second", unit="/s"),
    Bar(f"{_BURST}: ours to the peer", "burst", _BURST, "ours to the peer of its round", 1.5),
    Bar(f"{_SECONDS}: p99", "seconds", _SECONDS, "lateness p99, ms", most=14, unit=" ms"),
    Bar(f"{_SECONDS}: p99 to the bare client's", "seconds", _SECONDS, _TO_BARE),
    Bar(f"{_SPREAD}: p50", "spread", _SPREAD, "lateness p50, ms", most=4, unit=" ms"),
    Bar(f"{_SPREAD}: p99", "spread", _SPREAD, "lateness p99, ms", most=13, aim=10, unit=" ms"),
    Bar(f"{_SPREAD}: cores", "spread", _SPREAD, "cores: our replica", most=0.25),
    Bar(f"{_SPREAD}: p99 to the bare client's", "spread", _SPREAD, _TO_BARE),
    Bar(f"{_FAST}: p99", "fast", _FAST, "lateness p99, ms", most=50, unit=" ms"),
    Bar(f"{_FAST}: p99 to the bare client's", "fast", _FAST, _TO_BARE),
    Bar(f"{_RESTORE}: restored in", "restore", _RESTORE, "restored in, s", most=2.5, unit=" s"),
    Bar(f"{_RESTORE}: ratio to raw consume", "restore", _RESTORE, "ratio to the raw consumer of its round", 0.6),
    Bar(f"{_RESTORE}: memory for each", "restore", _RESTORE, "memory for each, bytes", most=170, aim=100, unit=" B"),
    Bar(f"{_PAYLOADS}: 100 bytes", "payloads", _PAYLOADS, "100 bytes: memory for each, bytes", most=170, unit=" B"),
    Bar(f"{_PAYLOADS}: 10 kB", "payloads", _PAYLOADS, "10 kB: memory for each, bytes", most=170, unit=" B"),
    Bar(f"{_PAYLOADS}: the same", "payloads", _PAYLOADS, "10 kB to 100 bytes, memory", most=1.1),
    Bar(f"{_RESTORE}: idle, cores", "restore", _RESTORE, "cores used while idle", most=0.01),
    Bar(f"{_MILLIONS}: restored in", "millions", _MILLIONS, "restored in, s", most=25, unit=" s"),
    Bar(f"{_MILLIONS}: resident", "millions", _MILLIONS, "resident, MB", most=1700, unit=" MB"),
    Bar(
        f"{_MILLIONS}: what fell due meanwhile, after the restore",
        "millions",
        _MILLIONS,
        "latest beyond the end of the restore, s",
        most=1,
        unit=" s",
    ),
    Bar(
        f"{_MILLIONS}: 1,000/s after it, p99",
        "millions",
        _MILLIONS,
        "1,000/s beside them: lateness p99, ms",
        most=13,
        unit=" ms",
    ),
    Bar(
        f"{_MILLIONS}: CPU for each firing, to that beside 10,000",
        "millions",
        _MILLIONS,
        "CPU for each firing, to that beside 10,000",
        most=1.3,
    ),
    Bar(
        f"{_RESTORING}: the latest, after the restore",
        "restoring",
        _RESTORING,
        "latest beyond the end of the restore, s",
        most=1,
        unit=" s",
    ),
    Bar(f"{_WRITING}: p99", "writing", _WRITING, "lateness p99, ms", most=13, unit=" ms"),
    Bar(f"{_WRITING}: p99 to the bare client's", "writing", _WRITING, _TO_BARE),
    Bar(f"{_WARM}: ratio to a cold one", "warm", _WARM, "ratio to the cold start of its round", most=0.2),
    Bar("burst: 64 partitions to 8, one replica", "scale", _SCALE, "64 partitions to 8, one replica", 0.6),
    Bar("burst: two replicas to one, 8 partitions", "scale", _SCALE, "two replicas to one, 8 partitions", 1),
    Bar(f"{_PLANNER}, all new", "planner", _PLANNER, "all new, s", unit=" s"),
    Bar(f"{_PLANNER}, nothing new", "planner", _PLANNER, "nothing new, s", unit=" s"),
    Bar(
        "short jobs beside the broker: ratio to a bare spawn loop",
        "workers",
        "workers",
        "ratio to the bare loop of its round",
        0.8,
    ),
    Bar(
        "short jobs on one processor: ratio to a bare spawn loop",
        "workers",
        "workers",
        "one processor: ratio to the bare loop of its round",
        0.8,
    ),
    Bar(
        "short jobs: the processor's cost of a bare loop's, to that of the worker's",
        "workers",
        "workers",
        "CPU for each: the bare loop's to the worker's",
        0.8,
    ),
    Bar("handlers that do nothing", "handlers", "handlers", "calls per second", 20_000, unit="/s"),
    Bar("a slot is reused, p99", "workers", "workers", "one processor: slot reused after, p99, ms", most=5, unit=" ms"),
)
