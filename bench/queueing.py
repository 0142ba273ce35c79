"""A replica as a queue: partitions that each settle what is due in one transaction at a time, and share one core.

Schedules fall due at random. A partition that is idle takes what is due, up to `MAX_BATCH`; it computes while no
other partition does (one interpreter), then the brokers do, then it waits until readers see the transaction, and looks
again. So batches grow with the load, and the cost of a transaction is shared by more.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from scheduler.broker.owner import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_SHARE = 0.2
"""Of the simulated time, before it counts."""
CALIBRATION_ROUNDS = 2
CALIBRATION_STEPS = 10
P99 = 2.326
"""Standard deviations of a normal distribution, of which one in a hundred has more."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What it takes to fire."""

    partitions: int
    firing_seconds: float
    """CPU for each schedule in a transaction."""
    transaction_seconds: float
    """CPU for each transaction."""
    latency_seconds: float
    """Median time until a reader sees the transaction, beside what replica and brokers compute."""
    tail: float = 0.0
    """Of that time: the standard deviation of its logarithm."""
    broker_firing_seconds: float = 0.0
    broker_transaction_seconds: float = 0.0
    """CPU of the brokers."""
    broker_cores: int | None = None
    """That they have for this replica; None are enough, so that no transaction waits for one."""

    @property
    def capacity(self) -> float:
        """Schedules a second that it fires at most: batches are full, a core is busy, or all partitions wait."""
        work = self.firing_seconds + self.transaction_seconds / MAX_BATCH
        brokers = self.broker_firing_seconds + self.broker_transaction_seconds / MAX_BATCH
        turn = MAX_BATCH * (work + brokers) + self.latency_seconds * math.exp(self.tail**2 / 2)
        most = min(1 / work, self.partitions * MAX_BATCH / turn)
        return min(most, self.broker_cores / brokers) if self.broker_cores and brokers else most


@dataclass(frozen=True, slots=True)
class Course:
    """What came of it."""

    lateness: list[float]
    """Seconds, in order of size."""
    transactions: float
    """A second."""
    busy: float
    """Share of the time in which the core was."""

    def percentile(self, share: float) -> float:
        """So many of a hundred were not later."""
        return self.lateness[min(len(self.lateness) - 1, math.ceil(share * len(self.lateness)) - 1)]


class _Partition:
    """What is due in it, and in what it is."""

    __slots__ = ("batch", "due", "free")

    def __init__(self) -> None:
        self.due: deque[float] = deque()
        self.batch: list[float] = []
        self.free = True


class _Cores:
    """So many, for one partition after the other; the next thing happens when one is done."""

    def __init__(self, cores: int | None) -> None:
        self.free = math.inf if cores is None else cores
        self.waiting: deque[_Partition] = deque()
        self.busy = 0.0

    def next(self) -> _Partition | None:
        """Whose turn it is."""
        if self.free < 1 or not self.waiting:
            return None
        self.free -= 1
        return self.waiting.popleft()


def simulate(replica: Replica, rate: float, seconds: float, random: Random) -> Course:
    """So many schedules a second for so long, at random instants in partitions at random."""
    partitions = [_Partition() for _ in range(replica.partitions)]
    core, brokers = _Cores(1), _Cores(replica.broker_cores)
    events: list[tuple[float, int, _Cores | None, _Partition]] = []
    lateness: list[float] = []
    transactions, serial, now, counted_from = 0, 0, 0.0, seconds * WARM_SHARE
    arrival = random.expovariate(rate)

    def happens(after: float, where: _Cores | None, partition: _Partition) -> None:
        nonlocal serial
        serial += 1
        heapq.heappush(events, (now + after, serial, where, partition))

    while arrival < math.inf or events:
        if events and events[0][0] <= arrival:
            now, _, done, partition = heapq.heappop(events)
            if done is core:
                core.free += 1
                brokers.waiting.append(partition)
            elif done is brokers:
                brokers.free += 1
                happens(replica.latency_seconds * math.exp(replica.tail * random.gauss(0, 1)), None, partition)
            else:  # readers see it
                lateness += (now - due for due in partition.batch if due > counted_from)
                partition.free = not partition.due
                if partition.due:
                    core.waiting.append(partition)
        else:
            now = arrival
            partition = partitions[int(random.random() * replica.partitions)]
            partition.due.append(now)
            if partition.free:
                partition.free = False
                core.waiting.append(partition)
            arrival = now + random.expovariate(rate)
            if arrival >= seconds:
                arrival = math.inf
        if (given := core.next()) is not None:
            given.batch = [given.due.popleft() for _ in range(min(MAX_BATCH, len(given.due)))]
            work = replica.transaction_seconds + len(given.batch) * replica.firing_seconds
            core.busy += work
            transactions += 1
            happens(work, core, given)
        if (given := brokers.next()) is not None:
            work = replica.broker_transaction_seconds + len(given.batch) * replica.broker_firing_seconds
            happens(work, brokers, given)
    return Course(sorted(lateness), transactions / seconds, core.busy / max(seconds, now))


def calibrated(replica: Replica, rate: float, p50: float, p99: float, seconds: float = 10.0) -> Replica:
    """With the latency and the tail that make the simulated lateness at that rate the measured one."""
    found = replace(replica, latency_seconds=p50 / 2, tail=math.log(max(1.01, p99 / p50)) / P99)
    for _ in range(CALIBRATION_ROUNDS):
        slower = partial(_slower, found)
        found = slower(_fitted(slower, (0.0, p50), rate, (0.5, p50), seconds))
        uneven = partial(_uneven, found)
        found = uneven(_fitted(uneven, (0.0, 3.0), rate, (0.99, p99), seconds))
    return found


def _slower(replica: Replica, seconds: float) -> Replica:
    return replace(replica, latency_seconds=seconds)


def _uneven(replica: Replica, tail: float) -> Replica:
    return replace(replica, tail=tail)


def _fitted(
    changed: Callable[[float], Replica],
    within: tuple[float, float],
    rate: float,
    target: tuple[float, float],
    seconds: float,
) -> float:
    # each step draws the same random numbers, so what is compared differs in this one value alone
    low, high = within
    share, wanted = target
    for _ in range(CALIBRATION_STEPS):
        middle = (low + high) / 2
        if simulate(changed(middle), rate, seconds, Random(1)).percentile(share) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
