"""What a scheduler replica counts, by Prometheus' conventions, on a registry that is passed in.

`docs/metrics.md` lists all of it. Labels have few values, never a schedule id.
"""

from __future__ import annotations

import math
from collections import Counter as Counted
from typing import TYPE_CHECKING, Final

from confluent_kafka import libversion
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scheduler import __version__
from scheduler.broker.beginning import Start
from scheduler.broker.failures import Kind
from scheduler.broker.observer import Observer
from scheduler.engine.life import State
from scheduler.runtime.metrics import SECONDS, MillisecondsHistogram
from scheduler.schedule import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from scheduler.broker.standing import Standing
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
_FIRED: Final = Outcome.FIRED
REBALANCES = ("assigned", "revoked", "lost")
BATCHES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class SchedulerMetrics(Observer):
    """Told by the owners of partitions, by the group and by those who watch clock and topics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("scheduler_build", "What runs here.", registry=registry).info(
            {"version": __version__, "librdkafka": libversion()[0]}
        )
        self.events = Counter(
            "kafka_scheduler_event", "What happened to schedules, in etf1's words.", ["type"], registry=registry
        )
        for event in (PLANNED, *EVENT_OF.values()):
            self.events.labels(event)
        self.lateness = MillisecondsHistogram(
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
        self.batches = Histogram(
            "scheduler_transaction_schedules",
            "Schedules that one transaction settled.",
            buckets=BATCHES,
            registry=registry,
        )
        self.failures = Counter(
            "scheduler_transaction_failures", "Transactions that did not end well.", ["kind"], registry=registry
        )
        for kind in Kind:
            self.failures.labels(kind.value)
        self.fences = Histogram(
            "scheduler_fence_seconds",
            "Until nobody else could write for a partition, all attempts together.",
            buckets=SECONDS[3:15],
            registry=registry,
        )
        self.restores = Counter(
            "scheduler_restores",
            "Restores: from the log's beginning, a snapshot, the beginning as that would not do, or what was followed.",
            ["kind"],
            registry=registry,
        )
        for start in Start:
            self.restores.labels(start.value)
        self.fence_failures = Counter(
            "scheduler_fence_failures",
            "Attempts to fence that failed, and were followed by another.",
            registry=registry,
        )
        self.rebalances = Counter(
            "scheduler_rebalances", "What the group has said about partitions.", ["event"], registry=registry
        )
        for event in REBALANCES:
            self.rebalances.labels(event)
        self.partitions = Gauge(
            "scheduler_schedules_topic_partitions",
            "Partitions that a schedules topic has, whoever owns them.",
            ["topic"],
            registry=registry,
        )
        self.added = Gauge(
            "scheduler_schedules_topic_added_partitions",
            "Partitions that a schedules topic was given since this replica started; keys have moved.",
            ["topic"],
            registry=registry,
        )
        self.stuck = Gauge(
            "scheduler_stuck_calls",
            "Calls of the Kafka client that have not returned in three times their time.",
            registry=registry,
        )
        self.followed = Gauge(
            "scheduler_standby_partitions",
            "Partitions of other replicas that this one follows and has caught up with.",
            registry=registry,
        )
        self.followed_schedules = Gauge(
            "scheduler_standby_schedules", "Schedules pending in the partitions that it follows.", registry=registry
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
        self.batches.observe(len(batch))
        lateness_ms: list[int] = []
        others: list[Outcome | None] = []
        missed = 0
        for settlement in batch:  # once: many are more than the processor's cache holds
            if settlement.outcome is _FIRED:
                lateness_ms.append(settlement.lateness_ms)
                missed += settlement.due_ms < running_since_ms
            else:
                others.append(settlement.outcome)
        if lateness_ms:
            self.lateness.observe(lateness_ms)
            self.events.labels(EVENT_OF[_FIRED]).inc(len(lateness_ms))
        if missed:
            self.events.labels(MISSED).inc(missed)
        for outcome, count in Counted(others).items():
            if outcome is not None:
                self.events.labels(EVENT_OF[outcome]).inc(count)

    def fenced(self, _place: Place, seconds: float) -> None:
        """Nobody else can write for the partition any more."""
        self.fences.observe(seconds)

    def not_fenced(self, _place: Place) -> None:
        """An attempt to fence has failed."""
        self.fence_failures.inc()

    def failed(self, _place: Place, kind: Kind) -> None:
        """A transaction did not end well."""
        self.failures.labels(kind.value).inc()

    def restored(self, place: Place, start: Start) -> None:  # noqa: ARG002 - partitions are many
        """Count it."""
        self.restores.labels(start.value).inc()

    def accepted(self, _place: Place, schedules: int) -> None:
        """So many more versions were found sound."""
        self.events.labels(PLANNED).inc(schedules)

    def rebalanced(self, event: str) -> None:
        """The group has given this replica partitions or taken some away."""
        self.rebalances.labels(event).inc()

    def stands_by(self, partitions: int, schedules: int) -> None:
        """So many partitions of others are followed, with so many schedules."""
        self.followed.set(partitions)
        self.followed_schedules.set(schedules)

    def partitions_seen(self, topic: str, count: int, added: int) -> None:
        """A schedules topic has so many partitions, and so many more than at the start."""
        self.partitions.labels(topic).set(count)
        self.added.labels(topic).set(added)


class PartitionCollector(Collector):
    """Gauges of the partitions that this replica owns, read when asked for; of others nothing is said."""

    def __init__(
        self,
        standings: Callable[[], Mapping[tuple[str, int], Standing]],
        lags: Callable[[], Mapping[tuple[str, int], int]],
    ) -> None:
        self._standings = standings
        self._lags = lags

    def collect(self) -> Iterator[Metric]:
        """One sample a partition."""
        pending = _gauge("pending_schedules", "Schedules in force, paused ones included.")
        overdue = _gauge("overdue_schedules", "Due and not yet taken up.")
        postponed = _gauge("postponed_schedules", "Due, and waiting for their target.")
        next_due = _gauge("next_due_timestamp_seconds", "When the next schedule is due; absent without one.")
        paused = _gauge("partition_paused", "1 where nothing fires because the partition is paused.")
        state = _gauge("partition_state", "1 for the state that the partition is in.", "state")
        restore = _gauge("restore_seconds", "How long the last restore took; absent until it is over.")
        lag = _gauge("consumer_lag_records", "Records that stand in the partition and are not applied yet.")
        lags = self._lags()
        for key, standing in self._standings().items():
            place = [key[0], str(key[1])]
            pending.add_metric(place, standing.pending)
            overdue.add_metric(place, standing.overdue)
            postponed.add_metric(place, standing.postponed)
            paused.add_metric(place, standing.paused)
            for each in State:
                state.add_metric([*place, each.value], each is standing.state)
            if standing.next_due_ms is not None:
                next_due.add_metric(place, standing.next_due_ms / 1000)
            if standing.restore_seconds is not None:
                restore.add_metric(place, standing.restore_seconds)
            if key in lags:
                lag.add_metric(place, lags[key])
        yield from (pending, overdue, postponed, next_due, paused, state, restore, lag)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"scheduler_{name}", text, labels=["topic", "partition", *labels])
