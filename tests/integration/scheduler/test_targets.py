"""A target that cannot take a message: its schedules wait or are given up, its neighbours fire on time."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from dev.local_kafka import LocalKafka
from scheduler.broker.cluster import Cluster
from scheduler.broker.failures import PublishError
from scheduler.broker.publisher import Publisher
from scheduler.engine.settlement import Out
from scheduler.runtime.kafka import transactional_conf
from scheduler.runtime.watchdog import Watchdog
from scheduler.schedule import Reason
from tests.support.broker import Topics
from tests.support.rights import GUARDED, Rights
from tests.support.schedules import SECONDS, Installation, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler.service import Scheduler
    from tests.support.records import Put, Record

PROMPT_MS = 2500
"""Milliseconds, when the machine has nothing else to do; a transaction that is waited for to its end takes 5 s."""
GRACE_MS = 1500


def outcomes(installation: Installation) -> dict[bytes | None, tuple[bytes | None, bytes | None]]:
    """Outcome and reason of each schedule in the history; none is there twice."""
    records = installation.read(installation.history)
    said = {record.key: (record["scheduler-outcome"], record["scheduler-reason"]) for record in records}
    assert len(said) == len(records)
    return said


def lateness_ms(message: Record) -> int:
    """From the due time to the broker's stamp."""
    return message.timestamp_ms - round(float(message["scheduler-epoch"] or b"") * 1000)


def neighbours(installation: Installation, first_ms: int, *, every_ms: int = 100, count: int = 20) -> list[Put]:
    """Schedules that have nothing to do with the bad target but their partition."""
    return [
        installation.schedule(b"neighbour-%d" % number, due_ms=first_ms + number * every_ms) for number in range(count)
    ]


def fired_on_time(installation: Installation, puts: list[Put]) -> None:
    """Every one of these has fired once, none of them late."""
    installation.fired(*(put.key or b"" for put in puts))
    messages = installation.read(installation.target)
    assert sorted(message["scheduler-key"] or b"" for message in messages) == sorted(put.key or b"" for put in puts)
    late = {message["scheduler-key"]: ms for message in messages if (ms := lateness_ms(message)) > PROMPT_MS}
    assert not late


def wait_until_postponed(replica: Scheduler, count: int = 1) -> None:
    wait_until(lambda: sum(each.postponed for each in replica.standings().values()) >= count, f"{count} schedules wait")


def failures(replica: Scheduler) -> float:
    """Transactions that did not end well."""
    (counter,) = (each for each in replica.registry.collect() if each.name == "scheduler_transaction_failures")
    return sum(sample.value for sample in counter.samples if sample.name.endswith("_total"))


@pytest.fixture
def make_topic(installation: Installation) -> Iterator[Callable[[str], None]]:
    """Create a topic of that very name; deleted after the test."""
    admin = AdminClient({"bootstrap.servers": installation.broker, "log_level": 0})
    made: list[str] = []

    def make(name: str) -> None:
        admin.create_topics([NewTopic(name, 1)])[name].result(SECONDS)
        made.append(name)

    yield make
    for deletion in admin.delete_topics(made).values() if made else ():
        deletion.result(SECONDS)


def alter(broker: str, topic: str, name: str, value: str) -> None:
    """Change a setting of a topic."""
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for alteration in admin.incremental_alter_configs([resource]).values():
        alteration.result(SECONDS)


def unused(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


# ---------------------------------------------------------------- a topic that is not there


def test_a_target_topic_that_is_made_within_the_grace_is_fired_to(
    installation: Installation, make_topic: Callable[[str], None]
) -> None:
    late = unused("late")
    with installation.replica(target_grace=60_000) as replica:
        near = neighbours(installation, clock.now_ms())
        installation.write(installation.schedule(b"waits", epoch=0, target_topic=late), *near)
        wait_until_postponed(replica)
        fired_on_time(installation, near)
        make_topic(late)
        (message,) = installation.wait_for(late)
        installation.wait_for(installation.history, len(near) + 1)

    assert message["scheduler-key"] == b"waits"
    assert outcomes(installation) == dict.fromkeys([put.key for put in (*near,)] + [b"waits"], (b"fired", None))
    assert len(installation.read(late)) == 1
    assert installation.read(installation.dead_letters) == []


def test_a_target_topic_that_is_never_made_is_undeliverable_after_the_grace_and_not_before(
    installation: Installation,
) -> None:
    missing = unused("missing")
    with installation.replica(target_grace=GRACE_MS):
        due_ms = clock.now_ms() + 200
        near = neighbours(installation, due_ms)
        installation.write(
            installation.schedule(
                b"waits", b"its payload", due_ms=due_ms, target_topic=missing, headers=[("trace", b"1")]
            ),
            *near,
        )
        (dead,) = installation.wait_for(installation.dead_letters)
        (told,) = installation.wait_for(installation.history, key=b"waits")
        fired_on_time(installation, near)

    assert told.timestamp_ms >= due_ms + GRACE_MS
    assert (dead.key, dead.value, dead.headers) == (told.key, told.value, told.headers)
    assert (dead.value, dead["trace"], dead["scheduler-target-topic"]) == (b"its payload", b"1", missing.encode())
    assert dead["scheduler-reason"] == b"unknown-target-topic"
    assert missing.encode() in (dead["scheduler-reason-detail"] or b"")
    assert dead["scheduler-fire-id"] == b"waits@%d" % due_ms


def test_a_recurring_schedule_whose_target_is_missing_goes_on_and_fires_once_it_is_there(
    installation: Installation, make_topic: Callable[[str], None]
) -> None:
    late = unused("late")
    with installation.replica(target_grace=100):
        installation.write(
            installation.schedule(b"recurs", cron="@every 1s", target_topic=late, misfire="all"),
        )
        installation.wait_for(installation.history, 2, key=b"recurs")
        make_topic(late)
        installation.wait_for(late, 2)

    told = installation.read(installation.history)
    fire_ids = [record["scheduler-fire-id"] for record in told]
    said = [record["scheduler-outcome"] for record in told]
    assert len(set(fire_ids)) == len(fire_ids)
    assert said == sorted(said, reverse=True), "undeliverable until the topic is there, fired from then on"
    fired = [record["scheduler-fire-id"] for record in told if record["scheduler-outcome"] == b"fired"]
    assert [message["scheduler-fire-id"] for message in installation.read(late)] == fired
    assert len(installation.read(installation.dead_letters)) == said.count(b"undeliverable") >= 2


# ---------------------------------------------------------------- a target that is refused


def test_only_allowed_targets_are_fired_to(installation: Installation, topics: Topics) -> None:
    other = topics.create("other")
    with installation.replica(allowed_targets=[installation.target]):
        installation.write(
            installation.schedule(b"other", epoch=0, target_topic=other),
            installation.schedule(b"allowed", epoch=0),
        )
        installation.wait_for(installation.history, 2)

    assert outcomes(installation) == {
        b"other": (b"undeliverable", b"forbidden-target-topic"),
        b"allowed": (b"fired", None),
    }
    (dead,) = installation.read(installation.dead_letters)
    assert b"ALLOWED_TARGETS" in (dead["scheduler-reason-detail"] or b"")
    assert installation.read(other) == []


def test_one_poison_among_a_thousand_stops_none_of_the_rest(installation: Installation, topics: Topics) -> None:
    """All of them for the same target and due at once: the broker refuses the batch and does not say which it is."""
    narrow = topics.create("narrow", config={"max.message.bytes": "20000"})
    now_ms = clock.now_ms()
    puts = [
        installation.schedule(b"sound-%d" % number, b"x", due_ms=now_ms, target_topic=narrow) for number in range(999)
    ]
    puts.insert(500, installation.schedule(b"poison", os.urandom(30_000), due_ms=now_ms, target_topic=narrow))
    installation.write(*puts)
    with installation.replica():
        installation.wait_for(installation.history, len(puts))

    told = outcomes(installation)
    assert told.pop(b"poison") == (b"undeliverable", b"too-large")
    assert set(told.values()) == {(b"fired", None)}
    delivered = [message["scheduler-key"] for message in installation.read(narrow)]
    assert len(delivered) == len(set(delivered)) == 999
    assert set(delivered) == set(told)
    assert [dead.key for dead in installation.read(installation.dead_letters)] == [b"poison"]


@pytest.mark.parametrize("large", ["payload", "headers", "key"])
def test_what_the_history_cannot_take_fires_nevertheless_and_as_much_is_told_as_fits(
    installation: Installation, large: str
) -> None:
    """Its target takes it, so it has fired, whatever the history can hold of it."""
    alter(installation.broker, installation.history, "max.message.bytes", "20000")
    junk = os.urandom(30_000)
    put = {
        "payload": lambda: installation.schedule(b"large", junk, epoch=0, headers=[("trace", b"1")]),
        "headers": lambda: installation.schedule(b"large", epoch=0, headers=[("trace", junk)]),
        "key": lambda: installation.schedule(junk, epoch=0),
    }[large]()
    with installation.replica():
        installation.write(put, installation.schedule(b"neighbour", epoch=0))
        installation.fired(put.key or b"", b"neighbour")
        wait_until(lambda: len(installation.read(installation.schedules)) == 4, "both have ended")

    assert len(installation.read(installation.target)) == 2
    assert installation.read(installation.dead_letters) == []
    told = {record.key: record for record in installation.read(installation.history)}
    assert told.pop(b"neighbour")["scheduler-outcome"] == b"fired"
    if large == "key":
        assert told == {}, "nothing that names it fits"
        return
    (record,) = told.values()
    assert (record.key, record.value, record["scheduler-outcome"]) == (b"large", None, b"fired")
    assert (record["scheduler-reason"], record["scheduler-epoch"]) == (b"too-large", b"0")
    assert record["trace"] == (b"1" if large == "payload" else None)


def test_a_key_that_leaves_no_room_for_what_is_said_of_it_is_undeliverable(installation: Installation) -> None:
    """The message would hold it twice more: as schedule id, and in the fire id."""
    key = os.urandom(900_000)
    with installation.replica():
        installation.write(
            installation.schedule(key, epoch=0),
            installation.schedule(b"neighbour", epoch=0),
        )
        installation.fired(b"neighbour")
        (told,) = installation.wait_for(installation.history, key=key)
        (dead,) = installation.wait_for(installation.dead_letters)

    assert (told["scheduler-outcome"], told["scheduler-reason"]) == (b"undeliverable", b"too-large")
    assert (dead.key, dead.headers) == (key, told.headers)
    assert [record.key for record in installation.read(installation.target)] == [None]


def test_a_refusal_in_the_middle_of_a_large_batch_is_known_for_what_it_is(
    installation: Installation, topics: Topics
) -> None:
    """The client only says that the transaction is in the wrong state; taken for a passing fault, it would go on."""
    narrow = topics.create("narrow", config={"max.message.bytes": "2000"})
    publisher = Publisher(
        transactional_conf(installation.settings(), "publisher", installation.group_id),
        installation.schedules,
        clock,
        Watchdog(clock),
    )
    publisher.open()
    poison = Out(narrow, None, None, os.urandom(5000), [])
    sound = Out(installation.target, None, None, b"sound", [])

    with pytest.raises(PublishError) as failure:
        publisher.publish(poison if number == 0 else sound for number in range(100_000))

    assert (failure.value.reason, failure.value.refused) == (Reason.TOO_LARGE, {narrow})
    publisher.open()
    publisher.publish([sound])
    publisher.close()
    assert len(installation.read(installation.target)) == 1


# ---------------------------------------------------------------- rights


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A broker that asks for rights."""
    with LocalKafka(heap="512m", properties=GUARDED) as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture
def guarded_topics(guarded: str) -> Iterator[Topics]:
    made = Topics(guarded)
    yield made
    made.delete()


@pytest.fixture
def rights(guarded: str, guarded_topics: Topics) -> Iterator[Rights]:  # noqa: ARG001 - given back before they are deleted
    made = Rights(guarded)
    yield made
    made.clear()


def test_a_target_that_the_scheduler_may_not_write_to_is_undeliverable_and_its_neighbours_fire(
    guarded: str, guarded_topics: Topics, rights: Rights
) -> None:
    """Nor one that it may not even see; and one that it may not write to any more, while it runs."""
    installation = Installation.make(guarded, guarded_topics)
    hidden, closed, closing = (guarded_topics.create(name) for name in ("hidden", "closed", "closing"))
    rights.deny(hidden, AclOperation.DESCRIBE)
    rights.deny(closed, AclOperation.WRITE)
    bad = {b"hidden": hidden, b"closed": closed, b"closing": closing}
    with installation.replica():
        installation.write(installation.schedule(b"while it was open", epoch=0, target_topic=closing))
        installation.wait_for(closing)
        rights.deny(closing, AclOperation.WRITE)
        due_ms = clock.now_ms() + 300
        near = neighbours(installation, due_ms)
        installation.write(
            *(installation.schedule(key, b"its", due_ms=due_ms, target_topic=topic) for key, topic in bad.items()),
            *near,
        )
        fired_on_time(installation, near)
        dead = installation.wait_for(installation.dead_letters, len(bad))

    told = outcomes(installation)
    assert {key: told[key] for key in bad} == dict.fromkeys(bad, (b"undeliverable", b"not-authorized"))
    assert set(told) == {*bad, b"while it was open", *(put.key for put in near)}
    assert {record.key: (record["scheduler-target-topic"], record.value) for record in dead} == {
        key: (topic.encode(), b"its") for key, topic in bad.items()
    }


def test_a_history_that_may_not_be_written_condemns_nothing(
    guarded: str, guarded_topics: Topics, rights: Rights
) -> None:
    """What fires without a line of history would be nowhere; it waits until the right is given back."""
    installation = Installation.make(guarded, guarded_topics)
    with installation.replica() as replica:
        rights.deny(installation.history, AclOperation.WRITE)
        installation.write(installation.schedule(b"waits", epoch=0))
        wait_until(lambda: failures(replica) >= 3, "it was tried three times")
        assert installation.read(installation.target) == []
        rights.give_back(installation.history)
        installation.fired(b"waits")

    assert outcomes(installation) == {b"waits": (b"fired", None)}
    assert len(installation.read(installation.target)) == 1
    assert installation.read(installation.dead_letters) == []


# ---------------------------------------------------------------- a target that is out of order


@pytest.fixture(scope="module")
def three() -> Iterator[LocalKafka]:
    """A cluster that can lose a broker, and says so soon."""
    sessions = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with LocalKafka(brokers=3, heap="384m", properties=sessions) as kafka:
        yield kafka


def placed(broker: str, name: str, brokers: list[int], config: dict[str, str]) -> str:
    """A topic of one partition on these very brokers."""
    admin, topic = AdminClient({"bootstrap.servers": broker, "log_level": 0}), unused(name)
    new = NewTopic(topic, 1, replica_assignment=[brokers], config=config)
    admin.create_topics([new])[topic].result(SECONDS)
    return topic


def test_a_target_without_enough_replicas_or_leader_waits_and_its_neighbours_fire(
    three: LocalKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """It was well when it was last fired to; once it takes records again, it gets its messages, once."""
    lost = 3
    installation = Installation.make(three.bootstrap_servers, Topics(three.bootstrap_servers))
    broker = installation.broker
    pair = placed(broker, "pair", [1, lost], {"min.insync.replicas": "2"})
    lone = placed(broker, "lone", [lost], {"min.insync.replicas": "1"})
    waits = [b"waits-%d" % number for number in range(5)]
    with installation.replica() as replica:
        installation.write(
            *(installation.schedule(topic.encode(), epoch=0, target_topic=topic) for topic in (pair, lone))
        )
        for topic in (pair, lone, installation.history):  # every partition has been told how the transaction ended
            installation.wait_for(topic)
        wait_until_pending(replica, 0)
        three.kill(lost)
        wait_until_in_sync_without(broker, lost)
        # until it has noticed, a delivery would have to wait for the broker to come back
        wait_until(lambda: caplog.messages.count("target takes nothing any more") == 2, "it is noticed")
        # whichever broker is asked: they hear of the loss one after the other
        cluster = Cluster(installation.settings(), "test")
        wait_until(lambda: all(cluster.ailment(topic) for topic in [pair, lone] * 20), "every broker knows")
        installation.write(installation.schedule(b"after", epoch=0))  # waits for the transactions' new coordinator
        installation.fired(b"after")
        before = failures(replica)
        due_ms = clock.now_ms() + 200
        near = neighbours(installation, due_ms)
        installation.write(
            *(installation.schedule(key, due_ms=due_ms, target_topic=pair) for key in waits),
            installation.schedule(b"leaderless", due_ms=due_ms, target_topic=lone),
            *near,
        )
        installation.fired(*(put.key or b"" for put in near))
        wait_until_postponed(replica, 6)
        assert failures(replica) == before, "nothing is tried that cannot succeed"
        alter(broker, pair, "min.insync.replicas", "1")
        installation.wait_for(pair, 1 + len(waits))
        installation.wait_for(installation.history, 3 + len(near) + len(waits))

    messages = [message["scheduler-key"] or b"" for message in installation.read(installation.target)]
    assert sorted(messages) == sorted([b"after", *(put.key or b"" for put in near)])
    assert set(outcomes(installation).values()) == {(b"fired", None)}
    assert b"leaderless" not in outcomes(installation)
    delivered = [message["scheduler-key"] for message in installation.read(pair)]
    assert sorted(key or b"" for key in delivered) == sorted([pair.encode(), *waits])
    assert installation.read(installation.dead_letters) == []


def wait_until_in_sync_without(broker: str, lost: int) -> None:
    """Return once every partition counts on the other brokers alone."""
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    wait_until(
        lambda: all(
            lost not in partition.isrs or partition.leader < 0
            for topic in admin.list_topics(timeout=SECONDS).topics.values()
            for partition in topic.partitions.values()
        ),
        f"no partition waits for broker {lost}",
    )
