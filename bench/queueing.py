"""A replica as a queue: partitions that each settle what is due in one transaction at a time, and share one core.

Schedules fall due at random. A partition that is idle takes what is due, all of it up to 5,000; it computes while no
other partition does (one interpreter), then it waits for the brokers until readers see the transaction, and looks
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

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BATCH = 5_000
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
    """Median time from the last record until a reader sees the transaction, in which no CPU of the replica is used."""
    tail: float = 0.0
    """Of that time: the standard deviation of its logarithm."""

    @property
    def capacity(self) -> float:
        """Schedules a second that it fires at most: batches are full, the core is busy, or all partitions wait."""
        work = self.firing_seconds + self.transaction_seconds / MAX_BATCH
        turn = MAX_BATCH * work + self.latency_seconds * math.exp(self.tail**2 / 2)
        return min(1 / work, self.partitions * MAX_BATCH / turn)


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
    __slots__ = ("due", "free")

    def __init__(self) -> None:
        self.due: deque[float] = deque()
        self.free = True


def simulate(replica: Replica, rate: float, seconds: float, random: Random) -> Course:
    """So many schedules a second for so long, at random instants in partitions at random."""
    partitions = [_Partition() for _ in range(replica.partitions)]
    waiting: deque[_Partition] = deque()  # for the core
    events: list[tuple[float, int, _Partition, list[float] | None]] = []
    lateness: list[float] = []
    core_free, busy, transactions, serial, counted_from = True, 0.0, 0, 0, seconds * WARM_SHARE
    arrival = random.expovariate(rate)
    while arrival < seconds or events:
        if events and events[0][0] <= arrival:
            now, _, partition, batch = heapq.heappop(events)
            if batch is not None:  # the core is done with it; the brokers are not
                core_free = True
                wait = replica.latency_seconds * math.exp(replica.tail * random.gauss(0, 1))
                serial += 1
                heapq.heappush(events, (now + wait, serial, partition, None))
                lateness += (now + wait - due for due in batch if due > counted_from)
            elif partition.due:
                waiting.append(partition)
            else:
                partition.free = True
        else:
            now = arrival
            partition = partitions[int(random.random() * replica.partitions)]
            partition.due.append(now)
            if partition.free:
                partition.free = False
                waiting.append(partition)
            arrival = now + random.expovariate(rate)
            if arrival >= seconds:
                arrival = math.inf
        if core_free and waiting:
            partition = waiting.popleft()
            batch = [partition.due.popleft() for _ in range(min(MAX_BATCH, len(partition.due)))]
            work = replica.transaction_seconds + len(batch) * replica.firing_seconds
            core_free = False
            busy += work
            transactions += 1
            serial += 1
            heapq.heappush(events, (now + work, serial, partition, batch))
    return Course(sorted(lateness), transactions / seconds, busy / max(seconds, now))


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
