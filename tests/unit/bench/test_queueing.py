"""The replica as a queue: what must hold at its limits."""

from __future__ import annotations

from dataclasses import replace
from random import Random  # noqa: TID251 - a seed for each

import pytest

from bench.queueing import MAX_BATCH, Replica, calibrated, simulate

REPLICA = Replica(8, firing_seconds=10e-6, transaction_seconds=200e-6, latency_seconds=0.003)
COUNT = 20_000


def course(replica, rate, count=COUNT, seed=1):
    return simulate(replica, rate, count / rate, Random(seed))


def test_alone_a_schedule_is_late_by_its_own_transaction():
    alone = course(REPLICA, 1, count=500)

    own = REPLICA.firing_seconds + REPLICA.transaction_seconds + REPLICA.latency_seconds
    assert alone.percentile(0.5) == pytest.approx(own)
    assert alone.transactions == pytest.approx(1, rel=0.15)


def test_every_schedule_that_counts_is_fired_once():
    fired = course(REPLICA, 5_000)

    assert len(fired.lateness) == pytest.approx(0.8 * COUNT, rel=0.02)
    assert fired.lateness == sorted(fired.lateness)
    assert fired.lateness[0] >= REPLICA.latency_seconds


def test_lateness_grows_with_the_load_and_batches_share_transactions():
    rates = (100, 1_000, 10_000, 50_000, 90_000)
    courses = [course(REPLICA, rate, count=max(COUNT, rate)) for rate in rates]

    medians = [each.percentile(0.5) for each in courses]
    assert medians == sorted(medians)
    assert medians[-1] < 20 * medians[0]
    fired_by_each = [rate / each.transactions for rate, each in zip(rates, courses, strict=True)]
    assert fired_by_each == sorted(fired_by_each)


def test_near_its_capacity_the_core_is_busy_and_beyond_it_the_queue_grows_without_end():
    near = course(REPLICA, 0.99 * REPLICA.capacity, count=200_000)
    short, long = (course(REPLICA, 1.5 * REPLICA.capacity, count=count) for count in (200_000, 400_000))

    assert near.busy > 0.98
    assert short.percentile(0.5) > near.percentile(0.99)
    assert long.percentile(0.5) == pytest.approx(2 * short.percentile(0.5), rel=0.1)


def test_what_is_fired_beyond_the_capacity_is_the_capacity():
    seconds = 2.0
    over = simulate(REPLICA, 2 * REPLICA.capacity, seconds, Random(1))

    drained = seconds + over.lateness[-1]
    assert 2 * REPLICA.capacity * seconds / drained == pytest.approx(REPLICA.capacity, rel=0.05)


def test_one_partition_that_waits_for_the_brokers_fires_a_batch_in_each_turn():
    slow = replace(REPLICA, partitions=1, latency_seconds=1.0)
    turn = 1.0 + REPLICA.transaction_seconds + MAX_BATCH * REPLICA.firing_seconds

    assert slow.capacity == pytest.approx(MAX_BATCH / turn, rel=0.01)
    assert course(slow, 0.9 * slow.capacity).percentile(0.99) < 4 * turn


def test_brokers_that_are_busy_make_batches_larger_and_later():
    busy = replace(REPLICA, broker_transaction_seconds=800e-6, broker_cores=1)
    apart = replace(busy, broker_cores=None)

    shared, own = (course(each, 10_000) for each in (busy, apart))

    assert shared.transactions < 1.01 / 800e-6 < own.transactions
    assert shared.percentile(0.5) > own.percentile(0.5)
    assert replace(busy, broker_firing_seconds=20e-6).capacity < 50_000 < busy.capacity


def test_what_is_prepared_before_it_is_due_is_not_waited_for():
    preparing = replace(REPLICA, prepared_share=0.75, ahead_seconds=0.015)
    alone, crowd = (course(preparing, rate, count=count) for rate, count in ((1, 500), (50_000, 50_000)))

    own = 0.25 * REPLICA.transaction_seconds + REPLICA.latency_seconds
    assert alone.percentile(0.5) == pytest.approx(own)
    assert alone.busy == pytest.approx(course(REPLICA, 1, count=500).busy, rel=0.02)
    assert crowd.percentile(0.5) == pytest.approx(course(REPLICA, 50_000, count=50_000).percentile(0.5), rel=0.1)


def test_the_same_seed_is_the_same_course():
    assert course(REPLICA, 3_000) == course(REPLICA, 3_000)
    assert course(REPLICA, 3_000) != course(REPLICA, 3_000, seed=2)


def test_a_calibrated_replica_is_as_late_as_what_was_measured():
    found = calibrated(REPLICA, 1_000, p50=0.004, p99=0.015)

    again = simulate(found, 1_000, 20, Random(7))
    assert again.percentile(0.5) == pytest.approx(0.004, rel=0.1)
    assert again.percentile(0.99) == pytest.approx(0.015, rel=0.15)
