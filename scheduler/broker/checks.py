"""Before anything fires: the topics are there and are what the design stands on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    import threading

    from scheduler.broker.cluster import Cluster
    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings

RETRY_SECONDS = 2.0

log = logging.getLogger("scheduler")


def wait_for_topics(cluster: Cluster, settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Return once the brokers answer and every topic that the scheduler needs is there.

    A broker that does not answer passes: it is waited for, and said so. A topic that is missing does not.

    Raises:
        ConfigurationError: a topic is missing. Settings that lose schedules are warned of.
    """
    while not stop.is_set():
        try:
            missing = [
                topic
                for topic in (*settings.schedules_topics, settings.history_topic, settings.dead_letter_topic)
                if cluster.partitions(topic) is None
            ]
            if missing:
                raise ConfigurationError(
                    f"missing topics: {', '.join(missing)}; create them with: scheduler topics --create"
                )
            for topic in () if cluster.embedded else settings.schedules_topics:
                _check_kept(cluster, topic)
        except KafkaException as error:
            log.warning(
                "Kafka does not answer, trying again",
                extra=fields(bootstrap_servers=settings.bootstrap_servers, detail=error.args[0].str()),
            )
            clock.wait(stop, RETRY_SECONDS)
        else:
            return


def _check_kept(cluster: Cluster, topic: str) -> None:
    try:
        config = cluster.config(topic)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise
        log.warning(
            "cannot look at the settings of a schedules topic: the right DescribeConfigs is missing",
            extra=fields(topic=topic),
        )
        return
    policy = config.get("cleanup.policy", "compact")
    if "compact" not in policy:
        log.warning("schedules topic is not compacted: it will grow for ever", extra=fields(topic=topic))
    if "delete" in policy and config.get("retention.ms", "-1") != "-1":
        log.warning(
            "schedules topic deletes records by age: schedules will be lost; set cleanup.policy=compact",
            extra=fields(topic=topic, retention_ms=config["retention.ms"]),
        )
