"""Asks Kafka for the facts. Writes nothing, but for a transactional id of its own that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from scheduler.broker.cluster import REQUEST_SECONDS
from scheduler.doctor.asking import CLIENT_ID, FORBIDDEN, patiently, result, said
from scheduler.doctor.facts import (
    Facts,
    Forbidden,
    GroupFacts,
    Missing,
    PartitionFacts,
    Role,
    TopicFacts,
    Unknown,
)
from scheduler.doctor.logs import Logs
from scheduler.errors import BrokerUnavailableError
from scheduler.needs import needed_topics
from scheduler.runtime.coordinator import LONGEST_SECONDS, CoordinatorClient
from scheduler.runtime.kafka import common_conf, transactional_conf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings


_INTERNAL = ("__consumer_offsets", "__transaction_state")
_LIMITS = {
    "transaction.max.timeout.ms": min,
    "group.min.session.timeout.ms": max,
    "group.max.session.timeout.ms": min,
}


class Survey:
    """One examination; every question has its own deadline, so that one that is not answered holds up no other."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._admin = AdminClient(common_conf(settings, CLIENT_ID))
        self._coordinators = CoordinatorClient(common_conf(settings, CLIENT_ID))

    def facts(self, progress: Progress | None = None) -> Facts:
        """Ask for everything; reads the schedules topics to their ends.

        Raises:
            BrokerUnavailableError: no broker answers at all.
        """
        settings = self._settings
        try:
            metadata = self._admin.list_topics(timeout=REQUEST_SECONDS)
        except KafkaException as error:
            raise BrokerUnavailableError(said(error)) from error
        brokers = {each.id: f"{each.host}:{each.port}" for each in metadata.brokers.values()}
        roles = self._roles(metadata.topics)
        if str(metadata.cluster_id).startswith("mockCluster"):
            nothing = Unknown("the embedded broker does not tell")
            return Facts(self._clock.now_ms(), brokers, nothing, roles, {}, nothing, nothing, nothing, embedded=True)
        topics = self._topics(roles)
        there = {name: topic for name, topic in topics.items() if isinstance(topic, TopicFacts)}
        history = settings.history_topic
        logs = Logs(settings, self._clock, self._admin)
        if history in there:
            logs.look_at_stamps()
        opened = logs.open_transactions(there)
        if history in there:
            logs.look_at_stamps()
        restores = {
            name: logs.restore(name, topic, progress) for name, topic in there.items() if roles[name] is Role.SCHEDULES
        }
        if history in there:
            logs.look_at_stamps()
        return Facts(
            now_ms=self._clock.now_ms(),
            brokers=brokers,
            limits=self._limits(brokers),
            roles=roles,
            topics=topics,
            group=self._group(),
            transactional_id=self._transactional_id(),
            skew=logs.skew(there.get(history)),
            restores=restores,
            open_transactions=opened,
            targets=self._targets(),
        )

    # -- topics --------------------------------------------------------------------------------------

    def _roles(self, there: Iterable[str]) -> dict[str, Role]:
        settings = self._settings
        named = dict.fromkeys(settings.schedules_topics, Role.SCHEDULES)
        named |= {settings.history_topic: Role.HISTORY, settings.dead_letter_topic: Role.DEAD_LETTERS}
        for spec in needed_topics(settings):
            named.setdefault(spec.name, Role.WORK)
        return named | {name: Role.INTERNAL for name in _INTERNAL if name in there}

    def _topics(self, roles: Mapping[str, Role]) -> dict[str, TopicFacts | Missing | Forbidden | Unknown]:
        answers = self._admin.describe_topics(
            TopicCollection(list(roles)), include_authorized_operations=True, request_timeout=REQUEST_SECONDS
        )
        found: dict[str, TopicFacts | Missing | Forbidden | Unknown] = {}
        for name in roles:
            try:
                described = result(answers[name])
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    found[name] = Missing()
                else:
                    found[name] = Forbidden("Describe") if code in FORBIDDEN else Unknown(said(error))
            else:
                partitions = {each.id: _partition(each) for each in described.partitions}
                config = self._config(ConfigResource(ResourceType.TOPIC, name))
                found[name] = TopicFacts(partitions, config, _operations(described.authorized_operations))
        return found

    def _config(self, resource: ConfigResource) -> dict[str, str] | Unknown:
        try:
            answer = self._admin.describe_configs([resource], request_timeout=REQUEST_SECONDS)[resource]
            return {name: str(entry.value) for name, entry in result(answer).items()}
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                return Unknown("these credentials may not DescribeConfigs")
            return Unknown(said(error))

    def _limits(self, brokers: Iterable[int]) -> dict[str, str] | Unknown:
        """The strictest of all brokers: any of them may be the coordinator."""
        limits: dict[str, int] = {}
        for broker in brokers:
            config = self._config(ConfigResource(ResourceType.BROKER, str(broker)))
            if isinstance(config, Unknown):
                return config
            for name, strictest in _LIMITS.items():
                if name in config:
                    value = int(config[name])
                    limits[name] = strictest(limits.get(name, value), value)
        return {name: str(value) for name, value in limits.items()}

    # -- the group, transactions, targets ------------------------------------------------------------

    def _group(self) -> GroupFacts | Forbidden | Unknown:
        group = self._settings.group_id

        def ask() -> GroupFacts:
            described = self._coordinators.ask(
                lambda admin: admin.describe_consumer_groups(
                    [group], include_authorized_operations=True, request_timeout=LONGEST_SECONDS
                )[group],
                REQUEST_SECONDS,
            )
            return GroupFacts(len(described.members), _operations(described.authorized_operations))

        try:
            return patiently(self._clock, ask)
        except KafkaException as error:
            return Forbidden("Describe") if error.args[0].code() in FORBIDDEN else Unknown(said(error))

    def _transactional_id(self) -> Forbidden | Unknown | None:
        """Ask for an id under the replicas' prefix that none of them has: it fences nobody."""
        producer = Producer(transactional_conf(self._settings, CLIENT_ID, f"{self._settings.group_id}-doctor"))
        try:
            producer.init_transactions(REQUEST_SECONDS)
        except KafkaException as error:
            return Forbidden("Write or Describe") if error.args[0].code() in FORBIDDEN else Unknown(said(error))
        return None

    def _targets(self) -> dict[int, str] | Unknown | None:
        servers = self._settings.target_bootstrap_servers
        if not servers:
            return None
        try:
            admin = AdminClient({**common_conf(self._settings, CLIENT_ID), "bootstrap.servers": servers})
            brokers = admin.list_topics(timeout=REQUEST_SECONDS).brokers.values()
        except KafkaException as error:
            return Unknown(said(error))
        return {each.id: f"{each.host}:{each.port}" for each in brokers}


def _partition(described: Any) -> PartitionFacts:
    leader = described.leader
    return PartitionFacts(
        None if leader is None or leader.id < 0 else leader.id,
        tuple(node.id for node in described.replicas),
        tuple(node.id for node in described.isr),
    )


def _operations(operations: Iterable[Any] | None) -> frozenset[str] | Unknown:
    if operations is None:
        return Unknown("the brokers do not tell what these credentials may do")
    # AclOperation.DESCRIBE_CONFIGS is DescribeConfigs in Kafka's own tools
    return frozenset("".join(map(str.capitalize, each.name.split("_"))) for each in operations)
