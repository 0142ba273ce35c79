"""Which broker has which role now: found when a fault asks, for roles move with every fault.

The coordinator of a group or of a transactional id is the leader of a partition of an internal topic; which one is
decided by Java's hash of the name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, TopicMetadata

GROUPS = "__consumer_offsets"
TRANSACTIONS = "__transaction_state"
METADATA_SECONDS = 10.0


class Roles:
    """Asks the cluster."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    def leader(self, topic: str, partition: int) -> int:
        """The broker that leads a partition; -1 where nobody does."""
        return int(self._topic(topic).partitions[partition].leader)

    def group_coordinator(self, group: str) -> int:
        """The broker that keeps the group."""
        return self._keeper(GROUPS, group)

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The broker that decides the transactions of this id."""
        return self._keeper(TRANSACTIONS, transactional_id)

    def out_of_sync(self) -> list[str]:
        """Partitions of any topic that lack a leader or a replica in sync."""
        return [
            f"{name}/{number}"
            for name, topic in self._admin.list_topics(timeout=METADATA_SECONDS).topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader < 0 or len(partition.isrs) < len(partition.replicas)
        ]

    def _keeper(self, topic: str, name: str) -> int:
        return self.leader(topic, java_hash(name) % len(self._topic(topic).partitions))

    def _topic(self, name: str) -> TopicMetadata:
        return self._admin.list_topics(name, timeout=METADATA_SECONDS).topics[name]


def java_hash(text: str) -> int:
    """The absolute value of `String.hashCode`, as Kafka takes it; of the one that has none, 0."""
    hashed = 0
    for character in text:
        hashed = (31 * hashed + ord(character)) & 0xFFFFFFFF
    return min(hashed, 0x1_0000_0000 - hashed) & 0x7FFFFFFF
