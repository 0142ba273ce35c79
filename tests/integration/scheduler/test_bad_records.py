"""What cannot be read or delivered is recorded with its reason, and never in the way of the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from tests.support.broker import Topics
    from tests.support.records import Record
    from tests.support.schedules import Installation

NEIGHBOURS = [b"neighbour-%d" % number for number in range(6)]


def outcomes(installation: Installation) -> dict[bytes | None, tuple[bytes | None, bytes | None]]:
    """Outcome and reason of each schedule in the history; none is there twice."""
    records = installation.read(installation.history)
    said = {record.key: (record["scheduler-outcome"], record["scheduler-reason"]) for record in records}
    assert len(said) == len(records)
    return said


def comparable(record: Record) -> tuple[object, ...]:
    return record.key, record.value, record.headers


def test_a_malformed_schedule_is_rejected_with_its_reason(installation: Installation) -> None:
    with installation.replica():
        installation.write(
            installation.schedule(b"no due time"),
            installation.schedule(b"epoch", b"\xffpayload", epoch="tomorrow", headers=[("trace", b"1")]),
            installation.schedule(b"no target", epoch=0, target_topic=None),
            installation.schedule(b"cron", cron="61 * * * *"),
            installation.schedule(b"header", epoch=0, cluster="a"),
            installation.schedule(b"good", epoch=0),
        )
        installation.fired(b"good")
        installation.wait_for(installation.history, 6)

    assert outcomes(installation) == {
        b"no due time": (b"rejected", b"missing-due-time"),
        b"epoch": (b"rejected", b"bad-epoch"),
        b"no target": (b"rejected", b"missing-target-topic"),
        b"cron": (b"rejected", b"bad-cron"),
        b"header": (b"rejected", b"unknown-header"),
        b"good": (b"fired", None),
    }
    (rejected,) = [record for record in installation.read(installation.history) if record.key == b"epoch"]
    assert rejected.value == b"\xffpayload"
    assert rejected["trace"] == b"1"
    assert b"tomorrow" in (rejected["scheduler-reason-detail"] or b"")


def test_a_malformed_update_leaves_the_last_good_version_in_force(installation: Installation) -> None:
    """It is told once, over a restart too, and the good version is written again behind it."""
    due_ms = clock.now_ms() + 1500
    with installation.replica():
        installation.write(
            installation.schedule(b"a", b"good", due_ms=due_ms),
            installation.schedule(b"a", b"bad", epoch="tomorrow"),
        )
        _, bad, again = installation.wait_for(installation.schedules, 3)
        assert (bad.value, again.value) == (b"bad", b"good")
    with installation.replica():
        (message,) = installation.fired(b"a")

    assert message.value == b"good"
    assert message.timestamp_ms >= due_ms
    told = installation.read(installation.history)
    assert [(record.value, record["scheduler-outcome"]) for record in told] == [
        (b"bad", b"rejected"),
        (b"good", b"fired"),
    ]
    assert len(installation.read(installation.target)) == 1


@pytest.mark.parametrize("running", [True, False], ids=["while a replica runs", "before one starts"])
def test_an_unknown_target_topic_is_undeliverable_and_its_neighbours_fire(
    installation: Installation, running: bool
) -> None:
    due_ms = clock.now_ms() + (500 if running else 0)
    puts = [installation.schedule(key, due_ms=due_ms) for key in NEIGHBOURS]
    unknown = installation.schedule(
        b"poison", b"payload of poison", due_ms=due_ms, target_topic="unknown-to-the-broker"
    )
    puts.insert(3, unknown)
    if not running:
        installation.write(*puts)
    with installation.replica():
        if running:
            installation.write(*puts)
        installation.fired(*NEIGHBOURS)
        (dead,) = installation.wait_for(installation.dead_letters)

    assert outcomes(installation) == {
        **dict.fromkeys(NEIGHBOURS, (b"fired", None)),
        b"poison": (b"undeliverable", b"unknown-target-topic"),
    }
    (told,) = [record for record in installation.read(installation.history) if record.key == b"poison"]
    assert comparable(dead) == comparable(told)
    assert dead.value == b"payload of poison"
    assert dead["scheduler-target-topic"] == b"unknown-to-the-broker"
    ended = [record.key for record in installation.read(installation.schedules) if record.value is None]
    assert sorted(key or b"" for key in ended) == sorted([*NEIGHBOURS, b"poison"])
    assert len(installation.read(installation.target)) == len(NEIGHBOURS)


def test_a_record_too_large_for_its_target_is_undeliverable_and_its_neighbours_fire(
    installation: Installation, topics: Topics
) -> None:
    """Those for the same target too, although they are too much for it in one batch."""
    narrow = topics.create("narrow", config={"max.message.bytes": "2000"})
    # random bytes, which no compression makes smaller
    sound = {b"sound-%d" % number: os.urandom(600) for number in range(5)}
    now_ms = clock.now_ms()
    puts = [installation.schedule(key, due_ms=now_ms) for key in NEIGHBOURS]
    puts += [installation.schedule(key, value, due_ms=now_ms, target_topic=narrow) for key, value in sound.items()]
    puts.insert(4, installation.schedule(b"poison", os.urandom(5000), due_ms=now_ms, target_topic=narrow))
    installation.write(*puts)
    with installation.replica():
        installation.fired(*NEIGHBOURS)
        installation.wait_for(installation.history, len(puts))

    assert outcomes(installation) == {
        **dict.fromkeys([*NEIGHBOURS, *sound], (b"fired", None)),
        b"poison": (b"undeliverable", b"too-large"),
    }
    assert {message["scheduler-key"]: message.value for message in installation.read(narrow)} == sound
    assert len(installation.read(narrow)) == len(sound)
    assert len(installation.read(installation.target)) == len(NEIGHBOURS)
    assert [record.value for record in installation.read(installation.dead_letters)] == [puts[4].value]


def test_forbidden_targets_are_undeliverable(installation: Installation) -> None:
    forbidden = {
        b"internal": "__consumer_offsets",
        b"schedules": installation.schedules,
        b"history": installation.history,
    }
    with installation.replica():
        installation.write(
            *(installation.schedule(key, epoch=0, target_topic=topic) for key, topic in forbidden.items()),
            installation.schedule(b"partition", epoch=0, target_partition=1),
            installation.schedule(b"good", epoch=0),
        )
        installation.fired(b"good")
        installation.wait_for(installation.history, len(forbidden) + 2)

    assert outcomes(installation) == {
        **dict.fromkeys(forbidden, (b"undeliverable", b"forbidden-target-topic")),
        b"partition": (b"undeliverable", b"unknown-target-partition"),
        b"good": (b"fired", None),
    }
    dead = [record.key for record in installation.read(installation.dead_letters)]
    assert sorted(key or b"" for key in dead) == sorted([*forbidden, b"partition"])
    assert all(record.value is None for record in installation.read(installation.schedules)[5:])


def test_a_target_topic_that_was_deleted_is_undeliverable_and_its_neighbours_fire(
    installation: Installation, topics: Topics
) -> None:
    """It was there when the replica last looked."""
    gone = topics.create("gone")
    admin = AdminClient({"bootstrap.servers": installation.broker, "log_level": 0})
    with installation.replica():
        installation.write(installation.schedule(b"while it was there", epoch=0, target_topic=gone))
        installation.wait_for(gone)
        admin.delete_topics([gone])[gone].result(SECONDS)
        installation.write(
            *(installation.schedule(key, epoch=0) for key in NEIGHBOURS),
            installation.schedule(b"poison", epoch=0, target_topic=gone),
        )
        installation.fired(*NEIGHBOURS)
        installation.wait_for(installation.dead_letters)

    assert outcomes(installation) == {
        **dict.fromkeys([*NEIGHBOURS, b"while it was there"], (b"fired", None)),
        b"poison": (b"undeliverable", b"unknown-target-topic"),
    }


def test_a_partition_that_the_target_got_later_is_fired_to(installation: Installation, topics: Topics) -> None:
    wider = topics.create("wider")
    admin = AdminClient({"bootstrap.servers": installation.broker, "log_level": 0})
    with installation.replica():
        installation.write(installation.schedule(b"before", epoch=0, target_topic=wider))
        installation.wait_for(wider)
        admin.create_partitions([NewPartitions(wider, 3)])[wider].result(SECONDS)
        wait_until(lambda: len(admin.list_topics(wider).topics[wider].partitions) == 3, "there are three partitions")
        installation.write(installation.schedule(b"after", epoch=0, target_topic=wider, target_partition=2))
        installation.wait_for(installation.history, 2)

    assert outcomes(installation) == {b"before": (b"fired", None), b"after": (b"fired", None)}
    assert {message.partition for message in installation.read(wider)} == {0, 2}
