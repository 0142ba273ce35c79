"""The series that the product's programs serve, for what is written about them elsewhere: rules, dashboards."""

from __future__ import annotations

import re
from collections import defaultdict

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from planner.watch_metrics import WatchMetrics
from scheduler.broker.standing import Standing
from scheduler.engine.life import State
from scheduler.metrics import PartitionCollector, SchedulerMetrics
from worker.metrics import Metrics as WorkerMetrics

FEW = ("state", "type", "kind", "event", "action")
"""Labels whose every value is served from the start."""


def served() -> dict[str, dict[str, set[str]]]:
    """The name of each series, with its labels and the values of those in `FEW`."""
    scheduler, worker, planner = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    SchedulerMetrics(scheduler).partitions_seen("schedules", 1, 0)
    standing = Standing(State.RUNNING, 1, 0, 10_000, restore_seconds=0.5)
    scheduler.register(PartitionCollector(lambda: {("schedules", 0): standing}, lambda: {("schedules", 0): 0}))
    WorkerMetrics(worker, "cluster-a").ended("succeeded")
    WatchMetrics(planner)
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for registry in (scheduler, worker, planner):
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    found[sample.name][label].add(value)
                found[sample.name].setdefault("", set())
    return {name: dict(labels) for name, labels in found.items() if not re.search(r"_created$", name)}
