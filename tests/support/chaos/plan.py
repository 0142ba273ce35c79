"""Which faults a run has, in which order: drawn from its seed."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any run can be repeated
from typing import TYPE_CHECKING

from tests.support.chaos.broker_faults import (
    FreezeBroker,
    FreezeBrokerLong,
    FullDisk,
    KillBroker,
    KillTwoBrokers,
    RollBrokers,
    StopBroker,
)
from tests.support.chaos.faults import Fault, NotStruckError
from tests.support.chaos.network_faults import (
    CutOffFromBroker,
    CutOffReplica,
    LateEndTxn,
    LostAnswer,
    Resets,
    SlowNetwork,
)
from tests.support.chaos.replica_faults import (
    ClockBehind,
    FreezeInTransaction,
    FreezeLong,
    FreezeReplica,
    KillAllReplicas,
    KillInTransaction,
    KillReplica,
    LongStorm,
    Storm,
)
from tests.support.chaos.target_faults import SmallTarget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.chaos.cluster import Cluster

Kind = type[Fault]

QUICK: Sequence[Kind] = (
    KillReplica,
    KillInTransaction,
    FreezeInTransaction,
    KillBroker,
    StopBroker,
    FreezeBroker,
    Storm,
    CutOffReplica,
    LateEndTxn,
)
"""Of a short run; one more is drawn from the others."""
SHORT: Sequence[Kind] = (
    FreezeReplica,
    KillAllReplicas,
    ClockBehind,
    CutOffFromBroker,
    SlowNetwork,
    Resets,
    LostAnswer,
    SmallTarget,
)
LONG: Sequence[Kind] = (FreezeLong, RollBrokers, KillTwoBrokers, FreezeBrokerLong, LongStorm, FullDisk)
ALL: Sequence[Kind] = (*QUICK, *SHORT, *LONG)

SCENARIOS: dict[str, Sequence[Kind]] = {
    "kill": (KillInTransaction, KillReplica),
    "zombie": (FreezeInTransaction,),
    "broker": (KillBroker,),
    "storm": (Storm,),
}
"""The four that a guarantee stands and falls with; each is short, to be repeated."""

TOGETHER = 0.3
"""How many of a long run's faults of a broker or the network have a replica's beside them."""
OF_REPLICAS: Sequence[Kind] = (KillReplica, KillInTransaction, FreezeInTransaction, FreezeReplica)
BESIDE: Sequence[Kind] = (KillBroker, StopBroker, FreezeBroker, LateEndTxn, LostAnswer, SlowNetwork, Resets)


class Together(Fault):
    """Two at a time."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = faults
        self._struck: list[Fault] = []
        self.name = " + ".join(fault.name for fault in faults)  # type: ignore[misc]  # of this pair
        self.lasts = max(fault.lasts for fault in faults)
        self.target = ""

    def start(self, cluster: Cluster) -> None:
        """One after the other, without a pause; the second one may find nothing to strike any more."""
        for fault in self._faults:
            try:
                fault.start(cluster)
            except NotStruckError:
                if not self._struck:
                    raise
            else:
                self._struck.append(fault)
        self.target = " + ".join(fault.target for fault in self._struck)

    def heal(self, cluster: Cluster) -> None:
        """Both."""
        for fault in self._struck:
            fault.heal(cluster)


def quick(seed: int) -> Iterator[Fault]:
    """Ten faults."""
    dice = _dice(seed)
    kinds = [*QUICK, dice.choice(SHORT)]
    dice.shuffle(kinds)
    return (kind(dice) for kind in kinds)


def endless(seed: int) -> Iterator[Fault]:
    """Every kind, shuffled, over and over; some two at a time."""
    dice = _dice(seed)
    while True:
        for kind in dice.sample(ALL, len(ALL)):
            fault = kind(dice)
            if kind in BESIDE and dice.random() < TOGETHER:
                fault = Together(fault, dice.choice(OF_REPLICAS)(dice))
            yield fault


def scenario(name: str, seed: int) -> Iterator[Fault]:
    """The faults of a core scenario."""
    dice = _dice(seed)
    return (kind(dice) for kind in SCENARIOS[name])


def _dice(seed: int) -> random.Random:
    return random.Random(f"faults of {seed}")
