"""The log of runs: a line of JSON for each, and the tables of it in docs/reliability.md."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from confluent_kafka import libversion

from dev.kafka_distribution import KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.support.chaos.run import Report

ROOT = Path(__file__).parents[3]
LOG = ROOT / "docs" / "chaos-runs.jsonl"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- runs -->\n", "<!-- end of runs -->\n"

Row = dict[str, Any]


def row(report: Report, kind: str, when: str) -> Row:
    """What is worth keeping of a run."""
    recoveries: defaultdict[str, list[int | None]] = defaultdict(list)
    for fault in report.faults:
        recoveries[fault.name].append(fault.recovery_ms)
    verdict = report.verdict
    return {
        "when": when,
        "run": kind,
        "seed": report.seed,
        "seconds": round(report.seconds),
        "schedules": verdict.schedules if verdict else 0,
        "messages": verdict.messages if verdict else 0,
        "faults": recoveries,
        "wrong": {str(fault): count for fault, count in verdict.counts.items()} if verdict else {"never judged": 1},
        "findings": report.findings,
        "lateness_ms": {"p50": verdict.lateness(0.5), "p99": verdict.lateness(0.99)} if verdict else {},
        "machine": machine(),
    }


def machine() -> str:
    """Where it ran, and on what."""
    gigabytes = round(psutil.virtual_memory().total / 2**30)
    return (
        f"{os.cpu_count()} cores, {gigabytes} GB, {platform.system()} {platform.machine()}; "
        f"Apache Kafka {KAFKA_VERSION}, Python {platform.python_version()}, "
        f"confluent-kafka {version('confluent-kafka')}, librdkafka {libversion()[0]}"
    )


def append(path: Path, added: Row) -> None:
    """One line more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(added, ensure_ascii=False) + "\n")


def read(path: Path) -> list[Row]:
    """Every line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tables(rows: Sequence[Row]) -> str:
    """As docs/reliability.md has them."""
    return "\n".join([*_runs(rows), "", *_kinds(rows), "", *_machines(rows), ""])


def _runs(rows: Sequence[Row]) -> Iterator[str]:
    yield "| run | runs | seeds | schedules | messages | faults | lost | doubled | anything else | recovery p50 / max |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for each in rows:
        groups[each["run"]].append(each)
    for name, group in groups.items():
        wrong: Counter[str] = Counter()
        for each in group:
            wrong.update(each["wrong"])
        lost, doubled = wrong.pop("lost", 0), wrong.pop("doubled", 0)
        other = wrong.total() + sum(len(each["findings"]) for each in group)
        recoveries = [ms for each in group for found in each["faults"].values() for ms in found]
        cells = [
            name,
            len(group),
            _spans(each["seed"] for each in group),
            f"{sum(each['schedules'] for each in group):,}",
            f"{sum(each['messages'] for each in group):,}",
            f"{len(recoveries):,}",
            lost,
            doubled,
            other,
            _recovery(recoveries),
        ]
        yield f"| {' | '.join(map(str, cells))} |"


def _kinds(rows: Sequence[Row]) -> Iterator[str]:
    yield "| fault | times | recovery p50 / max |"
    yield "|---|---|---|"
    kinds: defaultdict[str, list[int | None]] = defaultdict(list)
    for each in rows:
        for name, recoveries in each["faults"].items():
            # of two at a time, nobody can say which one it was that took the time
            kinds["two at a time" if " + " in name else name] += recoveries
    for name, recoveries in sorted(kinds.items()):
        yield f"| {name} | {len(recoveries)} | {_recovery(recoveries)} |"


def _machines(rows: Sequence[Row]) -> Iterator[str]:
    for name in dict.fromkeys(each["machine"] for each in rows):
        yield f"On {name}."


def _recovery(recoveries: Sequence[int | None]) -> str:
    known = [ms / 1000 for ms in recoveries if ms is not None]
    said = f"{statistics.median(known):.1f} s / {max(known):.1f} s" if known else "never"
    never = len(recoveries) - len(known)
    return f"{said}, {never} never" if known and never else said


def _spans(seeds: Iterable[int]) -> str:
    """`1-25, 40`."""
    spans: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if spans and spans[-1][-1] == seed - 1:
            spans[-1][1:] = [seed]
        else:
            spans.append([seed])
    return ", ".join("-".join(map(str, span)) for span in spans)


def update(page: Path = PAGE, log: Path = LOG) -> None:
    """Write the tables into the page, between its two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{tables(read(log))}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    update()
