"""What a scheduler replica counts, by Prometheus' conventions, on a registry that is passed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scheduler.engine.life import State
from scheduler.runtime.metrics import SECONDS
from scheduler.schedule import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from scheduler.broker.owner import Standing
    from scheduler.engine.settlement import Place, Settlement

PLANNED = "planned"
MISSED = "missed"
EVENT_OF = {
    Outcome.FIRED: "triggered",
    Outcome.MISFIRED: MISSED,
    Outcome.CANCELLED: "deleted",
    Outcome.REJECTED: "invalid",
    Outcome.UNDELIVERABLE: "undeliverable",
}


class SchedulerMetrics:
    """Told by the owners of partitions; labels have few values, never a schedule id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.events = Counter(
            "kafka_scheduler_event", "What happened to schedules, in etf1's words.", ["type"], registry=registry
        )
        for event in (PLANNED, *EVENT_OF.values()):
            self.events.labels(event)
        self.lateness = Histogram(
            "scheduler_fire_lateness_seconds",
            "From the due time to the decision to fire.",
            buckets=SECONDS,
            registry=registry,
        )
        self.transactions = Histogram(
            "scheduler_transaction_seconds",
            "One transaction, commit included.",
            buckets=SECONDS[:14],
            registry=registry,
        )
        self.failures = Counter(
            "scheduler_transaction_failures", "Transactions that did not end well.", ["kind"], registry=registry
        )
        self.restore_seconds = Gauge(
            "scheduler_restore_seconds",
            "How long the last restore of a partition took.",
            ["topic", "partition"],
            registry=registry,
        )

        self.skew = Gauge(
            "scheduler_clock_skew_seconds",
            "This replica's clock less the brokers', when last measured; NaN before.",
            registry=registry,
        )
        self.skew.set(math.nan)

    def settled(self, _place: Place, batch: Sequence[Settlement], seconds: float, *, running_since_ms: int) -> None:
        """A transaction is committed."""
        self.transactions.observe(seconds)
        observe = self.lateness.observe
        counts: dict[str, int] = {}
        for settlement in batch:
            outcome = settlement.outcome
            if outcome is None:
                continue
            event = EVENT_OF[outcome]
            counts[event] = counts.get(event, 0) + 1
            if outcome is Outcome.FIRED:
                observe(settlement.lateness_ms / 1000)
                if settlement.due_ms < running_since_ms:
                    counts[MISSED] = counts.get(MISSED, 0) + 1
        for event, count in counts.items():
            self.events.labels(event).inc(count)

    def restored(self, place: Place, _schedules: int, seconds: float) -> None:
        """A partition fires from now on."""
        self.restore_seconds.labels(place.topic, str(place.partition)).set(seconds)

    def failed(self, _place: Place, kind: str) -> None:
        """A transaction did not end well."""
        self.failures.labels(kind).inc()

    def accepted(self, _place: Place, schedules: int) -> None:
        """So many more versions were found sound."""
        self.events.labels(PLANNED).inc(schedules)


class PartitionCollector(Collector):
    """Gauges of the partitions that this replica owns, read when asked for."""

    def __init__(self, standings: Callable[[], Mapping[tuple[str, int], Standing]]) -> None:
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        """One sample a partition."""
        labels = ["topic", "partition"]
        pending = GaugeMetricFamily("scheduler_pending_schedules", "Schedules in force.", labels=labels)
        overdue = GaugeMetricFamily("scheduler_overdue_schedules", "Due and not yet fired.", labels=labels)
        next_due = GaugeMetricFamily(
            "scheduler_next_due_timestamp_seconds", "When the next schedule is due; absent without one.", labels=labels
        )
        state = GaugeMetricFamily(
            "scheduler_partition_state", "1 for the state that the partition is in.", labels=[*labels, "state"]
        )
        for (topic, partition), standing in self._standings().items():
            place = [topic, str(partition)]
            pending.add_metric(place, standing.pending)
            overdue.add_metric(place, standing.overdue)
            if standing.next_due_ms is not None:
                next_due.add_metric(place, standing.next_due_ms / 1000)
            for each in State:
                state.add_metric([*place, each.value], float(each is standing.state))
        yield from (pending, overdue, next_due, state)
