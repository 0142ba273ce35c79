"""Figures of a run: by group and name, each with the values of all rounds; and the file that keeps them."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from confluent_kafka import libversion
from confluent_kafka import version as client_version

from bench.amounts import spread
from dev.kafka_distribution import KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEPT = Path(__file__).parent.parent / "docs" / "performance.jsonl"

QUIET_CORES = 0.1
"""For processes that have nothing to do with a measurement: more than that changes the figures."""

Values = dict[str, dict[str, list[float]]]
"""Group, name, one value of each round."""


class Figure(NamedTuple):
    """One number of one round."""

    group: str
    name: str
    value: float


class Table:
    """Figures in the order in which they came."""

    def __init__(self) -> None:
        self.figures: Values = {}

    def add(self, figures: Iterable[Figure]) -> None:
        """Those of one round."""
        for group, name, value in figures:
            self.figures.setdefault(group, {}).setdefault(name, []).append(value)

    def rows(self) -> list[tuple[str, str]]:
        """For people: a line for each group, and its figures below."""
        found: list[tuple[str, str]] = []
        for group, names in self.figures.items():
            found.append((group, ""))
            found += [(f"  {name}", spread(values)) for name, values in names.items()]
        return found


@dataclass(frozen=True, slots=True)
class Measured:
    """One scenario of one run, as it is kept: a line of JSON."""

    scenario: str
    when: str
    machine: str
    seconds: float
    """How long it took, so that the next run can say when it will end."""
    rounds: int
    others: float
    """Cores that processes took meanwhile which have nothing to do with it."""
    figures: Values

    def to_json(self) -> str:
        """A line."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, ensure_ascii=False)


def now(scenario: str, seconds: float, rounds: int, others: float, figures: Values) -> Measured:
    """What was measured just now on this machine."""
    when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    short = {group: {name: [short_value(v) for v in vs] for name, vs in of.items()} for group, of in figures.items()}
    return Measured(scenario, when, machine(), round(seconds, 1), rounds, round(others, 2), short)


def parsed(line: str, where: str) -> Measured:
    """A line as it was kept.

    Raises:
        SystemExit: it is none; the message says where it stands.
    """
    try:
        found: dict[str, Any] = json.loads(line)
        return Measured(**found)
    except (ValueError, TypeError) as error:
        raise SystemExit(f"{where}: not a line of measured figures: {error}") from error


def kept(path: Path = KEPT) -> dict[str, Measured]:
    """The newest of each scenario, by its name; nothing where nothing was ever kept."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    runs = [parsed(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    return {run.scenario: run for run in sorted(runs, key=lambda run: run.when)}


def keep(run: Measured, path: Path = KEPT) -> None:
    """In place of what was kept of that scenario; the others stay."""
    runs = {**kept(path), run.scenario: run}
    path.write_text("".join(f"{each.to_json()}\n" for each in runs.values()), encoding="utf-8")


def values(runs: Mapping[str, Measured], scenario: str, group: str, name: str) -> list[float]:
    """Of all rounds; none where it was not measured."""
    return runs[scenario].figures.get(group, {}).get(name, []) if scenario in runs else []


def median(runs: Mapping[str, Measured], scenario: str, group: str, name: str) -> float:
    """Of all rounds.

    Raises:
        SystemExit: it was not measured.
    """
    found = values(runs, scenario, group, name)
    if not found:
        raise SystemExit(f'"{group}: {name}" is not in {KEPT.name}: make bench BENCH="--only {scenario} --keep"')
    return statistics.median(found)


def machine() -> str:
    """What was measured on, and with."""
    return (
        f"{psutil.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.machine()}; Apache Kafka {KAFKA_VERSION}, Python {platform.python_version()}, "
        f"confluent-kafka {client_version()}, librdkafka {libversion()[0]}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def short_value(value: float) -> float:
    """Four digits say enough of anything measured."""
    return float(f"{value:.4g}")
