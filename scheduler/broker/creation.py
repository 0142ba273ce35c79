"""Creates the topics of an installation, and returns when they can be used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.cluster import Cluster
from scheduler.clock import Deadline
from scheduler.errors import InputError
from scheduler.needs import needed_topics
from scheduler.runtime.kafka import unavailable

if TYPE_CHECKING:
    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings

USABLE_SECONDS = 30.0
LOOK_SECONDS = 0.05


def create_topics(settings: Settings, client_id: str, clock: Clock) -> list[str]:
    """Create those that are missing; their names. When it returns, all of them can be used.

    Raises:
        InputError: Kafka refuses one; the others may have been created.
        BrokerUnavailableError: it does not answer.
    """
    specs = needed_topics(settings)
    try:
        cluster = Cluster(settings, client_id)
        outcome = cluster.create(specs, settings.partitions, settings.replication_factor)
        for name, error in outcome.items():
            if error is not None:
                _unless_there(name, error)
        _wait_until_led(cluster, {spec.name for spec in specs}, clock)
    except KafkaException as error:
        raise unavailable(settings, error) from error
    return [name for name, error in outcome.items() if error is None]


def _wait_until_led(cluster: Cluster, names: set[str], clock: Clock) -> None:
    # a broker answers a creation before all of them know of it
    deadline, never = Deadline(clock, USABLE_SECONDS), threading.Event()
    while not names <= cluster.led():
        if deadline.passed:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "topics were created and cannot be used yet"))  # noqa: SLF001 - librdkafka's public code
        clock.wait(never, LOOK_SECONDS)


def _unless_there(name: str, error: KafkaError) -> None:
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return
    if error.retriable() or error.code() == KafkaError._TIMED_OUT:  # noqa: SLF001 - librdkafka's public code
        raise KafkaException(error)
    raise InputError(f"topic {name}: {error.str()} ({error.name()})")
