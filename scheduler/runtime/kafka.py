"""Configuration of every Kafka client of the product, in one place, as data.

What a guarantee stands on (isolation, idempotence, transactions, assignment) is set here alone: a file that
names it is refused.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from scheduler.errors import BrokerUnavailableError, ConfigurationError
from scheduler.runtime.kafka_file import BROKERS, read_kafka_file

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Producer

    from scheduler.runtime.settings import Settings

    Client = TypeVar("Client", Consumer, Producer)

Conf = dict[str, Any]

PARTITIONER = "murmur2_random"
"""Java's: the same key lands in the same partition whatever wrote it. librdkafka's own default does not."""

HEARTBEAT_MS = 200
"""How soon a member learns that another has left, in the middle half of it; five small requests a second."""
METADATA_MS = 30_000
"""Until partitions that were added to a schedules topic are noticed and fired from; 5 minutes by default."""

RETRY_BACKOFF_MS = 500
"""Until a transactional producer sends a request again that was not answered; from it follows how long a commit may
take that was surely sent once. Five times the default, so that a commit on a busy machine is seldom in doubt."""

DELIVERY_SECONDS = 5.0
"""For a message to be acknowledged by another cluster; then nobody knows whether it arrived."""

log = logging.getLogger("kafka")


def common_conf(settings: Settings, client_id: str) -> Conf:
    """Properties of every client."""
    return {
        "broker.address.family": "v4",
        "client.id": client_id,
        # an idle connection that the broker closes is no event worth a line
        "log.connection.close": False,
        # how soon it is noticed that a broker is back, or that another one is the coordinator; 10 s by default
        "reconnect.backoff.max.ms": 500,
        **read_kafka_file(settings.configuration_file).common,
        **_bootstrap(settings),
        "logger": log,
    }


def _bootstrap(settings: Settings) -> Conf:
    # the variable wins over the file; its default does not
    file = read_kafka_file(settings.configuration_file).common
    if "bootstrap_servers" in settings.model_fields_set or "bootstrap.servers" not in file:
        return {"bootstrap.servers": settings.bootstrap_servers}
    return {}


def target_conf(settings: Settings, client_id: str) -> Conf:
    """Properties of every client of the cluster that holds the targets, where that is another one."""
    file = read_kafka_file(settings.configuration_file)
    return {
        "broker.address.family": "v4",
        "client.id": client_id,
        "log.connection.close": False,
        # how soon it is noticed that the cluster is back; at the default of 10 s, its schedules wait as long
        "reconnect.backoff.max.ms": 1000,
        **{name: value for name, value in file.common.items() if name not in BROKERS},
        **file.target,
        "bootstrap.servers": settings.target_bootstrap_servers,
        "logger": log,
    }


def check_target(settings: Settings) -> None:
    """Refuse properties of another cluster where none is named: nothing would use them.

    Raises:
        ConfigurationError: they are there.
    """
    if not settings.target_bootstrap_servers and read_kafka_file(settings.configuration_file).target:
        raise ConfigurationError(
            f"CONFIGURATION_FILE: {settings.configuration_file}: kafka.target.configuration is for the cluster at "
            "TARGET_BOOTSTRAP_SERVERS, which is not set"
        )


def courier_conf(settings: Settings, client_id: str) -> Conf:
    """A producer to the cluster that holds the targets; what it has acknowledged is there to stay."""
    return {
        "linger.ms": 1,
        "compression.type": "lz4",
        "message.max.bytes": LARGEST_RECORD,
        **target_conf(settings, client_id),
        "queue.buffering.max.messages": 1_000_000,
        "partitioner": PARTITIONER,
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
    }


def consumer_conf(settings: Settings, client_id: str, group_id: str) -> Conf:
    """A consumer that sees only what was committed and is told where a partition ends."""
    return {
        **common_conf(settings, client_id),
        # the default of 1000 ms stalls a restore each time the local queue is full: 185k -> 862k msg/s
        "fetch.queue.backoff.ms": 2,
        # of each partition, read ahead; what is freed after a restore is memory that only a restore needs
        "queued.min.messages": 20_000,
        # how long a broker that has nothing keeps a fetch waiting, and with it the news that the end is
        # reached: at the default of 500 a restore of an empty partition takes half a second longer
        "fetch.wait.max.ms": 100,
        "topic.metadata.refresh.interval.ms": METADATA_MS,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.session_timeout,
        # a member learns with a heartbeat that another has left: this bounds a planned hand-over
        "heartbeat.interval.ms": min(HEARTBEAT_MS, settings.session_timeout // 3),
        **read_kafka_file(settings.configuration_file).consumer,
        "group.id": group_id,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
    }


MEET_SECONDS = 2.0
"""For each of two answers that a new producer waits for; a broker that is there gives both in 60 ms."""

LARGEST_RECORD = 100_000_000
"""The brokers say what is too large, topic by topic; the client's own limit of 1 MB is below their usual one."""


LINGER_MS = 1
"""For whom each record is waited for."""
TRANSACTION_LINGER_MS = 20
"""The end of a transaction waits for no linger, so this delays nothing. At 5 ms a batch of thousands, of which eight
are made at once, goes out in so many small requests that 100,000 at one instant cost the broker half as much again and
are fired at 0.95 of the rate; at 1 ms they cost it twice that, at 0.8 of that rate."""


def producer_conf(settings: Settings, client_id: str, linger_ms: int = LINGER_MS) -> Conf:
    """An idempotent producer that partitions as Java does."""
    return {
        **common_conf(settings, client_id),
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
        "message.max.bytes": LARGEST_RECORD,
        **read_kafka_file(settings.configuration_file).producer,
        "partitioner": PARTITIONER,
        "enable.idempotence": True,
    }


def transactional_conf(settings: Settings, client_id: str, transactional_id: str) -> Conf:
    """A producer whose records appear together or not at all."""
    return {
        **producer_conf(settings, client_id, TRANSACTION_LINGER_MS),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": settings.transaction_timeout,
        # librdkafka insists that a request may not outlive the transaction
        "socket.timeout.ms": min(10_000, settings.transaction_timeout),
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": 2 * RETRY_BACKOFF_MS,
        "delivery.report.only.error": True,
    }


def meet(client: Client, topic: str) -> Client:
    """Wait until a client that was just made is connected to a broker, so that its first request goes out at once.

    The first answer names the brokers, which ends the connection that it came by; the second needs one of theirs.
    Asked for its transaction coordinator between the two, the client (librdkafka 2.16) looks again after half a second:
    of eight fences put up at once the last took 540 ms without this, and takes 130.

    Args:
        client: it is returned.
        topic: one that is there: a cluster may create what a producer asks for.
    """
    with contextlib.suppress(KafkaException):  # it gains time, and no more: what is asked for next says what is wrong
        for _ in range(2):
            client.list_topics(topic, MEET_SECONDS)
    return client


def unavailable(settings: Settings, error: KafkaException | KafkaError) -> BrokerUnavailableError:
    """The same error as a sentence for a user, with the address that did not answer."""
    fault = error.args[0] if isinstance(error, KafkaException) else error
    servers, named_by = settings.bootstrap_servers, "BOOTSTRAP_SERVERS"
    if not _bootstrap(settings):
        file = settings.configuration_file
        servers, named_by = read_kafka_file(file).common["bootstrap.servers"], f"bootstrap.servers in {file}"
    return BrokerUnavailableError(
        f"Kafka at {servers}: {fault.str()} ({fault.name()}); check {named_by} and the broker"
    )
