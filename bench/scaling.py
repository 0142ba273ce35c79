"""`make scaling`: the tables and the plot of docs/scaling.md, computed from what `make bench` has measured.

What is asked for in `need` is arithmetic; lateness and the number of transactions come from the simulated replica.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from bench.amounts import count, number, seconds, size
from bench.figures import KEPT, kept, values
from bench.limits import limits
from bench.report import between, markdown
from bench.scenarios import Sizes
from bench.sizing import Assumed, Costs, costs, need, records, steady

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.figures import Measured
    from bench.queueing import Replica
    from bench.sizing import Need

PAGE = KEPT.parent / "scaling.md"
PLOT = KEPT.parent / "images" / "scaling.svg"
SIZES = Sizes()
LOADS = ((1e6, 1e3), (1e6, 1e4), (1e8, 1e3), (1e8, 1e4), (1e8, 1e5), (1e10, 1e5), (1e10, 1e6))
SHARES = (0.01, 0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.1)


def inputs(costs: Costs, queue: Replica, assumed: Assumed) -> str:
    """What goes in: measured, and assumed."""
    bytes_of = records(assumed)
    return markdown(
        ("input", "value", "from"),
        [
            ("CPU of a replica for a firing, in full batches", f"{number(costs.firing_us)} µs", "measured: burst"),
            ("and for a transaction", f"{number(costs.transaction_us)} µs", "measured: spread, less the burst's"),
            ("CPU of the broker for a firing", f"{number(costs.broker_firing_us)} µs", "measured: burst"),
            ("and for a transaction", f"{number(costs.broker_transaction_us)} µs", "measured: spread"),
            (
                "of both for a transaction, where one prepares, before it is due",
                f"{queue.prepared_share:.0%}, at most {queue.ahead_seconds * 1000:g} ms before",
                "assumed",
            ),
            (
                "a transaction until a reader sees it, without the replica's CPU",
                f"{number(queue.latency_seconds * 1000)} ms, tail {number(queue.tail)}",
                "fitted to the lateness measured at 1,000/s",
            ),
            ("restore of a replica", f"{count(costs.restored_per_second)} records/s", "measured: restore"),
            ("CPU for a record that is read", f"{number(costs.restored_us)} µs", "measured: restore"),
            ("memory for a far schedule", f"{number(costs.far_bytes)} B", "measured: restore"),
            (
                "records: schedule, fired, history, tombstone",
                f"{bytes_of.schedule}, {bytes_of.fired}, {bytes_of.history}, {bytes_of.tombstone} B",
                f"computed; payloads of {assumed.payload_bytes} B, keys of {assumed.key_bytes} B, not compressed",
            ),
            (
                "three copies instead of one",
                f"{assumed.copies_cpu:g} times the brokers' CPU, {assumed.copies_latency:g} times the latency",
                "assumed",
            ),
            (
                "a replica's machine",
                f"one core in use, {size(assumed.replica_bytes)}; at most {assumed.busy:.0%} of both",
                "assumed",
            ),
            (
                "a broker's machine",
                (
                    f"{assumed.broker_cores} cores, {assumed.broker_network * 8 / 1e9:g} Gbit/s, "
                    f"{size(assumed.broker_disk)}, {assumed.broker_partitions:,} partitions; at most {assumed.busy:.0%}"
                ),
                "assumed",
            ),
            ("a partition of `__transaction_state`", f"{assumed.coordinator_appends:,} appends/s", "assumed"),
            ("a thread of the log cleaner", f"{size(assumed.cleaner)}/s", "assumed"),
        ],
    )


def agreement(runs: Mapping[str, Measured], costs: Costs, queue: Replica) -> list[tuple[str, float, float]]:
    """What was measured and not fed in, and what the model says of it."""
    fast = f"{SIZES.fast:,}/s spread over milliseconds for {SIZES.fast_seconds} s"
    burst = f"{SIZES.burst:,} due at one instant"
    found = []
    if late := values(runs, "fast", fast, "lateness p50, ms"):
        course = steady(queue, SIZES.fast)
        late99 = values(runs, "fast", fast, "lateness p99, ms")
        found.append((f"{SIZES.fast:,}/s: p50, ms", statistics.median(late), course.percentile(0.5) * 1000))
        found.append((f"{SIZES.fast:,}/s: p99, ms", statistics.median(late99), course.percentile(0.99) * 1000))
    if rates := values(runs, "burst", burst, "fired per second"):
        reader = statistics.median(values(runs, "burst", burst, "CPU of the reader for each, µs"))
        shared = 2e6 / (costs.firing_us + costs.broker_firing_us + reader)
        found.append(("burst on two cores, per second", statistics.median(rates), min(queue.capacity, shared)))
    return found


class Load(NamedTuple):
    """Firings a second, and how late they are: seconds, p50 and p99."""

    rate: float
    here: tuple[float, float]
    """On two cores with the broker."""
    apart: tuple[float, float]
    """With brokers that are never busy."""


def loads(queue: Replica) -> Iterator[Load]:
    """From hardly anything to what one replica can fire, and more."""
    apart = replace(queue, broker_cores=None)
    for share in SHARES:
        rate = share * queue.capacity
        courses = [steady(each, rate) for each in (queue, apart)]
        yield Load(rate, *((course.percentile(0.5), course.percentile(0.99)) for course in courses))


def needs(costs: Costs, queue: Replica, assumed: Assumed, *, sorted_: bool) -> list[Need]:
    """Of every load."""
    return [need(pending, rate, costs, queue, assumed, sorted_=sorted_) for pending, rate in LOADS]


def sized(found: list[Need], others: list[Need]) -> str:
    """The table of sizes; `others` are those of schedules that are written in no order."""
    head = (
        "pending",
        "firings/s",
        "mean delay",
        "replicas (by)",
        "in no order",
        "schedules partitions",
        "memory of each",
        "lateness p50 / p99",
        "transactions/s",
        "brokers (by)",
        "disk, of it history",
    )
    return markdown(
        head,
        (
            (
                count(one.pending),
                count(one.rate),
                seconds(one.delay),
                f"{one.replicas:,} ({one.bound})",
                f"{other.replicas:,}",
                f"{one.partitions:,}",
                size(one.memory),
                f"{one.p50 * 1000:.0f} / {one.p99 * 1000:.0f} ms",
                count(one.transactions),
                f"{one.brokers:,} ({one.brokers_bound})",
                f"{size(one.disk)}, {one.history / one.disk:.0%}",
            )
            for one, other in zip(found, others, strict=True)
        ),
    )


def starts(found: list[Need], costs: Costs) -> str:
    """How long nothing fires."""
    head = ("pending", "firings/s", "replicas", "all start, tombstones of a day", "of an hour", "one is killed")
    rows = (
        (
            count(one.pending),
            count(one.rate),
            f"{one.replicas:,}",
            seconds(one.cold),
            seconds(one.cold_hour),
            seconds(one.gap),
        )
        for one in found
    )
    return markdown(head, rows) + f"\nAt {count(costs.restored_per_second)} records a second and replica.\n"


def tables(runs: Mapping[str, Measured]) -> dict[str, str]:
    """What stands between the marks of the page, by mark."""
    cost, assumed = costs(runs), Assumed()
    queue = cost.replica()
    in_order = needs(cost, queue, assumed, sorted_=True)
    no_order = needs(cost, queue, assumed, sorted_=False)
    compared = [
        (what, number(was), number(said), f"{said / was:.2f}") for what, was, said in agreement(runs, cost, queue)
    ]
    loaded = [
        (f"{share:.0%}", count(load.rate), *(" / ".join(map(seconds, late)) for late in (load.here, load.apart)))
        for share, load in zip(SHARES, loads(queue), strict=True)
    ]
    return {
        "inputs": inputs(cost, queue, assumed),
        "agreement": markdown(("figure", "measured", "by the model", "ratio"), compared),
        "loads": markdown(
            ("load", "firings/s", "p50 / p99, with the broker on two cores", "with brokers apart"), loaded
        ),
        "sizes": sized(in_order, no_order),
        "starts": starts(in_order, cost),
        "limits": limits(cost, queue, assumed),
    }


def page(before: str, runs: Mapping[str, Measured]) -> str:
    """The page with what was computed."""
    for mark, text in tables(runs).items():
        before = between(before, mark, text)
    return before


@click.command()
def main() -> None:
    """Write docs/scaling.md anew from docs/performance.jsonl."""
    from bench.plots import scaling  # noqa: PLC0415 - draws with what only developers have

    runs = kept()
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    cost = costs(runs)
    queue = cost.replica()
    scaling(list(loads(queue)), needs(cost, queue, Assumed(), sorted_=True), runs, PLOT)
    click.echo(f"{PAGE} and {PLOT}")


if __name__ == "__main__":
    main()
