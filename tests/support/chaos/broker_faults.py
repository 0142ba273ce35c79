"""Brokers that are killed, stopped in order or frozen, by the role that they have at the time."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from tests.support.chaos.cluster import BROKERS, NotInTimeError, wait_until
from tests.support.chaos.faults import Fault

if TYPE_CHECKING:
    import random  # noqa: TID251 - seeded, and passed in

    from tests.support.chaos.cluster import Cluster

HALT_SECONDS = 20.0
"""For a broker to notice that its disk is full: at the next write."""
ROLES = ("leader", "target leader", "transaction coordinator", "group coordinator")


class _OneBroker(Fault):
    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self._role = dice.choice(ROLES)
        self._broker = 0


class KillBroker(_OneBroker):
    """Briefly enough that nobody has noticed when it comes back, or longer than it takes to be counted out (9 s)."""

    name = "broker killed"
    seconds = (0.5, 12.0)

    def start(self, cluster: Cluster) -> None:
        """`kill -9`."""
        self._broker = self.a_broker(cluster, self._role)
        cluster.kafka.kill(self._broker)

    def heal(self, cluster: Cluster) -> None:
        """It starts with what it had on disk."""
        cluster.kafka.restart(self._broker)


class StopBroker(_OneBroker):
    """As for an upgrade."""

    name = "broker stopped in order"
    seconds = (0.0, 4.0)

    def start(self, cluster: Cluster) -> None:
        """SIGTERM; it hands its partitions over first."""
        self._broker = self.a_broker(cluster, self._role)
        cluster.kafka.end(self._broker)

    def heal(self, cluster: Cluster) -> None:
        """It starts again."""
        cluster.kafka.restart(self._broker)


class RollBrokers(Fault):
    """An upgrade of all three."""

    name = "brokers restarted one after the other"

    def start(self, cluster: Cluster) -> None:
        """The next one goes when the last one is in sync."""
        order = self._dice.sample(BROKERS, len(BROKERS))
        self.target = ", ".join(map(str, order))
        for broker in order:
            cluster.wait_until_in_sync()
            cluster.kafka.end(broker)
            cluster.kafka.restart(broker)


class KillTwoBrokers(Fault):
    """Nothing can be written: nothing fires, and nothing may be wrong afterwards."""

    name = "two of three brokers killed"
    seconds = (5.0, 25.0)
    outage = True

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self._brokers = dice.sample(BROKERS, 2)

    def start(self, cluster: Cluster) -> None:
        """`kill -9`, one right after the other."""
        self.target = "brokers {} and {} for {:.1f} s".format(*self._brokers, self.lasts)
        for broker in self._brokers:
            cluster.kafka.kill(broker)

    def heal(self, cluster: Cluster) -> None:
        """Both start at once."""
        cluster.kafka.restart(*self._brokers)


class FreezeBroker(_OneBroker):
    """Slow, not dead: its connections stay open, and it does what it had begun when it wakes."""

    name = "broker frozen"
    seconds = (4.0, 14.0)

    def start(self, cluster: Cluster) -> None:
        """SIGSTOP."""
        self._broker = self.a_broker(cluster, self._role)
        self.target += f", for {self.lasts:.1f} s"
        cluster.kafka.freeze(self._broker)

    def heal(self, cluster: Cluster) -> None:
        """SIGCONT."""
        cluster.kafka.thaw(self._broker)


class FreezeBrokerLong(FreezeBroker):
    """Longer than most clients wait for an answer."""

    name = "broker frozen for long"
    seconds = (20.0, 40.0)


class FullDisk(_OneBroker):
    """No file of a broker takes another byte: it gives its log directory up, and as it has no other one, itself.

    Done by the limit of file sizes of its process, which fails its writes as a full disk does, needs no right to
    mount anything, and is gone with the process.
    """

    name = "broker's disk full"
    seconds = (2.0, 8.0)

    def start(self, cluster: Cluster) -> None:
        """Lower the limit below what its files have."""
        self._broker = self.a_broker(cluster, self._role)
        pid = cluster.kafka.pids[self._broker]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            wait_until(lambda: self._broker not in cluster.kafka.pids, lambda: "", HALT_SECONDS)
        except NotInTimeError:
            self.target += ", which did not end"

    def heal(self, cluster: Cluster) -> None:
        """It starts again, with room."""
        cluster.kafka.restart(self._broker)
