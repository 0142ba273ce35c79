"""What `planner watch` measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from planner.report import counts
from scheduler.runtime.metrics import SECONDS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from planner.steps import Plan

OUTCOMES = ("written", "unchanged", "waiting", "refused", "failed")
"""Of a sync: something was changed; nothing had to be; something is left for later; the crontab is broken or would
cancel more than half; Kafka did not answer or did not take it."""


class WatchMetrics:
    """The watch's metrics, in a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.valid = Gauge(
            "planner_crontab_valid", "1 while the newest version of the crontab has no error", registry=registry
        )
        self.in_force = Gauge(
            "planner_in_force", "1 while Kafka holds what the last good crontab states", registry=registry
        )
        self.entries = Gauge("planner_entries", "Entries of the last good crontab", registry=registry)
        self.last_sync = Gauge(
            "planner_last_sync_timestamp_seconds", "When Kafka was last found or made right", registry=registry
        )
        self.sync_seconds = Histogram(
            "planner_sync_seconds", "How long a sync took", buckets=SECONDS, registry=registry
        )
        self._syncs = Counter("planner_syncs_total", "Syncs, by outcome", ["outcome"], registry=registry)
        for outcome in OUTCOMES:
            self._syncs.labels(outcome)
        self._schedules = Counter(
            "planner_schedules_total",
            "Schedules that were created, changed and cancelled",
            ["action"],
            registry=registry,
        )
        for action in ("created", "changed", "cancelled"):
            self._schedules.labels(action)

    def ended(self, outcome: str) -> None:
        """Count a sync."""
        self._syncs.labels(outcome).inc()

    def wrote(self, plan: Plan) -> None:
        """Count what a sync wrote."""
        done = counts(plan)
        for action in ("created", "changed", "cancelled"):
            self._schedules.labels(action).inc(done[action])
