"""What a worker measures. Seconds, counts that end in `_total`, and no label that a job could fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_RUN_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LATENESS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)


class Metrics:
    """The worker's metrics, in a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry, cluster: str) -> None:
        self._cluster = cluster
        runs = Counter(
            "worker_runs_total", "Attempts that ended, by outcome", ["cluster", "outcome"], registry=registry
        )
        self._runs = runs
        self._by_outcome: dict[str, Counter] = {}
        self.run_seconds = Histogram(
            "worker_run_seconds", "How long an attempt took", ["cluster"], buckets=_RUN_BUCKETS, registry=registry
        ).labels(cluster)
        self.start_lateness_seconds = Histogram(
            "worker_start_lateness_seconds",
            "From when an attempt was due to its start",
            ["cluster"],
            buckets=_LATENESS_BUCKETS,
            registry=registry,
        ).labels(cluster)
        self.running = Gauge("worker_running", "Attempts that run now", ["cluster"], registry=registry).labels(cluster)
        self.waiting = Gauge(
            "worker_waiting", "Attempts that were read and wait for a slot", ["cluster"], registry=registry
        ).labels(cluster)
        self.oldest_waiting_seconds = Gauge(
            "worker_oldest_waiting_seconds",
            "How long ago the oldest attempt that waits for a slot was due",
            ["cluster"],
            registry=registry,
        ).labels(cluster)
        self.poll_age_seconds = Gauge(
            "worker_poll_age_seconds", "How long ago the poll loop last came round", ["cluster"], registry=registry
        ).labels(cluster)
        self.retries = Counter(
            "worker_retries_total", "Failed attempts that were scheduled again", ["cluster"], registry=registry
        ).labels(cluster)
        self.dead_letters = Counter(
            "worker_dead_letters_total", "Messages that were given up", ["cluster"], registry=registry
        ).labels(cluster)
        self.bookkeeping_failures = Counter(
            "worker_bookkeeping_failures_total",
            "Transactions that failed or whose end was uncertain",
            ["cluster"],
            registry=registry,
        ).labels(cluster)

    def ended(self, outcome: str) -> None:
        """Count an attempt that ended."""
        counter = self._by_outcome.get(outcome)
        if counter is None:
            counter = self._by_outcome[outcome] = self._runs.labels(self._cluster, outcome)
        counter.inc()
