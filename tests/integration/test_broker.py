"""The broker that tests about guarantees run on keeps its own: transactions, fencing, topic settings."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from scheduler.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from tests.support.broker import Broker, Topics

SECONDS = 30.0


def transactional_producer(broker: Broker, transactional_id: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0, "transactional.id": transactional_id}
    )
    producer.init_transactions(SECONDS)
    return producer


def read_committed(broker: Broker, topic: str) -> list[bytes | None]:
    """Read partition 0 from its start to its end, as a reader that sees committed records only."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "reads-without-joining",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = Deadline(SystemClock(), SECONDS)
    values: list[bytes | None] = []
    try:
        while not deadline.passed:
            message = consumer.poll(deadline.remaining())
            error = message and message.error()
            if error and error.code() == KafkaError._PARTITION_EOF:
                return values
            assert error is None, error
            assert message is not None, "nothing came"
            values.append(message.value())
    finally:
        consumer.close()
    pytest.fail(f"{topic} was not read to its end in {SECONDS:.0f} s")


def test_a_committed_transaction_is_read_and_an_aborted_one_is_not(broker: Broker, topics: Topics) -> None:
    topic = topics.create("transactions")
    producer = transactional_producer(broker, topic)

    producer.begin_transaction()
    producer.produce(topic, b"aborted", partition=0)
    assert producer.flush(SECONDS) == 0
    producer.abort_transaction(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"committed", partition=0)
    producer.commit_transaction(SECONDS)

    assert read_committed(broker, topic) == [b"committed"]


def test_a_second_producer_of_the_same_id_fences_the_first(broker: Broker, topics: Topics) -> None:
    topic = topics.create("fence")
    old = transactional_producer(broker, topic)
    old.begin_transaction()
    old.produce(topic, b"of the old owner", partition=0)
    assert old.flush(SECONDS) == 0

    new = transactional_producer(broker, topic)
    new.begin_transaction()
    new.produce(topic, b"of the new owner", partition=0)
    new.commit_transaction(SECONDS)

    with pytest.raises(KafkaException) as refused:
        old.commit_transaction(SECONDS)
    assert refused.value.args[0].code() in {KafkaError._FENCED, KafkaError.PRODUCER_FENCED}
    assert read_committed(broker, topic) == [b"of the new owner"]


def test_topics_are_created_as_asked_and_never_by_use(broker: Broker, topics: Topics) -> None:
    topic = topics.create("schedules", partitions=4, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})

    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(SECONDS)

    assert config["cleanup.policy"].value == "compact"
    assert len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions) == 4
    assert topics.create("schedules") != topic
    unknown = f"never-created-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "message.timeout.ms": 2000, "log_level": 0})
    failures: list[KafkaError | None] = []
    producer.produce(unknown, b"value", on_delivery=lambda error, _message: failures.append(error))
    assert producer.flush(SECONDS) == 0
    assert failures[0] is not None
    assert unknown not in admin.list_topics(timeout=SECONDS).topics
