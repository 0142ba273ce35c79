"""Replicas as processes: they share the partitions, hand them over, and answer over HTTP."""

from __future__ import annotations

import base64
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException
from prometheus_client.parser import text_string_to_metric_families

from scheduler.broker.failures import Kind, PublishError
from scheduler.broker.publisher import NOW, Publisher
from scheduler.engine.settlement import Out
from scheduler.runtime.kafka import transactional_conf
from scheduler.runtime.watchdog import Watchdog
from tests.support.replica_process import replica_process
from tests.support.schedules import SECONDS, clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Producer

    from tests.support.replica_process import ReplicaProcess
    from tests.support.schedules import Installation

HAND_OVER_MS = 2500
"""A second, when the machine has nothing else to do; far from the 6 s after which a silent member is given up."""


def metrics(replica: ReplicaProcess) -> dict[tuple[str, str], float]:
    """Each sample of the replica, summed over the partitions, by name and by what else it is labelled with."""
    sums: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(replica.get("/metrics", of="metrics").text):
        for sample in family.samples:
            label = sample.labels.get("type") or sample.labels.get("state") or ""
            sums[sample.name, label] = sums.get((sample.name, label), 0) + sample.value
    return sums


def test_two_replicas_share_the_partitions_and_one_that_is_stopped_hands_over(
    install: Callable[..., Installation],
) -> None:
    """Schedules fall due all the while; none is lost, doubled, or late by more than the hand-over."""
    installation = install(partitions=4)
    keys = [b"key-%d" % number for number in range(400)]
    with ExitStack() as until_the_end:
        one, other = (until_the_end.enter_context(replica_process(installation)) for _ in range(2))
        one.wait_until_ready(2)
        other.wait_until_ready(2)
        start_ms = clock.now_ms() + 200
        installation.write(
            *(
                installation.schedule(key, due_ms=start_ms + 10 * number, partition=number % 4)
                for number, key in enumerate(keys)
            )
        )
        installation.fired(*keys[:100])
        assert one.terminate() == 0
        installation.fired(*keys)
        other.wait_until_ready(4)
        assert other.terminate() == 0

    fired = installation.read(installation.target)
    assert sorted(message["scheduler-key"] or b"" for message in fired) == sorted(keys)
    lateness_ms = [
        message.timestamp_ms - int((message["scheduler-fire-id"] or b"").rpartition(b"@")[2]) for message in fired
    ]
    assert min(lateness_ms) >= 0
    assert max(lateness_ms) < HAND_OVER_MS


def test_a_replica_answers_over_http(installation: Installation) -> None:
    due_ms = clock.now_ms() + 3_600_000
    written = installation.write(
        installation.schedule(b"pending", b"\x00\xff", due_ms=due_ms, target_key=b"k"),
        installation.schedule(b"done", epoch=0),
        installation.schedule(b"bad", epoch="tomorrow"),
        installation.schedule(b"cancelled", due_ms=due_ms),
        installation.cancel(b"cancelled"),
    )
    with replica_process(installation) as replica:
        replica.wait_until_ready(1)
        installation.wait_for(installation.history, 3)
        readiness, info = replica.get("/readiness"), replica.get("/info").json()
        pending = replica.get("/schedules").json()
        counted = metrics(replica)
        address = replica.event("api")["address"]
        assert replica.terminate() == 0

    assert readiness.json() == {"ready": True, "partitions": {f"{installation.schedules}/0": "running"}}
    assert set(info) == {"hostname", "address", "server_address", "kafka"}
    assert isinstance(info["address"], list)
    assert f"http://{info['server_address']}" == address
    assert info["kafka"] == {
        "bootstrap_servers": installation.broker,
        "topics": [installation.schedules],
        "history_topic": installation.history,
    }
    assert pending == [
        {
            "id": "pending",
            "epoch": due_ms // 1000,
            "timestamp": written[0].timestamp_ms // 1000,
            "topic": installation.schedules,
            "target-topic": installation.target,
            "target-key": "k",
            "value": base64.b64encode(b"\x00\xff").decode(),
        }
    ]
    events = {label: value for (name, label), value in counted.items() if name == "kafka_scheduler_event_total"}
    assert events == {"planned": 3, "triggered": 1, "missed": 1, "invalid": 1, "deleted": 1, "undeliverable": 0}
    assert counted["scheduler_pending_schedules", ""] == 1
    assert counted["scheduler_overdue_schedules", ""] == 0
    assert counted["scheduler_next_due_timestamp_seconds", ""] == due_ms / 1000
    assert counted["scheduler_partition_state", "running"] == 1
    assert counted["scheduler_fire_lateness_seconds_count", ""] == 1
    assert counted["scheduler_transaction_seconds_count", ""] >= 1


def test_a_fenced_publisher_knows_it_even_in_the_middle_of_a_large_batch(installation: Installation) -> None:
    """The client only says that it has failed for good; taken for a passing fault, a zombie would try again."""
    conf = transactional_conf(installation.settings(), "publisher", installation.group_id)
    out = Out(installation.target, None, b"key", b"value", [])
    old, new = (Publisher(conf, installation.schedules, clock, Watchdog(clock)) for _ in range(2))
    old.open()
    old.publish([out])
    new.open()
    new.publish([out])

    with pytest.raises(PublishError) as failure:
        old.publish(out for _ in range(100_000))

    assert failure.value.kind is Kind.FENCED
    new.publish([out])
    new.close()
    assert len(installation.read(installation.target)) == 3


@pytest.mark.parametrize("fenced", [True, False])
def test_a_publisher_whose_client_has_lost_its_error_knows_whether_it_is_fenced(
    installation: Installation, fenced: bool
) -> None:
    """Where callbacks fail beside each other, the client says no more than that a call has failed."""

    class Speechless(Publisher):
        def _produce(self, producer: Producer, outs: Iterable[Out], timestamp_ms: int = NOW) -> None:
            super()._produce(producer, outs, timestamp_ms)
            with suppress(KafkaException, SystemError):
                producer.flush(SECONDS)
            raise SystemError

    conf = transactional_conf(installation.settings(), "publisher", installation.group_id)
    out = Out(installation.target, None, b"key", b"value", [])
    old, new = (kind(conf, installation.schedules, clock, Watchdog(clock)) for kind in (Speechless, Publisher))
    old.open()
    if fenced:
        new.open()

    with pytest.raises(PublishError) as failure:
        old.publish([out])

    assert failure.value.kind is (Kind.FENCED if fenced else Kind.RETRIABLE)
    new.open()
    new.publish([out])
    new.close()
    assert len(installation.read(installation.target)) == 1
