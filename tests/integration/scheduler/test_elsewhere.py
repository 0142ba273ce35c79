"""Targets on another cluster: at least once, in an order that loses nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AclOperation

from dev.local_kafka import LocalKafka
from scheduler.broker.publisher import Publisher
from scheduler.runtime.kafka import transactional_conf
from scheduler.runtime.watchdog import Watchdog
from tests.support.broker import Topics
from tests.support.processes import Replicas
from tests.support.rights import GUARDED, Rights
from tests.support.schedules import SECONDS, Installation, clock, epoch, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scheduler.service import Scheduler
    from tests.support.broker import Broker
    from tests.support.records import Record


@pytest.fixture(scope="module")
def second() -> Iterator[LocalKafka]:
    """A cluster of its own beside the run's."""
    # a node that was killed is let in again when its session is over
    sessions = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with LocalKafka(heap="512m", properties={**GUARDED, **sessions}) as kafka:
        yield kafka


@pytest.fixture
def second_topics(second: LocalKafka) -> Iterator[Topics]:
    made = Topics(second.bootstrap_servers)
    yield made
    made.delete()


class Pair:
    """An installation whose targets are on another cluster."""

    def __init__(self, home: Installation, elsewhere: str, target: str) -> None:
        # schedules name the topic; at home there is none of that name
        self.home = replace(home, target=target)
        self.there = replace(home, broker=elsewhere, target=target)
        self.elsewhere = elsewhere

    def fired(self) -> list[Record]:
        """What stands in the target topic."""
        return self.there.read(self.there.target)

    def told(self) -> dict[bytes | None, bytes | None]:
        """Outcome of each schedule; none is in the history twice."""
        records = self.home.read(self.home.history)
        said = {record.key: record["scheduler-outcome"] for record in records}
        assert len(said) == len(records)
        return said


@pytest.fixture
def pair(installation: Installation, second: LocalKafka, second_topics: Topics) -> Pair:
    return Pair(installation, second.bootstrap_servers, second_topics.create("elsewhere"))


def failures(replica: Scheduler) -> float:
    """Transactions and deliveries that did not end well."""
    (counter,) = (each for each in replica.registry.collect() if each.name == "scheduler_transaction_failures")
    return sum(sample.value for sample in counter.samples if sample.name.endswith("_total"))


def test_delivers_to_the_other_cluster_and_keeps_its_books_at_home(pair: Pair) -> None:
    home, due_ms = pair.home, clock.now_ms() + 200
    customers = [("trace", b"1"), ("trace", b"2"), ("null", None), ("binary", b"\xff\x00")]
    with home.replica(target_bootstrap_servers=pair.elsewhere):
        written, _ = home.write(
            home.schedule(b"a", b"\x00payload", due_ms=due_ms, target_key=b"k", headers=customers),
            home.schedule(b"tombstone", due_ms=due_ms, target_tombstone="true"),
        )
        home.wait_for(home.history, 2)

    messages = {message["scheduler-key"]: message for message in pair.fired()}
    message = messages[b"a"]
    assert len(pair.fired()) == 2
    assert messages[b"tombstone"].value is None
    assert (message.key, message.value) == (b"k", b"\x00payload")
    assert message.headers == [
        *customers,
        ("scheduler-timestamp", b"%d" % (written.timestamp_ms // 1000)),
        ("scheduler-key", b"a"),
        ("scheduler-topic", home.schedules.encode()),
        ("scheduler-epoch", epoch(due_ms).encode() if due_ms % 1000 else b"%d" % (due_ms // 1000)),
        ("scheduler-fire-id", b"a@%d" % due_ms),
    ]
    assert message.timestamp_ms >= due_ms
    assert pair.told() == {b"a": b"fired", b"tombstone": b"fired"}
    ended = [record.key for record in home.read(home.schedules) if record.value is None]
    assert sorted(key or b"" for key in ended) == [b"a", b"tombstone"]


def test_a_recurring_schedule_recurs_there(pair: Pair) -> None:
    home = pair.home
    with home.replica(target_bootstrap_servers=pair.elsewhere):
        home.write(home.schedule(b"recurs", cron="@every 1s", misfire="all"))
        home.wait_for(home.history, 3)

    fire_ids = [record["scheduler-fire-id"] for record in home.read(home.history)]
    assert len(set(fire_ids)) == len(fire_ids)
    assert [message["scheduler-fire-id"] for message in pair.fired()] == fire_ids


def test_what_the_other_cluster_refuses_is_undeliverable_and_the_rest_fires(
    pair: Pair, installation: Installation, second: LocalKafka, second_topics: Topics
) -> None:
    """A topic that is at home and not there, one that it may not write to, a message that is too large there."""
    home, rights = pair.home, Rights(second.bootstrap_servers)
    narrow = second_topics.create("narrow", config={"max.message.bytes": "2000"})
    closed = second_topics.create("closed")
    rights.deny(closed, AclOperation.WRITE)
    sound = [b"sound-%d" % number for number in range(20)]
    fit = [b"fits-%d" % number for number in range(10)]
    now_ms = clock.now_ms()
    with home.replica(target_bootstrap_servers=pair.elsewhere):
        home.write(
            *(home.schedule(key, due_ms=now_ms) for key in sound),
            home.schedule(b"only at home", due_ms=now_ms, target_topic=installation.target),
            home.schedule(b"closed", due_ms=now_ms, target_topic=closed),
            home.schedule(b"too large", os.urandom(5000), due_ms=now_ms, target_topic=narrow),
            *(home.schedule(key, due_ms=now_ms, target_topic=narrow) for key in fit),
        )
        dead = home.wait_for(home.dead_letters, 3)
        home.wait_for(home.history, len(sound) + len(fit) + 3)
    rights.clear()

    assert {record.key: record["scheduler-reason"] for record in dead} == {
        b"only at home": b"unknown-target-topic",
        b"closed": b"not-authorized",
        b"too large": b"too-large",
    }
    assert pair.told() == {
        **dict.fromkeys([*sound, *fit], b"fired"),
        **{record.key: b"undeliverable" for record in dead},
    }
    assert sorted(message["scheduler-key"] or b"" for message in pair.fired()) == sorted(sound)
    assert home.read(installation.target) == []
    assert sorted(message["scheduler-key"] or b"" for message in pair.there.read(narrow)) == fit


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_nothing_is_lost_while_the_other_cluster_is_down_and_the_rest_goes_on(
    pair: Pair, second: LocalKafka, how: str
) -> None:
    """What has not been acknowledged is delivered again: each schedule arrives, under one fire id, told once."""
    home = pair.home
    keys = [b"waits-%d" % number for number in range(50)]
    with home.replica(target_bootstrap_servers=pair.elsewhere) as replica:
        home.write(home.schedule(b"before", epoch=0), home.schedule(b"cancelled", due_ms=clock.now_ms() + 3_600_000))
        home.wait_for(home.history)
        (second.freeze if how == "frozen" else second.kill)(1)
        try:
            home.write(*(home.schedule(key, due_ms=clock.now_ms()) for key in keys))
            wait_until(
                lambda: sum(each.postponed for each in replica.standings().values()) == len(keys), "all of them wait"
            )
            home.write(home.cancel(b"cancelled"))
            home.wait_for(home.history, key=b"cancelled")
            assert pair.told() == {b"before": b"fired", b"cancelled": b"cancelled"}
        finally:
            if how == "frozen":
                second.thaw(1)
            else:
                second.restart(1)
        home.wait_for(home.history, len(keys) + 2)

    assert pair.told() == {**dict.fromkeys([*keys, b"before"], b"fired"), b"cancelled": b"cancelled"}
    fire_ids = {(message["scheduler-key"], message["scheduler-fire-id"]) for message in pair.fired()}
    assert sorted(key or b"" for key, _ in fire_ids) == sorted([*keys, b"before"])


def test_a_crash_between_the_delivery_and_the_books_delivers_again_with_the_same_fire_id(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Fenced from outside, the owner has delivered and cannot tell; its successor does both."""
    home = pair.home
    name = f"{home.group_id}-{home.schedules}-0"
    with home.replica(target_bootstrap_servers=pair.elsewhere):
        intruder = Publisher(
            transactional_conf(home.settings(), "intruder", name), home.schedules, clock, Watchdog(clock)
        )
        intruder.open()
        home.write(home.schedule(b"a", epoch=0, headers=[("trace", b"1")]))
        pair.there.wait_for(pair.there.target, 2)
        home.wait_for(home.history)
        intruder.close()

    first, again = pair.fired()
    assert (first.key, first.value, first.headers) == (again.key, again.value, again.headers)
    assert first["scheduler-fire-id"] == b"a@0"
    assert pair.told() == {b"a": b"fired"}
    assert "fenced" in caplog.messages
    assert "partition failed" not in caplog.messages


def test_a_transaction_that_fails_at_home_does_not_deliver_again(
    broker: Broker, topics: Topics, second: LocalKafka, second_topics: Topics
) -> None:
    """Nor does the history call it late or cancelled, because of what came to pass after the delivery."""
    pair = Pair(
        Installation.make(second.bootstrap_servers, second_topics), broker.bootstrap_servers, topics.create("elsewhere")
    )
    home, rights = pair.home, Rights(second.bootstrap_servers)
    with home.replica(target_bootstrap_servers=pair.elsewhere) as replica:
        rights.deny(home.history, AclOperation.WRITE)
        due_ms = clock.now_ms()
        home.write(
            home.schedule(b"plain", due_ms=due_ms),
            home.schedule(b"skipped when late", due_ms=due_ms, misfire="skip", misfire_grace="1s"),
            home.schedule(b"cancelled", due_ms=due_ms),
            home.schedule(b"recurs", cron="@every 1s", epoch=epoch(due_ms)),
        )
        pair.there.wait_for(pair.there.target, 4)
        home.write(home.cancel(b"cancelled"))
        wait_until(lambda: failures(replica) >= 4, "it was tried four times")
        wait_until(lambda: clock.now_ms() > due_ms + 2500, "two occurrences have passed")
        rights.give_back(home.history)
        home.wait_for(home.history, 5)
        home.write(home.cancel(b"recurs"))
        wait_until_pending(replica, 0)

    told = home.read(home.history)
    fired = {record["scheduler-fire-id"] for record in told if record["scheduler-outcome"] == b"fired"}
    messages = [message["scheduler-fire-id"] for message in pair.fired()]
    assert sorted(message or b"" for message in messages) == sorted(fire_id or b"" for fire_id in fired)
    assert {b"%s@%d" % (key, due_ms) for key in (b"plain", b"skipped when late", b"cancelled", b"recurs")} <= fired


def test_a_replica_that_was_frozen_delivers_nothing_from_what_it_remembers(pair: Pair, tmp_path: Path) -> None:
    """Its partition is another's by then, and its schedule was cancelled in time; no fence holds over there."""
    home = pair.home
    environment = {**home.environment(), "TARGET_BOOTSTRAP_SERVERS": pair.elsewhere, "SERVER_ADDR": "off"}
    environment["METRICS_HTTP_ADDR"] = "off"
    with Replicas(environment, tmp_path, clock) as replicas:
        frozen = replicas.start("frozen")
        frozen.wait_for("restored", seconds=SECONDS)
        home.write(home.schedule(b"before", epoch=0))
        home.wait_for(home.history)
        due_ms = clock.now_ms() + 5000  # time to freeze it, and less than until others take over
        home.write(home.schedule(b"cancelled", due_ms=due_ms))
        home.write(home.schedule(b"read", epoch=0))  # behind it: what stands before it has been read as well
        home.wait_for(home.history, 2)
        frozen.freeze()
        home.write(home.cancel(b"cancelled"))
        assert clock.now_ms() < due_ms, "the machine is too slow for this test"
        other = replicas.start("other")
        other.wait_for("restored", seconds=SECONDS)
        home.wait_for(home.history, key=b"cancelled")
        frozen.thaw()
        # it has noticed: whatever it had in mind to deliver, it has by then
        frozen.wait_for("lost", "revoked", seconds=SECONDS)
        home.write(home.schedule(b"after", epoch=0))
        home.wait_for(home.history, key=b"after")
        frozen.ask_to_stop()
        frozen.exit_code(SECONDS)

    assert sorted(message["scheduler-key"] or b"" for message in pair.fired()) == [b"after", b"before", b"read"]
