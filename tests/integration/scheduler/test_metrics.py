"""What /metrics says is what happened: every event and every gauge, on a real broker, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from scheduler.schedule import PAUSE_KEY
from tests.support.records import Put
from tests.support.replica_process import replica_process
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.replica_process import ReplicaProcess
    from tests.support.schedules import Installation

Samples = dict[tuple[str, ...], float]

HOUR_MS = 3_600_000
OF_A_PARTITION = {
    "scheduler_pending_schedules",
    "scheduler_overdue_schedules",
    "scheduler_postponed_schedules",
    "scheduler_partition_paused",
    "scheduler_partition_state",
    "scheduler_restore_seconds",
    "scheduler_consumer_lag_records",
}
"""Gauges that each partition of a running replica has."""


def scrape(replica: ReplicaProcess) -> Samples:
    """Each sample by its name and its labels' values, in the order of the labels' names; topics left out."""
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "topic")): sample.value
        for family in text_string_to_metric_families(replica.get("/metrics", of="metrics").text)
        for sample in family.samples
    }


def wait_for_samples(replica: ReplicaProcess, expected: Samples) -> Samples:
    """Scrape until each of these samples has its value."""
    seen: Samples = {}

    def shown() -> bool:
        seen.update(scrape(replica))
        return all(seen.get(name) == value for name, value in expected.items())

    try:
        wait_until(shown, "the metrics are as expected")
    except AssertionError:
        assert {name: seen.get(name) for name in expected} == expected
    return seen


def events(**counts: int) -> Samples:
    words = ("planned", "triggered", "missed", "invalid", "deleted", "undeliverable")
    return {("kafka_scheduler_event_total", word): counts.get(word, 0) for word in words}


def test_every_event_and_every_gauge_is_shown(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    now_ms = clock.now_ms()
    later_ms = now_ms + HOUR_MS
    missed = [
        installation.schedule(b"fired late", due_ms=now_ms - 5000, partition=0),
        installation.schedule(b"skipped", due_ms=now_ms - 5000, misfire="skip", misfire_grace="1s", partition=0),
    ]
    installation.write(*missed)
    with replica_process(installation, TARGET_GRACE="3600000", SESSION_TIMEOUT="40000") as replica:
        replica.wait_until_ready(2)
        replica_since_ms = clock.now_ms()
        wait_for_samples(replica, events(planned=2, triggered=1, missed=2))
        installation.write(
            installation.schedule(b"pending", due_ms=later_ms, partition=0),
            installation.schedule(b"later still", due_ms=later_ms + 1, partition=0),
            installation.schedule(b"cancelled", due_ms=later_ms, partition=0),
            installation.cancel(b"cancelled", partition=0),
            installation.schedule(b"invalid", epoch="tomorrow", partition=0),
            installation.schedule(b"forbidden", epoch=0, target_topic=installation.history, partition=0),
            installation.schedule(b"waits", due_ms=now_ms, target_topic="not-there-yet", partition=0),
            installation.schedule(b"on time", due_ms=replica_since_ms + 500, partition=0),
            Put(installation.schedules, PAUSE_KEY, b"", [], 1),
        )
        wait_for_samples(replica, {("scheduler_partition_paused", "1"): 1})
        installation.write(*(installation.schedule(b"paused-%d" % n, due_ms=now_ms, partition=1) for n in range(3)))
        # `planned`: what was missed, all that was sound since, and the three of the paused partition
        shown = wait_for_samples(
            replica,
            {
                **events(planned=2 + 6 + 3, triggered=2, missed=2, invalid=1, deleted=1, undeliverable=1),
                ("scheduler_pending_schedules", "0"): 3,
                ("scheduler_pending_schedules", "1"): 3,
                ("scheduler_overdue_schedules", "0"): 0,
                ("scheduler_overdue_schedules", "1"): 3,
                ("scheduler_postponed_schedules", "0"): 1,
                ("scheduler_postponed_schedules", "1"): 0,
                ("scheduler_partition_paused", "0"): 0,
                ("scheduler_partition_paused", "1"): 1,
                ("scheduler_next_due_timestamp_seconds", "0"): later_ms / 1000,
                ("scheduler_partition_state", "0", "running"): 1,
                ("scheduler_partition_state", "0", "restoring"): 0,
                ("scheduler_partition_state", "1", "running"): 1,
                ("scheduler_consumer_lag_records", "0"): 0,
                ("scheduler_consumer_lag_records", "1"): 0,
                ("scheduler_fire_lateness_seconds_count",): 2,
                ("scheduler_fence_seconds_count",): 2,
                ("scheduler_fence_failures_total",): 0,
                ("scheduler_rebalances_total", "lost"): 0,
                ("scheduler_schedules_topic_added_partitions",): 0,
            },
        )
        assert shown["scheduler_restore_seconds", "0"] > 0
        assert shown["scheduler_rebalances_total", "assigned"] >= 1
        assert 5 <= shown["scheduler_fire_lateness_seconds_sum",] < 5 + SECONDS
        assert shown["scheduler_transaction_seconds_count",] == shown["scheduler_transaction_schedules_count",] >= 2
        assert shown["scheduler_transaction_schedules_sum",] >= 6  # a version that was written again is one more
        assert [value for name, value in shown.items() if name[0] == "scheduler_transaction_failures_total"] == [0] * 4
        assert abs(shown["process_start_time_seconds",] - now_ms / 1000) < 2 * SECONDS
        assert shown["process_resident_memory_bytes",] > 10_000_000
        assert [name for name in shown if name[0] == "scheduler_build_info"]

        # a client's open transaction holds back whatever stands behind it, and that shows as lag
        held = [installation.schedule(b"held-%d" % number, due_ms=later_ms, partition=0) for number in range(4)]
        client = installation.transaction(f"client-of-{installation.schedules}", *held)
        wait_for_samples(replica, {("scheduler_consumer_lag_records", "0"): 4})
        client.commit_transaction(SECONDS)
        wait_for_samples(
            replica,
            {("scheduler_consumer_lag_records", "0"): 0, ("scheduler_pending_schedules", "0"): 3 + len(held)},
        )
        assert replica.terminate() == 0


def test_a_partition_that_moves_away_leaves_no_sample_behind(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)

    def places(replica: ReplicaProcess) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in OF_A_PARTITION}
        for sample in scrape(replica):
            if sample[0] in OF_A_PARTITION:
                found[sample[0]].add(sample[1])
        return found

    with ExitStack() as until_the_end:
        one = until_the_end.enter_context(replica_process(installation))
        one.wait_until_ready(2)
        wait_until(lambda: places(one) == {name: {"0", "1"} for name in OF_A_PARTITION}, "it has samples of both")
        other = until_the_end.enter_context(replica_process(installation))
        other.wait_until_ready(1)
        one.wait_until_ready(1)

        def shared() -> bool:
            ours, theirs = places(one), places(other)
            return all(
                len(ours[name]) == len(theirs[name]) == 1 and ours[name] | theirs[name] == {"0", "1"}
                for name in OF_A_PARTITION
            )

        wait_until(shared, "each has the samples of its own partition, and no others")
        assert scrape(one)["scheduler_rebalances_total", "revoked"] >= 1
        assert other.terminate() == 0
        assert one.terminate() == 0


def test_a_fence_is_counted(installation: Installation) -> None:
    """Somebody else with the partition's transactional id: the replica's next transaction is refused."""
    with installation.replica() as replica:
        thief = Producer(
            {
                "bootstrap.servers": installation.broker,
                "transactional.id": f"{installation.group_id}-{installation.schedules}-0",
            }
        )
        thief.init_transactions(SECONDS)
        installation.write(installation.schedule(b"k", epoch=0))

        def count(name: str, **labels: str) -> float | None:
            return replica.registry.get_sample_value(name, labels)

        wait_until(lambda: count("scheduler_transaction_failures_total", kind="fenced") == 1, "the fence is counted")
        assert count("scheduler_fence_seconds_count") == 1
        installation.fired(b"k")  # taken over again, as the group says that it is ours
        assert count("scheduler_fence_seconds_count") == 2
    assert len(installation.read(installation.target)) == 1
