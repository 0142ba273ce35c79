"""Partitions added to a schedules topic in use: told loudly, and everything goes on firing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

ALARM = "partitions were added to a schedules topic in use"
SOON_SECONDS = 20.0
"""Well below the 30 s after which an undisturbed replica would look by itself."""


def added(replica: Scheduler, installation: Installation) -> float | None:
    return replica.registry.get_sample_value(
        "scheduler_schedules_topic_added_partitions", {"topic": installation.schedules}
    )


def test_partitions_added_to_a_schedules_topic_alarm_every_replica_and_are_fired_from(
    installation: Installation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the replica that had nothing to do so far."""
    quickly = tmp_path / "kafka.yaml"
    quickly.write_text("kafka: {consumer: {configuration: {topic.metadata.refresh.interval.ms: 200}}}")
    admin = AdminClient({"bootstrap.servers": installation.broker, "log_level": 0})
    topic = installation.schedules
    with (
        caplog.at_level(logging.ERROR, "scheduler"),
        installation.replica(configuration_file=quickly) as one,
        installation.replica(configuration_file=quickly, restored=False) as other,
    ):
        replicas = (one, other)
        wait_until(lambda: all(added(replica, installation) == 0 for replica in replicas), "both have looked")
        wait_until(lambda: other.joined, "the second one has joined")
        # the only partition may have moved to it
        wait_until(lambda: sum(len(replica.standings()) for replica in replicas) == 1, "one of them has it")
        before = installation.schedule(b"written before", due_ms=clock.now_ms() + 4000)
        installation.write(before)
        assert not caplog.records

        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(SECONDS)
        wait_until(
            lambda: all(added(replica, installation) == 2 for replica in replicas), "both replicas tell", SOON_SECONDS
        )
        installation.write(*(installation.schedule(b"in %d" % n, epoch=0, partition=n) for n in range(3)))
        fired = installation.fired(b"written before", b"in 0", b"in 1", b"in 2")
        owned = {key for replica in replicas for key in replica.standings()}

    assert len(fired) == len(installation.read(installation.target)) == 4
    assert owned == {(topic, 0), (topic, 1), (topic, 2)}
    alarms = [record for record in caplog.records if record.getMessage().startswith(ALARM)]
    assert len(alarms) == 2  # one line of each replica
