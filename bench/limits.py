"""What breaks first as an installation grows, at which size, and what to do then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.amounts import count, seconds
from bench.report import markdown
from bench.sizing import APPENDS, RETENTION_MS, TOMBSTONES_MS, records, reread
from scheduler.broker.bodies import AHEAD_MS, LOOK_SECONDS
from scheduler.broker.collector import JUMP
from scheduler.topics import schedules_topic

if TYPE_CHECKING:
    from bench.queueing import Replica
    from bench.sizing import Assumed, Costs

SECONDS = 60.0
"""A start that nobody minds."""
DIRTY = float(schedules_topic("").config["min.cleanable.dirty.ratio"])
"""The cleaner reads what was written, and up to so much that it has cleaned before: ten times that."""


def limits(costs: Costs, queue: Replica, assumed: Assumed) -> str:
    """What breaks, at which size, and what to do then."""
    bytes_of = records(assumed)
    room = assumed.replica_bytes * assumed.busy - costs.empty_bytes
    within = SECONDS * costs.restored_per_second
    jumping = JUMP * LOOK_SECONDS
    dear = assumed.busy * 1e6 / (reread(jumping) * costs.restored_us)
    even = LOOK_SECONDS * costs.firing_us / costs.restored_us
    alone = costs.broker_firing_us + costs.broker_transaction_us
    broker = assumed.broker_cores * assumed.busy * 1e6 / assumed.copies_cpu
    disks = 3 * assumed.broker_disk * assumed.busy / assumed.copies
    cleaned = assumed.cleaner / ((bytes_of.schedule + bytes_of.tombstone) * (1 + 1 / DIRTY))
    rows = [
        (
            "restore: tombstones",
            f"{count(within / (TOMBSTONES_MS / 1000))} firings/s and replica: a day's take {SECONDS:.0f} s to read",
            (
                "`delete.retention.ms` of an hour on the schedules topic (a restore and the age of a snapshot must stay"
                " well below it); snapshots; more replicas"
            ),
        ),
        (
            "restore: what is pending",
            f"{count(within)} pending for each replica: {SECONDS:.0f} s",
            "more replicas and partitions; snapshots",
        ),
        (
            "log cleaner",
            f"{count(cleaned)} firings/s on each broker for one thread",
            "`log.cleaner.threads`; a greater `min.cleanable.dirty.ratio`; more brokers",
        ),
        (
            "reading again, of schedules written in no order of due times",
            (
                f"a mean delay of {seconds(even)}: it costs a firing as much as the firing; of {seconds(jumping)}:"
                f" {count(dear)} firings/s and replica"
            ),
            (
                "a schedules topic for each class of delays, so that the order of writing is about that of due times;"
                " more replicas"
            ),
        ),
        (
            "disk, by the history",
            f"{count(disks / (RETENTION_MS / 1000 * bytes_of.history))} firings/s: 30 days fill half of three brokers",
            "a shorter `retention.ms` of the history; tiered storage",
        ),
        (
            "memory, of what is due within two minutes",
            f"{count(room / (AHEAD_MS / 1000 * (assumed.near_bytes + assumed.payload_bytes)))} firings/s and replica",
            "more replicas; smaller payloads, which name what they are about",
        ),
        ("memory, of far schedules", f"{count(room / costs.far_bytes)} pending for each replica", "more replicas"),
        (
            "CPU of a replica",
            f"{count(queue.capacity)} firings/s; half of it to be safe",
            "more replicas: they share nothing but the brokers",
        ),
        (
            "CPU of the brokers",
            (
                f"{count(broker / costs.broker_firing_us)} firings/s for each broker in full batches,"
                f" {count(broker / alone)} where each has a transaction of its own"
            ),
            "fewer schedules partitions, so that batches are fuller; more brokers",
        ),
        (
            "`__transaction_state`",
            (
                f"{count(assumed.coordinators * assumed.coordinator_appends / APPENDS)} transactions/s with"
                f" {assumed.coordinators} partitions"
            ),
            "`transaction.state.log.num.partitions`, before its first use; fewer schedules partitions",
        ),
        (
            "partitions of one cluster",
            (
                f"{count(assumed.broker_partitions / assumed.copies / 3)} schedules partitions for each broker, with as"
                " many of target and history"
            ),
            "installations side by side, each with its own topics, group and brokers: customers are hashed to one",
        ),
    ]
    return markdown(("what", "from where on", "then"), rows)
