"""What an installation needs, and that the pages say what was measured and computed."""

from __future__ import annotations

import pytest

from bench import report, scaling
from bench.figures import QUIET_CORES, kept
from bench.sizing import Assumed, Costs, costs, need, records, reread

COSTS = Costs(
    firing_us=10,
    broker_firing_us=15,
    replica_each_us=250,
    broker_each_us=900,
    p50_ms=4,
    p99_ms=13,
    restored_per_second=300_000,
    restored_us=3,
    far_bytes=150,
    empty_bytes=100e6,
)
QUEUE = COSTS.replica()


def needed(pending: float, rate: float, *, sorted_: bool = True, assumed: Assumed | None = None):
    return need(pending, rate, COSTS, QUEUE, assumed or Assumed(), sorted_=sorted_)


def test_the_smallest_installation_is_two_replicas_and_three_brokers():
    small = needed(1_000, 10)

    assert (small.replicas, small.partitions, small.brokers) == (2, 8, 3)


def test_more_is_never_less():
    sizes = [needed(pending, pending / 1e4) for pending in (1e6, 1e7, 1e8, 1e9)]

    for name in ("replicas", "partitions", "brokers", "disk", "transactions", "coordinators"):
        found = [getattr(each, name) for each in sizes]
        assert found == sorted(found), name


def test_memory_asks_for_replicas_where_much_is_pending_and_cpu_where_much_fires():
    assert needed(1e9, 1e3).bound == "memory"
    assert needed(1e6, 1e5, assumed=Assumed(replica_bytes=256e9)).bound == "CPU"


def test_no_replica_needs_more_than_its_share_when_one_is_lost():
    for pending, rate in scaling.LOADS:
        assumed = Assumed()
        assert needed(pending, rate).memory <= assumed.replica_bytes * assumed.busy + COSTS.empty_bytes


def test_what_is_written_in_no_order_is_read_again_up_to_the_length_of_a_jump():
    assert reread(1) == 1
    assert reread(15_000) == 1_000
    assert reread(1e9) == reread(1e8) == 5_000
    assert needed(1e8, 1e4, sorted_=False).replicas > needed(1e8, 1e4).replicas


def test_tombstones_of_a_day_take_longer_to_read_than_those_of_an_hour():
    one = needed(1e6, 1e4)

    assert one.cold > 10 * one.cold_hour
    assert 7.5 < one.gap < one.cold_hour * 2 + 7.5


def test_records_are_as_long_as_what_is_in_them():
    assumed = Assumed()
    short, long = records(assumed), records(Assumed(payload_bytes=assumed.payload_bytes + 1_000))

    assert long.all - short.all == 3_000
    assert short.tombstone == long.tombstone < 200


@pytest.fixture(scope="module")
def runs():
    return kept()


def test_the_model_agrees_with_what_was_measured_within_a_factor(runs):
    """Two; three for the p99, which has pauses of the broker that the model knows nothing of."""
    busy = [name for name in ("burst", "spread", "fast") if name in runs and runs[name].others > QUIET_CORES]
    assert not busy, "measured while other processes ran"
    cost = costs(runs)

    compared = scaling.agreement(runs, cost, cost.replica())

    assert compared
    for what, measured, computed in compared:
        factor = 3 if "p99" in what else 2
        assert measured / factor <= computed <= measured * factor, what


def test_the_pages_are_what_the_programs_write(runs):
    for page, program in ((report.PAGE, report), (scaling.PAGE, scaling)):
        text = page.read_text(encoding="utf-8")
        assert text == program.page(text, runs), f"make performance scaling: {page.name}"
