"""A fault: what it does to a cluster, for how long, and how it is undone. Each says what it has hit.

Faults are drawn with a seeded dice: the kind, its target and its length. A role (the leader of a partition) is
drawn as the role; who has it is found when the fault begins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from confluent_kafka import KafkaException

from tests.support.chaos.cluster import BROKERS, PARTITIONS

if TYPE_CHECKING:
    import random  # noqa: TID251 - seeded, and passed in

    from tests.support.chaos.cluster import Cluster, Member


class NotStruckError(Exception):
    """The fault could not happen this time: who was to stop at a point did not come there."""


class Fault(ABC):
    """One of the kinds. Made for one use."""

    name: ClassVar[str]
    """As in the log and in the table."""
    seconds: ClassVar[tuple[float, float]] = (0.0, 0.0)
    """How long it lasts: the shortest and the longest; after that it is undone."""
    outage: ClassVar[bool] = False
    """Whether nothing can fire while it lasts: then it is recovered from once it is over."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.lasts = dice.uniform(*self.seconds)
        self.target = ""
        """What it has hit, in words; known once it has begun."""

    @abstractmethod
    def start(self, cluster: Cluster) -> None:
        """Let it happen.

        Raises:
            NotStruckError: it could not.
        """

    def heal(self, cluster: Cluster) -> None:  # noqa: B027 - some need nothing
        """Undo it; what it has broken mends itself from here on."""

    def a_replica(self, cluster: Cluster) -> Member:
        """One that fires."""
        owners = [member for member in cluster.fleet.running if member.replica.partitions()]
        if not owners:
            raise NotStruckError("no replica fires")
        return self._dice.choice(owners)

    def a_broker(self, cluster: Cluster, role: str) -> int:
        """The broker that has the role now: leader, transaction coordinator, group coordinator, target leader."""
        partition = self._dice.randrange(PARTITIONS)
        try:
            broker, of = self._who(cluster, role, partition)
        except KafkaException as error:
            raise NotStruckError(f"nobody says who is {role}: {error.args[0].str()}") from error
        if broker not in BROKERS:
            raise NotStruckError(f"there is no {role} of {of}")
        self.target = f"broker {broker}, {role} of {of}"
        return broker

    def _who(self, cluster: Cluster, role: str, partition: int) -> tuple[int, str]:
        roles, names = cluster.roles, cluster.names
        if role == "leader":
            return roles.leader(names.schedules, partition), f"{names.schedules}/{partition}"
        if role == "target leader":
            return roles.leader(names.targets[0], 0), f"{names.targets[0]}/0"
        if role == "transaction coordinator":
            transactional_id = names.transactional_id(partition)
            return roles.transaction_coordinator(transactional_id), transactional_id
        return roles.group_coordinator(names.group), names.group
