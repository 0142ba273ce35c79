"""A replica as a queue: partitions that each settle what is due in one transaction at a time, and share one core.

Schedules fall due at random. A partition that is idle takes what is due, up to `MAX_BATCH`; it computes while no
other partition does (one interpreter), then the brokers do, then it waits until readers see the transaction, and looks
again. So batches grow with the load, and the cost of a transaction is shared by more. Where nothing is due yet it
prepares the next one, shortly before that is: a part of the computing is done by then.
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
    prepared_share: float = 0.0
    """Of the CPU for a transaction, here and at the brokers: what is done before the schedule is due, where one
    prepares. That for the schedule itself is, here; the brokers get its records when it is due."""
    ahead_seconds: float = 0.0
    """How long before it is due one may prepare."""
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
    """What is due in it before long, and in what it is."""

    __slots__ = ("batch", "due", "free", "prepares", "was_prepared")

    def __init__(self) -> None:
        self.due: deque[float] = deque()
        self.batch: list[float] = []
        self.free = True
        self.prepares = False
        """Whether its batch is not due yet."""
        self.was_prepared = False
        """Whether its transaction was, when it was begun."""


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


class _Simulation:
    """What happens, in order of time."""

    def __init__(self, replica: Replica, random: Random, counted_from: float) -> None:
        self._replica = replica
        self._random = random
        self._counted_from = counted_from
        self._events: list[tuple[float, int, Callable[[_Partition], None], _Partition]] = []
        self._serial = 0
        self._brokers = _Cores(replica.broker_cores)
        self.core = _Cores(1)
        self.now = -replica.ahead_seconds
        self.transactions = 0
        self.lateness: list[float] = []

    @property
    def next_at(self) -> float:
        """When something happens; infinity is never."""
        return self._events[0][0] if self._events else math.inf

    def go_on(self) -> None:
        """Let that happen."""
        self.now, _, what, partition = heapq.heappop(self._events)
        what(partition)

    def schedule(self, now: float, due: float, partition: _Partition) -> None:
        """It is due before long, or at once."""
        self.now = now
        partition.due.append(due)
        if partition.free:
            self._looks(partition)

    def work(self) -> None:
        """Give whoever waits for a core that is free his turn."""
        replica = self._replica
        if (given := self.core.next()) is not None:
            work = 0.0 if given.batch else self._begin(given)
            work += self._share(given) * replica.transaction_seconds
            self.core.busy += work
            self._happens(self.now + work, self._computed, given)
        if (given := self._brokers.next()) is not None:
            work = self._share(given) * replica.broker_transaction_seconds
            if not given.prepares:
                work += len(given.batch) * replica.broker_firing_seconds
            self._happens(self.now + work, self._written, given)

    def _begin(self, partition: _Partition) -> float:
        """With all that is due, or the first that will be; what its schedules cost."""
        due = partition.due
        partition.prepares = partition.was_prepared = due[0] > self.now
        partition.batch = [due.popleft()]
        while due and due[0] <= self.now and len(partition.batch) < MAX_BATCH:
            partition.batch.append(due.popleft())
        self.transactions += 1
        return len(partition.batch) * self._replica.firing_seconds

    def _share(self, partition: _Partition) -> float:
        """Of the CPU for its transaction, what is to be done now."""
        if partition.prepares:
            return self._replica.prepared_share
        return 1 - self._replica.prepared_share if partition.was_prepared else 1.0

    def _happens(self, at: float, what: Callable[[_Partition], None], partition: _Partition) -> None:
        self._serial += 1
        heapq.heappush(self._events, (at, self._serial, what, partition))

    def _looks(self, partition: _Partition) -> None:
        partition.free = not partition.due
        if partition.due:
            self.core.waiting.append(partition)

    def _computed(self, partition: _Partition) -> None:
        self.core.free += 1
        self._brokers.waiting.append(partition)

    def _written(self, partition: _Partition) -> None:
        self._brokers.free += 1
        if partition.prepares:
            self._happens(max(self.now, partition.batch[0]), self._falls_due, partition)
        else:
            unseen = self._replica.latency_seconds * math.exp(self._replica.tail * self._random.gauss(0, 1))
            self._happens(self.now + unseen, self._seen, partition)

    def _falls_due(self, partition: _Partition) -> None:
        partition.prepares = False
        self.core.waiting.append(partition)

    def _seen(self, partition: _Partition) -> None:
        self.lateness.extend(self.now - due for due in partition.batch if due > self._counted_from)
        partition.batch = []
        self._looks(partition)


def simulate(replica: Replica, rate: float, seconds: float, random: Random) -> Course:
    """So many schedules a second for so long, at random instants in partitions at random."""
    partitions = [_Partition() for _ in range(replica.partitions)]
    simulation = _Simulation(replica, random, seconds * WARM_SHARE)
    due = random.expovariate(rate)
    while (next_at := simulation.next_at) < math.inf or due < math.inf:
        if next_at <= due - replica.ahead_seconds:
            simulation.go_on()
        else:
            simulation.schedule(due - replica.ahead_seconds, due, partitions[int(random.random() * replica.partitions)])
            due += random.expovariate(rate)
            if due >= seconds:
                due = math.inf
        simulation.work()
    busy = simulation.core.busy / max(seconds, simulation.now)
    return Course(sorted(simulation.lateness), simulation.transactions / seconds, busy)


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
