"""What a network does: it cuts off one replica, in one direction, from one broker; it is slow; it loses an EndTxn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.proxy import Api
from tests.support.chaos.broker_faults import ROLES
from tests.support.chaos.cluster import clock, never
from tests.support.chaos.faults import Fault

if TYPE_CHECKING:
    import random  # noqa: TID251 - seeded, and passed in

    from dev.proxy import Proxy
    from tests.support.chaos.cluster import Cluster

TO, FROM = "to the brokers", "from the brokers"
WAYS = ("both ways", TO, FROM)


class CutOffReplica(Fault):
    """From all brokers: for it they are silent, for the others it is."""

    name = "replica cut off from all brokers"
    seconds = (3.0, 12.0)

    def start(self, cluster: Cluster) -> None:
        """Nothing of its clients gets through; connections stay."""
        self.member = self.a_replica(cluster)
        way = self._dice.choice(WAYS)
        self.target = f"{self.member.name}, {way}, for {self.lasts:.1f} s"
        for proxy in cluster.kafka.proxies.values():
            proxy.hold(client=self.member.replica.client, to_broker=way != FROM, to_client=way != TO)

    def heal(self, cluster: Cluster) -> None:
        """What was held comes first."""
        for proxy in cluster.kafka.proxies.values():
            proxy.release(client=self.member.replica.client)


class CutOffFromBroker(Fault):
    """A replica and the broker that has a role; both are well otherwise."""

    name = "replica cut off from a broker"
    seconds = (3.0, 12.0)

    def start(self, cluster: Cluster) -> None:
        """The others reach that broker, and it reaches the others."""
        self.member = self.a_replica(cluster)
        broker = self.a_broker(cluster, self._dice.choice(ROLES))
        self.target = f"{self.member.name} from {self.target}, for {self.lasts:.1f} s"
        self._proxy = cluster.kafka.proxies[broker]
        self._proxy.hold(client=self.member.replica.client)

    def heal(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """What was held comes first."""
        self._proxy.release(client=self.member.replica.client)


class SlowNetwork(Fault):
    """Every request of every client is late."""

    name = "slow network"
    seconds = (4.0, 10.0)

    def start(self, cluster: Cluster) -> None:
        """By up to two seconds."""
        delay = self._dice.choice((0.2, 0.5, 2.0))
        self.target = f"{delay:g} s for {self.lasts:.1f} s"
        for proxy in cluster.kafka.proxies.values():
            proxy.weather.delay_seconds = delay

    def heal(self, cluster: Cluster) -> None:
        """As fast as before."""
        for proxy in cluster.kafka.proxies.values():
            proxy.weather.delay_seconds = 0.0


class Resets(Fault):
    """Every connection, again and again."""

    name = "connections reset"
    storm_seconds = (2.0, 6.0)
    pause_seconds = (0.05, 0.6)

    def start(self, cluster: Cluster) -> None:
        """One broker's, or all brokers'."""
        proxies = list(cluster.kafka.proxies.values())
        if self._dice.random() < 1 / 2:
            proxies = [self._dice.choice(proxies)]
        ends = clock.monotonic() + self._dice.uniform(*self.storm_seconds)
        times = 0
        while clock.monotonic() < ends:
            for proxy in proxies:
                proxy.cut()
            times += 1
            clock.wait(never, self._dice.uniform(*self.pause_seconds))
        self.target = f"{times} times, of {len(proxies)} brokers"


class _EndTxn(Fault):
    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self._proxy: Proxy

    def start(self, cluster: Cluster) -> None:
        """Find who decides the transactions of a partition."""
        self._proxy = cluster.kafka.proxies[self.a_broker(cluster, "transaction coordinator")]


class LateEndTxn(_EndTxn):
    """The client gives up and begins anew; what it had sent reaches the broker after that, and must decide nothing."""

    name = "EndTxn late"
    seconds = (3.0, 10.0)

    def start(self, cluster: Cluster) -> None:
        """Hold such requests up, and reset the client's side of the connections meanwhile."""
        super().start(cluster)
        self.target += f", by {self.lasts:.1f} s"
        self._proxy.weather.delay_by_api[Api.END_TXN] = self.lasts
        clock.wait(never, min(1.0, self.lasts / 2))
        self._proxy.cut(to_broker=False)

    def heal(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """Those to come are in time."""
        del self._proxy.weather.delay_by_api[Api.END_TXN]


class LostAnswer(_EndTxn):
    """The transaction is decided, and its owner is not told."""

    name = "answer to EndTxn lost"
    seconds = (0.5, 4.0)

    def start(self, cluster: Cluster) -> None:
        """Hold the answers, then reset the connections."""
        super().start(cluster)
        self._proxy.hold(to_broker=False, apis=[Api.END_TXN])

    def heal(self, cluster: Cluster) -> None:  # noqa: ARG002 - one of a family
        """What was held is lost."""
        self._proxy.cut()
        self._proxy.release(client="")
