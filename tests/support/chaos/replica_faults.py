"""Replicas that are killed, freeze and wake again, come and go, or go by a wrong clock."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from tests.support.chaos.cluster import NotInTimeError, clock, never, wait_until
from tests.support.chaos.faults import Fault
from tests.support.failing_replica import Point

if TYPE_CHECKING:
    import random  # noqa: TID251 - seeded, and passed in

    from tests.support.chaos.cluster import Cluster, Member

REPLICAS = 3
"""Between the faults."""
POINT_SECONDS = 10.0
"""For a replica that fires to come to a point of a transaction."""


class KillReplica(Fault):
    """At any moment."""

    name = "replica killed"
    seconds = (0.0, 2.0)

    def start(self, cluster: Cluster) -> None:
        """`kill -9`."""
        member = self.a_replica(cluster)
        self.target = member.name
        cluster.fleet.kill(member)

    def heal(self, cluster: Cluster) -> None:
        """Another one takes its place."""
        cluster.fleet.start()


class _AtPoint(Fault):
    """A replica stops by its own hand at a point of a firing transaction."""

    action: ClassVar[str]

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self._point = dice.choice(list(Point))
        self.member: Member

    def start(self, cluster: Cluster) -> None:
        """Give the order, and wait until it has come to pass; a replica that does not get there is stopped anyway."""
        self.member = self.a_replica(cluster)
        self.target = f"{self.member.name} at {self._point}"
        self.expect(cluster)
        self.member.order(failpoint=self._point, action=self.action)
        try:
            wait_until(self.has_stopped, lambda: "", POINT_SECONDS)
        except NotInTimeError:
            self.target = f"{self.member.name}, which did not come to {self._point}"
            self.stop(cluster)

    @abstractmethod
    def expect(self, cluster: Cluster) -> None:
        """Note beforehand what will become of it."""

    @abstractmethod
    def has_stopped(self) -> bool:
        """Whether the order has come to pass."""

    @abstractmethod
    def stop(self, cluster: Cluster) -> None:
        """Stop it from outside."""


class KillInTransaction(_AtPoint):
    """Between two calls of the client."""

    name = "replica killed in a transaction"
    seconds = (0.0, 2.0)
    action = "kill"

    def expect(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """It will be gone."""
        self.member.condemned = True

    def has_stopped(self) -> bool:
        """It is gone."""
        return not self.member.replica.runs

    def stop(self, cluster: Cluster) -> None:
        """`kill -9`."""
        cluster.fleet.kill(self.member)

    def heal(self, cluster: Cluster) -> None:
        """Another one takes its place."""
        cluster.fleet.start()


class FreezeInTransaction(_AtPoint):
    """It wakes when its partitions are another's, and does not know."""

    name = "replica frozen in a transaction, woken after the takeover"
    seconds = (7.5, 11.0)
    action = "freeze"

    def expect(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """It will stand still."""
        self.member.frozen = True

    def has_stopped(self) -> bool:
        """The system says so."""
        return self.member.replica.frozen

    def stop(self, cluster: Cluster) -> None:
        """SIGSTOP."""
        cluster.fleet.freeze(self.member)

    def heal(self, cluster: Cluster) -> None:
        """It goes on in the middle of its transaction."""
        cluster.fleet.thaw(self.member)


class FreezeLong(FreezeInTransaction):
    """Kafka has given its transaction up by then as well."""

    name = "replica frozen in a transaction, woken after the transaction's timeout"
    seconds = (17.0, 20.0)


class FreezeReplica(Fault):
    """Anywhere, for less than a session or longer."""

    name = "replica frozen"
    seconds = (1.0, 10.0)

    def start(self, cluster: Cluster) -> None:
        """SIGSTOP."""
        self.member = self.a_replica(cluster)
        self.target = f"{self.member.name} for {self.lasts:.1f} s"
        cluster.fleet.freeze(self.member)

    def heal(self, cluster: Cluster) -> None:
        """SIGCONT."""
        cluster.fleet.thaw(self.member)


class Storm(Fault):
    """Replicas come and go faster than partitions can settle; some leave in order, some are killed."""

    name = "rebalance storm"
    sizes: ClassVar[tuple[int, ...]] = (5, 1, 4, REPLICAS)
    pause_seconds: ClassVar[tuple[float, float]] = (1.5, 3.5)

    def start(self, cluster: Cluster) -> None:
        """All of it, one after the other."""
        self.target = " -> ".join(map(str, (REPLICAS, *self.sizes)))
        fleet = cluster.fleet
        for size in self.sizes:
            while len(fleet.running) > size:
                leaves = self._dice.choice(fleet.running)
                if self._dice.random() < 1 / 3:
                    fleet.kill(leaves)
                else:
                    fleet.leave(leaves)
            while len(fleet.running) < size:
                fleet.start()
            clock.wait(never, self._dice.uniform(*self.pause_seconds))


class LongStorm(Storm):
    """For minutes."""

    name = "long rebalance storm"
    sizes = (8, 1, 5, 2, 8, 1, 5, REPLICAS)
    pause_seconds = (5.0, 10.0)


class KillAllReplicas(Fault):
    """Whoever starts restores while customers write."""

    name = "all replicas killed"
    seconds = (0.0, 4.0)
    outage = True

    def start(self, cluster: Cluster) -> None:
        """`kill -9` of each."""
        running = cluster.fleet.running
        self.target = ", ".join(member.name for member in running)
        for member in running:
            cluster.fleet.kill(member)

    def heal(self, cluster: Cluster) -> None:
        """New ones."""
        for _ in range(REPLICAS):
            cluster.fleet.start()


class ClockBehind(Fault):
    """The wall clock of a replica steps back: what it has fires late, and once."""

    name = "replica's clock steps back"
    seconds = (2.0, 6.0)
    outage = True

    def start(self, cluster: Cluster) -> None:
        """By seconds or by an hour."""
        self.member = self.a_replica(cluster)
        behind_ms = self._dice.choice((1_000, 10_000, 3_600_000))
        self.target = f"{self.member.name} by {behind_ms / 1000:g} s"
        self.member.order(ahead_ms=-behind_ms)

    def heal(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """It jumps forward to the right time."""
        if self.member.replica.runs:
            self.member.order(ahead_ms=0)
