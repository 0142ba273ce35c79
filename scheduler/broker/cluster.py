"""Questions to the cluster: what topics there are, where a partition ends, who owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from scheduler.runtime.kafka import common_conf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from scheduler.runtime.settings import Settings
    from scheduler.topics import TopicSpec

REQUEST_SECONDS = 10.0
ELECTION_SECONDS = 0.1
ELECTION_TRIES = 50

_NO_LEADER = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}


class Member(NamedTuple):
    """A member of a consumer group, and what is assigned to it."""

    member_id: str
    client_id: str
    partitions: frozenset[tuple[str, int]]


class Cluster:
    """An admin connection; every method raises `KafkaException` where the cluster does not answer."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._admin = AdminClient(common_conf(settings, client_id))

    def topics(self, seconds: float = REQUEST_SECONDS) -> dict[str, int]:
        """Every topic and its number of partitions."""
        return {
            name: len(topic.partitions)
            for name, topic in self._admin.list_topics(timeout=seconds).topics.items()
            if topic.error is None
        }

    @property
    def embedded(self) -> bool:
        """Whether it is the client's own mock cluster, which knows no settings and no groups to describe."""
        return str(self._admin.list_topics(timeout=REQUEST_SECONDS).cluster_id).startswith("mockCluster")

    def partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; None where there is none of that name.

        A broker that creates topics on first use does so now.
        """
        found = self._admin.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
        if found.error is None:
            return len(found.partitions)
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION):
            return None
        raise KafkaException(found.error)

    def ailment(self, topic: str) -> str | None:
        """Why an existing topic cannot be written to now, as far as its metadata tells; None where it can."""
        partitions = self._admin.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions
        leaderless = sorted(number for number, each in partitions.items() if each.leader < 0)
        if leaderless:
            return f"{topic}: no leader for partition {', '.join(map(str, leaderless))}"
        needed = self._min_in_sync(topic)
        short = sorted(number for number, each in partitions.items() if len(each.isrs) < needed)
        if short:
            return f"{topic}: fewer than {needed} replicas in sync for partition {', '.join(map(str, short))}"
        return None

    def _min_in_sync(self, topic: str) -> int:
        try:
            return int(self.config(topic).get("min.insync.replicas", "1"))
        except KafkaException:
            return 1  # describing it is a right of its own, which a scheduler may lack

    def high_watermark(self, topic: str, partition: int) -> int:
        """The end of the partition, open transactions included.

        Not a consumer's watermark: one that reads only what is committed is told the last stable
        offset, which another client's open transaction holds below our own committed records.
        """
        place = TopicPartition(topic, partition)
        for _ in range(ELECTION_TRIES):
            try:
                return self._high_watermark(place)
            except KafkaException as error:
                # a topic that was just made, or whose leader is moving, has one in a moment
                if error.args[0].code() not in _NO_LEADER:
                    raise
            self._admin.poll(ELECTION_SECONDS)
        return self._high_watermark(place)

    def _high_watermark(self, place: TopicPartition) -> int:
        answers = self._admin.list_offsets(
            {place: OffsetSpec.latest()},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=REQUEST_SECONDS,
        )
        return int(_result(answers[place]).offset)

    def newest_stamp_ms(self, topic: str) -> int:
        """The newest timestamp of the topic, in Unix ms; -1 where it is empty."""
        places = [TopicPartition(topic, partition) for partition in range(self.partitions(topic) or 0)]
        answers = self._admin.list_offsets(
            dict.fromkeys(places, OffsetSpec.max_timestamp()), request_timeout=REQUEST_SECONDS
        )
        return max((_result(answer).timestamp for answer in answers.values()), default=-1)

    def stamps(self, topic: str) -> bool:
        """Whether the brokers stamp the topic's records, rather than who writes them."""
        return not self.embedded and self.config(topic).get("message.timestamp.type") == "LogAppendTime"

    def owner(self, group: str, topic: str, partition: int) -> str | None:
        """The member id to which the group's coordinator has assigned the partition."""
        return next((each.member_id for each in self.members(group) if (topic, partition) in each.partitions), None)

    def members(self, group: str) -> list[Member]:
        """Who is in the group, as its coordinator sees it; nothing is assigned while it rebalances."""
        answer = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS)[group]
        return [
            Member(
                str(member.member_id),
                str(member.client_id),
                frozenset(
                    (place.topic, place.partition)
                    for place in (member.assignment.topic_partitions if member.assignment else ())
                ),
            )
            for member in _result(answer).members
        ]

    def create(self, specs: Sequence[TopicSpec], partitions: int, replication: int) -> dict[str, KafkaError | None]:
        """Create topics; for each, what went wrong."""
        futures = self._admin.create_topics(
            [
                NewTopic(spec.name, num_partitions=partitions, replication_factor=replication, config=spec.config)
                for spec in specs
            ],
            request_timeout=REQUEST_SECONDS,
        )
        outcome: dict[str, KafkaError | None] = {}
        for name, future in futures.items():
            try:
                _result(future)
                outcome[name] = None
            except KafkaException as error:
                outcome[name] = error.args[0]
        return outcome

    def config(self, topic: str) -> dict[str, str]:
        """The settings in force for a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        answer = self._admin.describe_configs([resource], request_timeout=REQUEST_SECONDS)[resource]
        return {name: str(entry.value) for name, entry in _result(answer).items()}


def _result(future: Future[Any]) -> Any:
    try:
        return future.result(REQUEST_SECONDS)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - librdkafka's public code
