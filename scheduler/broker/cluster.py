"""Questions to the cluster: what topics there are, where a partition ends, who owns it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from scheduler.runtime.coordinator import LONGEST_SECONDS, CoordinatorClient
from scheduler.runtime.kafka import common_conf, courier_conf
from scheduler.runtime.offsets import told

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from concurrent.futures import Future

    from confluent_kafka.admin import TopicMetadata

    from scheduler.runtime.settings import Settings
    from scheduler.topics import TopicSpec

REQUEST_SECONDS = 10.0
ELECTION_SECONDS = 0.1
ELECTION_TRIES = 50
FIRST_ANSWER_SECONDS = 0.5
"""For a leader to tell where a partition ends, at first; twice as long each time. A client that asks one that is dead
waits for it, also when another one is elected; the next client asks that one, unless the broker that tells it who leads
has not heard of it yet."""
MARK_SECONDS = 3 * REQUEST_SECONDS
"""For a high watermark, while a leader is elected."""

OWNER_SECONDS = 3.0
"""For the group's coordinator to say who owns a partition, while what is due there waits."""

_UNANSWERED = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}  # noqa: SLF001 - librdkafka's public codes
_NO_LEADER = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError._NOENT,  # noqa: SLF001 - librdkafka's public code, for a leader to which it has no connection
}
_OUTDATED = {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH}
"""What is left of a client's knowledge after an election; it asks by it until it happens to read metadata again."""


class Member(NamedTuple):
    """A member of a consumer group, and what is assigned to it."""

    member_id: str
    client_id: str
    partitions: frozenset[tuple[str, int]]


class Identity(NamedTuple):
    """A topic as it is now: one that is deleted and made anew has another id."""

    name: str
    id: str
    compaction_lag_ms: int
    """For so long its records are safe from compaction."""


class Extent(NamedTuple):
    """Where the log of a partition begins, and where the next record will stand."""

    start: int
    end: int


class Cluster:
    """An admin connection; every method raises `KafkaException` where the cluster does not answer.

    Args:
        settings: where it is.
        client_id: who asks.
        elsewhere: the cluster of TARGET_BOOTSTRAP_SERVERS rather than that of the schedules.
        creating: whether a topic that is asked for comes to be where the cluster creates topics on first use, with the
            cluster's settings: right for one that is delivered to, wrong for one of the scheduler's own.
    """

    def __init__(self, settings: Settings, client_id: str, *, elsewhere: bool = False, creating: bool = False) -> None:
        # the properties of the producer that will deliver there: what it would refuse is refused at the start
        conf = (courier_conf if elsewhere else common_conf)(settings, client_id)
        self._conf = {"allow.auto.create.topics": creating, **conf}
        self._client: AdminClient | None = AdminClient(self._conf)
        self._coordinators = CoordinatorClient(self._conf)

    def close(self) -> None:
        """Drop the connections; what is asked all the same makes new ones."""
        self._client = None
        self._coordinators.close()

    @property
    def _admin(self) -> AdminClient:
        client = self._client
        if client is None:
            client = self._client = AdminClient(self._conf)
        return client

    def _result(self, admin: AdminClient, answers: Mapping[Any, Future[Any]], asked: Any) -> Any:
        """What was answered to a question, out of the answers to all.

        Whoever waits holds the client that it has asked: one that nobody holds any more, because another thread has
        replaced it, never answers.

        A client that gets no answer is replaced. Where it has lost all its connections, or the cluster a broker, it may
        go on to wait for one that it has forgotten how to reach, for ever and at each question. So is one that takes
        the leader for another than it is: it was seen to do so for minutes.
        """
        try:
            return answers[asked].result(REQUEST_SECONDS)
        except TimeoutError:
            error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - librdkafka's public code
        except KafkaException as failure:
            error = failure.args[0]
        if error.code() in _UNANSWERED | _OUTDATED:
            self._replace(admin)
        raise KafkaException(error)

    def _replace(self, admin: AdminClient) -> None:
        if self._client is admin:
            self._client = None

    def topics(self, seconds: float = REQUEST_SECONDS) -> dict[str, int]:
        """Every topic and its number of partitions."""
        return {
            name: len(topic.partitions)
            for name, topic in self._admin.list_topics(timeout=seconds).topics.items()
            if topic.error is None
        }

    def led(self) -> set[str]:
        """Every topic of which all partitions have a leader."""
        return {
            name
            for name, topic in self._admin.list_topics(timeout=REQUEST_SECONDS).topics.items()
            if topic.error is None and all(partition.leader >= 0 for partition in topic.partitions.values())
        }

    @cached_property
    def embedded(self) -> bool:
        """Whether it is the client's own mock cluster, which knows no settings and no groups to describe."""
        return str(self._admin.list_topics(timeout=REQUEST_SECONDS).cluster_id).startswith("mockCluster")

    def partitions(self, topic: str, seconds: float = REQUEST_SECONDS) -> int | None:
        """How many partitions a topic has; None where there is none of that name."""
        found = self._metadata(topic, seconds)
        return None if found is None else len(found.partitions)

    def _metadata(self, topic: str, seconds: float) -> TopicMetadata | None:
        found = self._admin.list_topics(topic, timeout=seconds).topics[topic]
        if found.error is None:
            return found
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION):
            return None
        raise KafkaException(found.error)

    def ailment(self, topic: str, seconds: float = REQUEST_SECONDS) -> str | None:
        """Why a topic cannot take anything now, as far as its metadata tells; None where it can."""
        found = self._metadata(topic, seconds)
        if found is None:
            return f"the topic {topic} does not exist"
        partitions = found.partitions.values()
        leaderless = [str(each.id) for each in partitions if each.leader < 0]
        if leaderless:
            return f"{topic}: no leader for partition {', '.join(leaderless)}"
        short = [each for each in partitions if len(each.isrs) < len(each.replicas)]
        needed = self._min_in_sync(topic, seconds) if short else 0
        # a broker asks for no more replicas in sync than there are
        short = [each for each in short if len(each.isrs) < min(needed, len(each.replicas))]
        if short:
            where = ", ".join(str(each.id) for each in short)
            return f"{topic}: fewer than {needed} replicas in sync for partition {where}"
        return None

    def may_write(self, topic: str, seconds: float = REQUEST_SECONDS) -> bool:
        """Whether we have the right to write to a topic; also where the cluster does not tell."""
        if self.embedded:
            return True
        admin = self._admin
        answers = admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=seconds
        )
        try:
            allowed = self._result(admin, answers, topic).authorized_operations
        except KafkaException as error:
            return bool(error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED)
        return not allowed or AclOperation.WRITE in allowed

    def _min_in_sync(self, topic: str, seconds: float) -> int:
        try:
            return int(self.config(topic, seconds).get("min.insync.replicas", "1"))
        except KafkaException:
            return 1  # describing it is a right of its own, which a scheduler may lack

    def high_watermark(self, topic: str, partition: int) -> int:
        """The end of the partition, open transactions included.

        Not a consumer's watermark: one that reads only what is committed is told the last stable
        offset, which another client's open transaction holds below our own committed records.
        """
        place, seconds = TopicPartition(topic, partition), FIRST_ANSWER_SECONDS
        for _ in range(ELECTION_TRIES):
            try:
                return self._high_watermark(place, seconds)
            except KafkaException as error:
                code = error.args[0].code()
                if code in _UNANSWERED and seconds < REQUEST_SECONDS:
                    seconds = min(REQUEST_SECONDS, 2 * seconds)
                    continue
                # a topic that was just made, or whose leader is moving, has one in a moment
                if code not in _NO_LEADER | _OUTDATED:
                    raise
            self._admin.poll(ELECTION_SECONDS)
        self._client = None
        return self._high_watermark(place, REQUEST_SECONDS)

    def _high_watermark(self, place: TopicPartition, seconds: float) -> int:
        return self._offset(place, OffsetSpec.latest(), seconds)

    def _offset(self, place: TopicPartition, spec: OffsetSpec, seconds: float = REQUEST_SECONDS) -> int:
        admin = self._admin
        answers = admin.list_offsets(
            {place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=seconds
        )
        return self._told(admin, answers, place)

    def _told(self, admin: AdminClient, answers: Mapping[TopicPartition, Future[Any]], place: TopicPartition) -> int:
        try:
            return told(self._result(admin, answers, place))
        except KafkaException as error:
            # it has asked a leader that has gone, and would ask that one for up to 10 s more
            if error.args[0].code() == KafkaError.LEADER_NOT_AVAILABLE:
                self._replace(admin)
            raise

    def extent(self, topic: str, partition: int) -> Extent:
        """Where the log of a partition begins and ends, open transactions included."""
        start = self._offset(TopicPartition(topic, partition), OffsetSpec.earliest())
        return Extent(start, self.high_watermark(topic, partition))

    def ends(self, keys: Collection[tuple[str, int]], seconds: float = REQUEST_SECONDS) -> dict[tuple[str, int], int]:
        """Where the logs of partitions end, open transactions included; without those that have no leader just now."""
        admin = self._admin
        answers = admin.list_offsets(
            {TopicPartition(*key): OffsetSpec.latest() for key in keys},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=seconds,
        )
        found: dict[tuple[str, int], int] = {}
        for place in answers:
            try:
                found[place.topic, place.partition] = self._told(admin, answers, place)
            except KafkaException as error:
                if error.args[0].code() not in _NO_LEADER | _OUTDATED:
                    raise
        return found

    def topic_id(self, topic: str) -> str:
        """What tells a topic from one that is made anew under its name."""
        admin = self._admin
        answers = admin.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_SECONDS)
        return str(self._result(admin, answers, topic).topic_id)

    def identity(self, topic: str) -> Identity:
        """Which topic it is, and for how long it keeps what newer records hide."""
        return Identity(topic, self.topic_id(topic), int(self.config(topic)["min.compaction.lag.ms"]))

    def newest_stamp_ms(self, topic: str) -> int:
        """The newest timestamp of the topic, in Unix ms; -1 where it is empty."""
        places = [TopicPartition(topic, partition) for partition in range(self.partitions(topic) or 0)]
        admin = self._admin
        answers = admin.list_offsets(dict.fromkeys(places, OffsetSpec.max_timestamp()), request_timeout=REQUEST_SECONDS)
        return max((self._result(admin, answers, place).timestamp for place in places), default=-1)

    def stamps(self, topic: str) -> bool:
        """Whether the brokers stamp the topic's records, rather than who writes them."""
        return not self.embedded and self.config(topic).get("message.timestamp.type") == "LogAppendTime"

    def owner(self, group: str, topic: str, partition: int) -> str | None:
        """The member id to which the group's coordinator has assigned the partition."""
        members = self.members(group, OWNER_SECONDS)
        return next((each.member_id for each in members if (topic, partition) in each.partitions), None)

    def members(self, group: str, seconds: float = REQUEST_SECONDS) -> list[Member]:
        """Who is in the group, as its coordinator sees it; nothing is assigned while it rebalances."""
        described = self._coordinators.ask(
            lambda admin: admin.describe_consumer_groups([group], request_timeout=LONGEST_SECONDS)[group],
            seconds,
        )
        return [
            Member(
                str(member.member_id),
                str(member.client_id),
                frozenset(
                    (place.topic, place.partition)
                    for place in (member.assignment.topic_partitions if member.assignment else ())
                ),
            )
            for member in described.members
        ]

    def create(self, specs: Sequence[TopicSpec], partitions: int, replication: int) -> dict[str, KafkaError | None]:
        """Create topics; for each, what went wrong."""
        admin = self._admin
        futures = admin.create_topics(
            [
                NewTopic(spec.name, num_partitions=partitions, replication_factor=replication, config=spec.config)
                for spec in specs
            ],
            request_timeout=REQUEST_SECONDS,
        )
        outcome: dict[str, KafkaError | None] = {}
        for name in futures:
            try:
                self._result(admin, futures, name)
                outcome[name] = None
            except KafkaException as error:
                outcome[name] = error.args[0]
        return outcome

    def config(self, topic: str, seconds: float = REQUEST_SECONDS) -> dict[str, str]:
        """The settings in force for a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        admin = self._admin
        answers = admin.describe_configs([resource], request_timeout=seconds)
        return {name: str(entry.value) for name, entry in self._result(admin, answers, resource).items()}
