"""What an installation of some size needs, by what one firing, one pending schedule and one restored record cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from bench.figures import median
from bench.queueing import Replica, calibrated, simulate
from bench.scenarios import Sizes
from scheduler import wire
from scheduler.broker.bodies import AHEAD_MS, LOOK_SECONDS
from scheduler.broker.collector import JUMP
from scheduler.broker.publisher import AHEAD_MS as PREPARED_AHEAD_MS
from scheduler.schedule import Outcome, Schedule
from scheduler.topics import HOUR_MS, history_topic, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.figures import Measured
    from bench.queueing import Course

SIZES = Sizes()
TARGET, TOPIC = "online-videos", "schedules"
RECORD_BYTES = 12
"""Lengths, deltas and attributes of a record in a batch; with few records in a batch, its head of 61 bytes too."""
HEADER_BYTES = 2
APPENDS = 4
"""Of a transaction to `__transaction_state`: begun, its partitions, prepared, over."""
SIMULATED = 30_000
"""Schedules in a simulation: 240 of those that count are later than the p99."""
TURNS = 300
"""Transactions of each partition, one after the other, that a simulation lasts at least."""
PREPARED_SHARE = 0.5
"""Of what a transaction costs, before it is due: its partitions are made known. It was not measured by itself."""
SESSION_SECONDS = 6.0
JOIN_SECONDS = 1.5
"""Until the group has settled and the fences are up."""
RETENTION_MS = int(history_topic("").config["retention.ms"])
TOMBSTONES_MS = int(schedules_topic("").config["delete.retention.ms"])


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one replica with eight partitions beside its broker, as measured."""

    firing_us: float
    broker_firing_us: float
    replica_each_us: float
    """At 1,000/s: mostly that of a transaction."""
    broker_each_us: float
    p50_ms: float
    p99_ms: float
    restored_per_second: float
    restored_us: float
    far_bytes: float
    empty_bytes: float

    @property
    def transaction_us(self) -> float:
        """Of the replica: at 1,000/s nearly every firing has a transaction of its own."""
        return max(0.0, self.replica_each_us - self.firing_us)

    @property
    def broker_transaction_us(self) -> float:
        """Of the broker."""
        return max(0.0, self.broker_each_us - self.broker_firing_us)

    def replica(self) -> Replica:
        """As a queue, on a machine of two cores with its broker.

        Its latency is the one with which 1,000/s are as late as measured.
        """
        queue = Replica(
            8,
            self.firing_us / 1e6,
            self.transaction_us / 1e6,
            0.0,
            broker_firing_seconds=self.broker_firing_us / 1e6,
            broker_transaction_seconds=self.broker_transaction_us / 1e6,
            prepared_share=PREPARED_SHARE,
            ahead_seconds=PREPARED_AHEAD_MS / 1000,
            broker_cores=1,
        )
        return calibrated(queue, 1_000, self.p50_ms / 1000, self.p99_ms / 1000)


def costs(runs: Mapping[str, Measured]) -> Costs:
    """From what was kept of `make bench`.

    Raises:
        SystemExit: a scenario that is needed was not kept.
    """
    burst = f"{SIZES.burst:,} due at one instant"
    spread = f"1,000/s spread over milliseconds for {SIZES.seconds} s"
    restore = f"{SIZES.pending:,} pending of 100 bytes"
    return Costs(
        median(runs, "burst", burst, "CPU of the replica for each, µs"),
        median(runs, "burst", burst, "CPU of the broker for each, µs"),
        median(runs, "spread", spread, "CPU for each, µs"),
        median(runs, "spread", spread, "cores: our broker") / 1_000 * 1e6,
        median(runs, "spread", spread, "lateness p50, ms"),
        median(runs, "spread", spread, "lateness p99, ms"),
        SIZES.pending / median(runs, "restore", restore, "restored in, s"),
        median(runs, "restore", restore, "CPU of the replica for each, µs"),
        median(runs, "restore", restore, "memory for each, bytes"),
        median(runs, "restore", restore, "resident while empty, MB") * 1e6,
    )


@dataclass(frozen=True, slots=True)
class Assumed:
    """What was not measured here; change it to yours."""

    payload_bytes: int = 500
    key_bytes: int = 36
    copies: int = 3
    copies_cpu: float = 1.8
    """A record with its copies costs the brokers this many times the CPU of one without."""
    copies_latency: float = 2.0
    """And a transaction takes this many times as long."""
    busy: float = 0.5
    """Of a core, a network and a disk, so that a replica or a broker may be lost."""
    replica_bytes: float = 16e9
    near_bytes: int = 1_000
    """Of a schedule that is due before long, in memory, beside its payload."""
    broker_cores: int = 16
    broker_network: float = 1.25e9
    """Bytes a second each way: 10 Gbit."""
    broker_disk: float = 10e12
    broker_partitions: int = 4_000
    """With their copies, on a broker."""
    coordinator_appends: int = 2_000
    """A second, of one partition of `__transaction_state`."""
    coordinators: int = 50
    """Its partitions, Kafka's default."""
    cleaner: float = 50e6
    """Bytes a second that one thread of the log cleaner reads."""


@dataclass(frozen=True, slots=True)
class Records:
    """Bytes of each record in the log."""

    schedule: int
    fired: int
    history: int
    tombstone: int

    @property
    def all(self) -> int:
        """Of one schedule from its writing to its end."""
        return self.schedule + self.fired + self.history + self.tombstone


def records(assumed: Assumed) -> Records:
    """As the product writes them."""
    key, payload = b"k" * assumed.key_bytes, assumed.payload_bytes
    stated = wire.schedule_headers(TARGET, due_ms=1_893_456_000_250, target_key=key)
    of_it = [(name, value) for name, value in stated if name in wire.STATED and name != wire.EPOCH]
    one = Schedule(key, b"", 1_893_456_000_250, TARGET, key, None, [], of_it, 1_893_456_000_000, 1)
    said = wire.said_of(one, TOPIC.encode(), one.due_ms)
    told = wire.history_headers(one, said, Outcome.FIRED, lateness_ms=3)

    def size(headers: object, value: int) -> int:
        pairs = dict(headers).items()  # type: ignore[call-overload]
        return (
            RECORD_BYTES
            + len(key)
            + value
            + sum(HEADER_BYTES + len(name) + len(content or b"") for name, content in pairs)
        )

    return Records(
        size(stated, payload),
        size(wire.fired_headers(one, said), payload),
        size(told, payload),
        size(wire.tombstone_headers(123_456_789, Outcome.FIRED), 0),
    )


@dataclass(frozen=True, slots=True)
class Need:
    """Of an installation."""

    pending: float
    rate: float
    replicas: int
    bound: str
    """What asks for so many replicas."""
    partitions: int
    memory: float
    """Of a replica, bytes."""
    p50: float
    p99: float
    transactions: float
    """A second, of all."""
    cold: float
    """Seconds until everything is restored, where all replicas start."""
    cold_hour: float
    """With tombstones kept for an hour instead of a day."""
    gap: float
    """Seconds without firings in the partitions of a replica that was killed, with tombstones of an hour."""
    brokers: int
    brokers_bound: str
    disk: float
    """Of all brokers, bytes."""
    history: float
    """Of these, for the history."""
    coordinators: int
    """Partitions that `__transaction_state` needs."""

    @property
    def delay(self) -> float:
        """Seconds from its writing until it is due, on average: what is pending is rate times delay."""
        return self.pending / self.rate


def steady(queue: Replica, rate: float) -> Course:
    """A replica under that load for long enough."""
    seconds = max(SIMULATED / rate, TURNS * queue.latency_seconds)
    return simulate(queue, rate, seconds, Random(1))


def reread(delay: float, window: float = LOOK_SECONDS) -> float:
    """Records read again for each firing, where the order of writing has nothing to do with the order of due times."""
    return min(float(JUMP), max(1.0, delay / window))


def need(pending: float, rate: float, costs: Costs, queue: Replica, assumed: Assumed, *, sorted_: bool) -> Need:
    """What so many pending schedules and so many firings a second ask for.

    Args:
        pending: schedules.
        rate: firings a second, and as many are written.
        costs: measured.
        queue: the replica of these costs.
        assumed: the rest.
        sorted_: whether schedules are written about in the order in which they are due.
    """
    delay = pending / rate
    again = 1.0 if sorted_ else reread(delay)
    # each is read when it is written, and where it was not due before long, again
    read_us = costs.restored_us * (1 + (again if delay * 1000 > AHEAD_MS else 0))
    by_cpu = rate * (costs.firing_us + read_us) / 1e6 / assumed.busy
    near = min(pending, rate * AHEAD_MS / 1000) * (assumed.near_bytes + assumed.payload_bytes)
    by_memory = (pending * costs.far_bytes + near) / (assumed.replica_bytes * assumed.busy - costs.empty_bytes)
    replicas = 1 + max(1, math.ceil(max(by_cpu, by_memory)))
    partitions = 2 ** math.ceil(math.log2(8 * (replicas - 1)))
    left = 1 - rate / replicas * read_us / 1e6  # of the core, for firing
    share = replace(
        queue,
        partitions=max(1, round(partitions / replicas)),
        latency_seconds=queue.latency_seconds * assumed.copies_latency,
        firing_seconds=queue.firing_seconds / left,
        transaction_seconds=queue.transaction_seconds / left,
        broker_cores=None,
    )
    course = steady(share, rate / replicas)
    transactions = course.transactions * replicas
    bytes_of = records(assumed)
    history = assumed.copies * rate * RETENTION_MS / 1000 * bytes_of.history
    disk = history + assumed.copies * (pending * bytes_of.schedule + rate * TOMBSTONES_MS / 1000 * bytes_of.tombstone)
    brokers, brokers_bound = _brokers(rate, transactions, partitions, disk, costs, assumed)
    read = {ms: pending + rate * ms / 1000 for ms in (TOMBSTONES_MS, HOUR_MS)}
    lost = math.ceil(partitions / replicas / (replicas - 1))
    return Need(
        pending,
        rate,
        replicas,
        "CPU" if by_cpu >= by_memory else "memory",
        partitions,
        costs.empty_bytes + (pending * costs.far_bytes + near) / (replicas - 1),
        course.percentile(0.5),
        course.percentile(0.99),
        transactions,
        read[TOMBSTONES_MS] / replicas / costs.restored_per_second,
        read[HOUR_MS] / replicas / costs.restored_per_second,
        SESSION_SECONDS + JOIN_SECONDS + lost * read[HOUR_MS] / partitions / costs.restored_per_second,
        brokers,
        brokers_bound,
        disk,
        history,
        max(1, math.ceil(APPENDS * transactions / assumed.coordinator_appends)),
    )


def _brokers(
    rate: float, transactions: float, partitions: int, disk: float, costs: Costs, assumed: Assumed
) -> tuple[int, str]:
    cpu = (rate * costs.broker_firing_us + transactions * costs.broker_transaction_us) / 1e6 * assumed.copies_cpu
    traffic = rate * records(assumed).all * assumed.copies
    asked = {
        "three copies": assumed.copies,
        "CPU": cpu / assumed.broker_cores / assumed.busy,
        "network": traffic / assumed.broker_network / assumed.busy,
        "disk": disk / assumed.broker_disk / assumed.busy,
        "partitions": 3 * partitions * assumed.copies / assumed.broker_partitions,
    }
    bound = max(asked, key=lambda name: asked[name])
    return math.ceil(asked[bound]), bound
