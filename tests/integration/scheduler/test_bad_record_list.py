"""Every record that is no schedule: told once with its reason, tombstoned where it stands, counted, in nobody's way.

One replica reads all of them, with good ones between; it stays up, and a restart finds nothing left to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.raw_produce import produce_raw
from tests.support.schedules import JAVA, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.service import Scheduler
    from tests.support.records import Put, Record
    from tests.support.schedules import Installation

PARTITIONS = 3
FAR_MS = 4_102_444_800_000
"""The year 2100."""

BAD: dict[str, tuple[str, dict[str, bytes | str | int | None]]] = {
    # name of the case: the reason that is expected, and what the record states beside a sound target
    "no due time": ("missing-due-time", {}),
    "two due times": ("several-due-times", {"epoch": 0, "delay": "1s"}),
    "three due times": ("several-due-times", {"epoch": 0, "delay": "1s", "at": "2030-01-01T00:00:00Z"}),
    "epoch: word": ("bad-epoch", {"epoch": "tomorrow"}),
    "epoch: empty": ("bad-epoch", {"epoch": ""}),
    "epoch: negative": ("bad-epoch", {"epoch": -1}),
    "epoch: NaN": ("bad-epoch", {"epoch": "NaN"}),
    "epoch: Infinity": ("bad-epoch", {"epoch": "Infinity"}),
    "epoch: exponent": ("bad-epoch", {"epoch": "1e9"}),
    "epoch: hexadecimal": ("bad-epoch", {"epoch": "0x10"}),
    "epoch: underscore": ("bad-epoch", {"epoch": "1_000"}),
    "epoch: spaces": ("bad-epoch", {"epoch": " 1 "}),
    "epoch: full-width digits": ("bad-epoch", {"epoch": "\uff11\uff12\uff13"}),
    "epoch: milliseconds": ("bad-epoch", {"epoch": 1_893_456_000_000}),
    "epoch: 2^53": ("bad-epoch", {"epoch": 2**53}),
    "epoch: 2^63-1": ("bad-epoch", {"epoch": 2**63 - 1}),
    "epoch: 10^30": ("bad-epoch", {"epoch": 10**30}),
    "epoch: 100,000 digits": ("bad-epoch", {"epoch": "9" * 100_000}),
    "epoch: four decimals": ("bad-epoch", {"epoch": "1.0001"}),
    "epoch: not UTF-8": ("not-utf8", {"epoch": b"\xff\xfe"}),
    "at: no offset": ("bad-at", {"at": "2030-01-01T00:00:00"}),
    "at: bad zone": ("bad-at", {"at": "2030-01-01T00:00:00+99:00"}),
    "at: zone name": ("bad-at", {"at": "2030-01-01T00:00:00Europe/Riga"}),
    "at: no such day": ("bad-at", {"at": "2030-02-30T00:00:00Z"}),
    "at: before 1970": ("bad-at", {"at": "1969-12-31T23:59:59Z"}),
    "delay: no unit": ("bad-delay", {"delay": "90"}),
    "delay: negative": ("bad-delay", {"delay": "-1s"}),
    "delay: months": ("bad-delay", {"delay": "P1M"}),
    "delay: for ever": ("bad-delay", {"delay": "9999999d"}),
    "no target": ("missing-target-topic", {"epoch": 0, "target_topic": None}),
    "target: empty": ("bad-target-topic", {"epoch": 0, "target_topic": ""}),
    "target: slash": ("bad-target-topic", {"epoch": 0, "target_topic": "a/b"}),
    "target: dots": ("bad-target-topic", {"epoch": 0, "target_topic": ".."}),
    "target: too long": ("bad-target-topic", {"epoch": 0, "target_topic": "t" * 250}),
    "target: not UTF-8": ("not-utf8", {"epoch": 0, "target_topic": b"\xff"}),
    "partition: negative": ("bad-target-partition", {"epoch": 0, "target_partition": -1}),
    "partition: 2^31": ("bad-target-partition", {"epoch": 0, "target_partition": 2**31}),
    "partition: word": ("bad-target-partition", {"epoch": 0, "target_partition": "first"}),
    "cron: minute 61": ("bad-cron", {"cron": "61 * * * *"}),
    "cron: 31 February": ("bad-cron", {"cron": "* * 31 2 *"}),
    "cron: six fields": ("bad-cron", {"cron": "* * * * * *"}),
    "cron: empty": ("bad-cron", {"cron": ""}),
    "cron: every nothing": ("bad-cron", {"cron": "@every 0s"}),
    "zone: unknown": ("bad-timezone", {"cron": "* * * * *", "timezone": "Europe/Atlantis"}),
    "zone: path": ("bad-timezone", {"cron": "* * * * *", "timezone": "../../etc/passwd"}),
    "zone: without cron": ("bad-timezone", {"epoch": 0, "timezone": "UTC"}),
    "misfire: unknown": ("bad-misfire", {"epoch": 0, "misfire": "retry"}),
    "misfire: of recurring ones": ("bad-misfire", {"epoch": 0, "misfire": "all"}),
    "grace: word": ("bad-misfire", {"epoch": 0, "misfire_grace": "long"}),
    "tombstone: maybe": ("bad-target-tombstone", {"epoch": 0, "target_tombstone": "maybe"}),
    "paused: yes": ("bad-paused", {"epoch": 0, "paused": "yes"}),
    "replaces: word": ("bad-replaces", {"epoch": 0, "replaces": "none"}),
    "a misspelling": ("unknown-header", {"epoch": 0, "target_topics": "t"}),
}


def bad_puts(installation: Installation) -> dict[bytes, tuple[str, Put]]:
    """Each case by its key: the expected reason, and the record."""
    cases = {
        name.encode(): (reason, installation.schedule(name.encode(), **stated))
        for name, (reason, stated) in BAD.items()
    }

    def add(name: bytes, reason: str, *headers: tuple[str, bytes | None]) -> None:
        cases[name] = reason, installation.schedule(name, headers=headers)

    add(b"header twice", "repeated-header", ("scheduler-epoch", b"0"), ("scheduler-epoch", b"0"))
    add(b"epoch: null", "bad-epoch", ("scheduler-epoch", None))
    cases[b"\xff\xfe"] = "bad-epoch", installation.schedule(b"\xff\xfe", epoch="key is not UTF-8")
    cases[b""] = "missing-key", installation.schedule(b"", epoch=0)
    cases[b"k" * 20_000] = "bad-epoch", installation.schedule(b"k" * 20_000, epoch="long key")
    return cases


def good_puts(installation: Installation) -> dict[bytes, Put]:
    """What looks odd and is a schedule: each fires at once."""
    now_s = clock.now_ms() // 1000
    many = [(f"header-{number}", b"x") for number in range(10_000)]
    same = [("twice", b"1"), ("twice", b"2"), ("null", None), ("bytes", b"\xff"), ("\u00e9", b"utf-8 name"), ("", b"-")]
    return {
        put.key or b"": put
        for put in (
            installation.schedule(b"plain", epoch=now_s),
            installation.schedule(b"1970", epoch=0),
            installation.schedule(b"empty payload", b"", epoch=0),
            installation.schedule(b"999,000 bytes", b"\0" * 999_000, epoch=0),
            installation.schedule(b"deep JSON", b"[" * 100_000, epoch=0),
            installation.schedule(b"10,000 headers", epoch=0, headers=many),
            installation.schedule(b"odd headers", epoch=0, headers=same),
            installation.schedule(b"key of the target is not UTF-8", epoch=0, target_key=b"\xff"),
            installation.schedule(b"\xc3\x28", epoch=0),
        )
    }


def lasting_puts(installation: Installation) -> list[Put]:
    """Sound ones that stay pending."""
    return [
        installation.schedule(b"2^31", epoch=2**31),
        installation.schedule(b"the last second of 9999", epoch=253_402_300_799),
        installation.schedule(b"in a gap of summer time", cron="30 3 29 3 *", timezone="Europe/Riga"),
    ]


def counted(replica: Scheduler) -> dict[str, float]:
    words = ("planned", "triggered", "missed", "invalid", "deleted", "undeliverable")
    sample = replica.registry.get_sample_value
    return {word: sample("kafka_scheduler_event_total", {"type": word}) or 0.0 for word in words}


def last_of_each_key(records: list[Record]) -> dict[bytes | None, Record]:
    return {record.key: record for record in records}


@pytest.mark.parametrize("partitioner", [JAVA, "consistent_random"])
def test_every_bad_record_is_told_tombstoned_and_counted_and_the_good_ones_fire(
    install: Callable[..., Installation], partitioner: str
) -> None:
    installation = install(partitions=PARTITIONS)
    bad, good, lasting = bad_puts(installation), good_puts(installation), lasting_puts(installation)
    # the good ones between the bad ones
    puts = [put for _, put in bad.values()]
    for number, put in enumerate(good.values()):
        puts.insert(number * len(puts) // len(good), put)
    with installation.replica() as replica:
        stood = installation.write(*puts, *lasting, partitioner=partitioner)
        installation.wait_for(installation.history, len(puts))
        wait_until_pending(replica, len(lasting))
        # what is committed is read before it is counted
        wait_until(lambda: counted(replica)["invalid"] + counted(replica)["triggered"] >= len(puts), "all is counted")
        events = counted(replica)
    with installation.replica() as again:
        assert sum(each.pending for each in again.standings().values()) == len(lasting)
        assert counted(again)["invalid"] == 0

    told = installation.read(installation.history)
    assert len(told) == len(puts)
    reasons = {
        record.key: (record["scheduler-reason"] or b"").decode()
        for record in told
        if record["scheduler-outcome"] == b"rejected"
    }
    assert reasons == {key: reason for key, (reason, _) in bad.items()}
    assert all(record["scheduler-reason-detail"] for record in told if record.key in bad)
    assert sorted(record["scheduler-key"] or b"" for record in installation.read(installation.target)) == sorted(good)
    assert (events["invalid"], events["triggered"]) == (len(bad), len(good))
    assert (events["deleted"], events["undeliverable"]) == (0, 0)
    log = installation.read(installation.schedules)
    ends = last_of_each_key(log)
    for record in stood[: len(puts)]:
        end = ends[record.key]
        assert (end.value, end.partition) == (None, record.partition), record.key
        assert end["scheduler-replaces"] == b"%d" % record.offset
    assert len(log) == 2 * len(puts) + len(lasting)  # nothing else was written back


@pytest.mark.parametrize("readable_before", [0, 1000], ids=["at once", "after many readable ones"])
def test_header_names_that_are_not_utf8_are_rejected_and_the_last_good_version_stays(
    installation: Installation, readable_before: int
) -> None:
    """The client's own reader of headers trips over them, in one way at first and in another once it is warm."""
    due_ms = clock.now_ms() + 2000
    names = {b"first": [b"\xff"], b"last": [b"ok", b"n\xff"], b"all": [b"\xff", b"\xfe\xfd"]}
    with installation.replica() as replica:
        installation.write(
            installation.schedule(b"good", b"good", due_ms=due_ms),
            *(installation.schedule(b"before-%d" % number, epoch=0) for number in range(readable_before)),
        )
        for key in (*names, b"good"):
            headers: list[tuple[bytes, bytes | None]] = [(name, b"1") for name in names.get(key, [b"\xff"])]
            produce_raw(
                installation.broker, installation.schedules, 0, key, b"bad", headers, timestamp_ms=clock.now_ms()
            )
        installation.write(installation.schedule(b"neighbour", epoch=0))
        messages = installation.fired(b"neighbour", b"good")
        told = installation.wait_for(installation.history, readable_before + 6)
        assert replica.registry.get_sample_value("scheduler_fence_seconds_count") == 1  # nobody had to start afresh
        wait_until(lambda: counted(replica)["invalid"] == 4, "each is counted")

    rejected = [record for record in told if record["scheduler-outcome"] == b"rejected"]
    assert sorted(record.key or b"" for record in rejected) == sorted([*names, b"good"])
    assert {record["scheduler-reason"] for record in rejected} == {b"unreadable-headers"}
    assert {record.value for record in rejected} == {b"bad"}
    (good,) = [message for message in messages if message["scheduler-key"] == b"good"]
    assert good.value == b"good"
    assert good.timestamp_ms >= due_ms
    assert len(messages) == readable_before + 2
    with installation.replica() as again:
        assert [each.pending for each in again.standings().values()] == [0]


def test_header_names_that_are_not_utf8_are_rejected_where_they_stand_among_hundreds_that_are_restored(
    installation: Installation,
) -> None:
    """These are looked at together, and the client's reader of headers trips in the midst of them."""
    names: dict[bytes, list[bytes]] = {b"first": [b"\xff"], b"last": [b"ok", b"n\xff"], b"all": [b"\xff", b"\xfe"]}
    for number, (key, given) in enumerate(names.items()):
        puts = [installation.schedule(b"%d-%d" % (number, each), due_ms=FAR_MS + each) for each in range(400)]
        installation.write(*puts)
        headers: list[tuple[bytes, bytes | None]] = [(name, b"1") for name in given]
        produce_raw(installation.broker, installation.schedules, 0, key, b"bad", headers, timestamp_ms=clock.now_ms())
    installation.write(*(installation.schedule(b"3-%d" % each, due_ms=FAR_MS + each) for each in range(400)))
    with installation.replica() as replica:
        told = installation.wait_for(installation.history, len(names))
        wait_until(lambda: counted(replica)["invalid"] == len(names), "each is counted")
        far = list(replica.owners()[installation.schedules, 0].engine.pending.far())

    assert {(record.key, record["scheduler-reason"]) for record in told} == {
        (key, b"unreadable-headers") for key in names
    }
    assert sorted(each.due_ms for each in far) == sorted([FAR_MS + each for each in range(400)] * 4)


def test_a_record_without_a_key_is_told_once_by_a_running_replica(install: Callable[..., Installation]) -> None:
    """Only a topic that is not compacted takes one; there is no key under which to end it."""
    installation = install(config={"cleanup.policy": "delete"})
    nameless = installation.schedule(b"", b"nameless", epoch=0)
    nameless = type(nameless)(nameless.topic, None, nameless.value, nameless.headers)
    with installation.replica() as replica:
        installation.write(nameless, installation.schedule(b"neighbour", epoch=0))
        installation.fired(b"neighbour")
        wait_until(lambda: counted(replica)["invalid"] == 1, "it is counted")
    with installation.replica() as replica:
        installation.write(installation.schedule(b"later", epoch=0))
        installation.fired(b"later")
        assert counted(replica)["invalid"] == 0

    (told,) = [record for record in installation.read(installation.history) if record.key is None]
    assert told.value == b"nameless"
    assert told["scheduler-reason"] == b"missing-key"


def test_every_kind_of_malformed_update_leaves_the_last_good_version_in_force(installation: Installation) -> None:
    keys = [b"key-%d" % number for number in range(len(BAD))]
    updates = [
        installation.schedule(key, b"bad", **stated) for key, (_, stated) in zip(keys, BAD.values(), strict=True)
    ]
    with installation.replica() as replica:
        installation.write(*(installation.schedule(key, b"good", due_ms=FAR_MS) for key in keys))
        wait_until_pending(replica, len(keys))
        installation.write(*updates)
        installation.wait_for(installation.history, len(keys))
        wait_until(lambda: counted(replica)["invalid"] == len(keys), "each is counted")
        wait_until_pending(replica, len(keys))  # once what was written again is read
    with installation.replica() as again:
        assert [each.pending for each in again.standings().values()] == [len(keys)]

    newest = last_of_each_key(installation.read(installation.schedules))
    assert {newest[key].value for key in keys} == {b"good"}  # behind the bad one, for compaction
    assert installation.read(installation.target) == []
