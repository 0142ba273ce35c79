"""Who has which partition, as the group's coordinator says; asked at most once a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException

from scheduler.api.identity import api_address
from scheduler.api.problems import unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.api.replica import Replica
    from scheduler.api.views import Where
    from scheduler.broker.cluster import Member
    from scheduler.runtime.settings import Address

FRESH_SECONDS = 1.0
ASK_SECONDS = 3.0


class Peer(NamedTuple):
    """Another replica."""

    client_id: str
    address: Address | None
    partitions: frozenset[Where]


@dataclass(frozen=True)
class Snapshot:
    """Who had what, a moment ago."""

    counts: Mapping[str, int]
    """How many partitions each schedules topic has."""
    peers: Sequence[Peer] = ()
    homes: Mapping[Where, Peer] = field(default_factory=dict)
    fault: str | None = None
    """Why the other replicas are not known."""

    def partitions(self, topics: Sequence[str]) -> list[Where]:
        """Every partition of the topics."""
        return [(topic, number) for topic in topics for number in range(self.counts[topic])]


class Directory:
    """Asks the coordinator for all requests of this replica, on one thread at a time."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._lock = asyncio.Lock()
        self._known: Snapshot | None = None
        self._at = 0.0

    def forget(self) -> None:
        """Ask anew: a replica has said that it has not what it was taken to have."""
        self._at = float("-inf")

    async def look(self) -> Snapshot:
        """Who has what.

        Raises:
            ProblemError: Kafka does not answer, and never has.
        """
        clock = self._replica.clock
        async with self._lock:
            if self._known is None or clock.monotonic() - self._at > FRESH_SECONDS:
                self._known = await self._ask()
                self._at = clock.monotonic()
            return self._known

    async def _ask(self) -> Snapshot:
        kafka = self._replica.kafka
        topics = self._replica.settings.schedules_topics

        def ask() -> tuple[dict[str, int], list[Member] | None]:
            return {topic: kafka.partitions(topic) for topic in topics}, kafka.members()

        try:
            counts, members = await asyncio.wait_for(asyncio.to_thread(ask), ASK_SECONDS)
        except (KafkaException, TimeoutError) as error:
            detail = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
            fault = f"Kafka does not say which replica has it: {detail}"
            if self._known is None:
                raise unavailable(fault) from error
            return Snapshot(self._known.counts, fault=fault)
        return _snapshot(counts, [each for each in members or () if each.member_id != self._replica.member_id])


def _snapshot(counts: Mapping[str, int], others: Sequence[Member]) -> Snapshot:
    peers = [Peer(each.client_id, api_address(each.client_id), each.partitions) for each in others]
    return Snapshot(counts, peers, {where: peer for peer in peers for where in peer.partitions})
