"""What one schedule becomes when it is due: the message, the history record and the tombstone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Producer

from scheduler.broker import publisher
from scheduler.clock import rfc3339
from tests.support.records import Put
from tests.support.schedules import JAVA, clock, epoch, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.support.broker import Topics
    from tests.support.schedules import Installation

PROMPT_MS = 2000
"""What fires by a clock fires within milliseconds; the rest is for a busy machine."""


def test_fires_at_the_due_time_and_never_early(installation: Installation) -> None:
    """However the due time is stated: seconds, milliseconds, an instant with offset, a delay."""
    with installation.replica():
        now_ms = clock.now_ms()
        whole_ms = (now_ms // 1000 + 2) * 1000
        stated = [
            installation.schedule(b"seconds", epoch=whole_ms // 1000),
            installation.schedule(b"milliseconds", due_ms=now_ms + 801),
            installation.schedule(b"instant", at=rfc3339(now_ms + 650)),
            installation.schedule(b"delay", delay="700ms"),
        ]
        stood = installation.write(*stated)
        due_ms = {
            b"seconds": whole_ms,
            b"milliseconds": now_ms + 801,
            b"instant": now_ms + 650,
            b"delay": stood[3].timestamp_ms + 700,
        }
        fired = installation.fired(*due_ms)

    for message in fired:
        key = message["scheduler-key"]
        assert key is not None
        assert message["scheduler-fire-id"] == f"{key.decode()}@{due_ms[key]}".encode()
        assert due_ms[key] <= message.timestamp_ms < due_ms[key] + PROMPT_MS
    assert len(installation.read(installation.target)) == 4


def test_a_fired_message_is_the_payload_and_headers_of_the_customer_and_what_the_scheduler_says(
    installation: Installation,
) -> None:
    payloads = {b"empty": b"", b"binary": bytes(range(256)), b"\xff\x00 no text": b"x"}
    customers = [("trace", b"1"), ("trace", b"2"), ("null", None), ("empty", b""), ("binary", b"\xff\x00")]
    due_ms = clock.now_ms() + 5
    written = installation.write(
        *(
            installation.schedule(key, payload, due_ms=due_ms, target_key=b"k\x00" + key, headers=customers)
            for key, payload in payloads.items()
        )
    )
    with installation.replica():
        fired = installation.fired(*payloads)

    names = {b"\xff\x00 no text": b"\\xff\x00 no text"}
    assert [(message.key, message.value, message.headers) for message in fired] == [
        (
            b"k\x00" + schedule.key,
            payloads[schedule.key],
            [
                *customers,
                ("scheduler-timestamp", b"%d" % (schedule.timestamp_ms // 1000)),
                ("scheduler-key", schedule.key),
                ("scheduler-topic", installation.schedules.encode()),
                ("scheduler-epoch", epoch(due_ms).encode() if due_ms % 1000 else b"%d" % (due_ms // 1000)),
                ("scheduler-fire-id", b"%s@%d" % (names.get(schedule.key, schedule.key), due_ms)),
            ],
        )
        for schedule in written
        if schedule.key is not None
    ]


def test_a_firing_leaves_a_history_record_and_a_tombstone_in_the_same_partition(
    install: Callable[..., Installation],
) -> None:
    installation = install(partitions=3)
    due_ms = clock.now_ms()
    with installation.replica():
        (schedule,) = installation.write(
            installation.schedule(b"a", b"\x00payload", due_ms=due_ms, partition=2, headers=[("trace", b"1")])
        )
        installation.fired(b"a")

    (history,) = installation.read(installation.history)
    said = dict(history.headers)
    assert (history.key, history.value) == (b"a", b"\x00payload")
    assert int(said.pop("scheduler-lateness-ms") or b"") in range(10_000)
    assert said == {
        "trace": b"1",
        "scheduler-target-topic": installation.target.encode(),
        "scheduler-timestamp": b"%d" % (schedule.timestamp_ms // 1000),
        "scheduler-key": b"a",
        "scheduler-topic": installation.schedules.encode(),
        "scheduler-epoch": epoch(due_ms).encode() if due_ms % 1000 else b"%d" % (due_ms // 1000),
        "scheduler-fire-id": b"a@%d" % due_ms,
        "scheduler-outcome": b"fired",
    }
    written, tombstone = installation.read(installation.schedules)
    assert written.offset == schedule.offset
    assert (tombstone.partition, tombstone.key, tombstone.value) == (2, b"a", None)
    assert tombstone["scheduler-replaces"] == b"%d" % schedule.offset


def test_goes_to_the_stated_partition_or_where_java_would_put_the_key(
    installation: Installation, topics: Topics
) -> None:
    target, twin = topics.create("wide", partitions=5), topics.create("wide", partitions=5)
    keys = [b"key-%d" % number for number in range(12)]
    by_java = installation.write(*(Put(twin, key, b"", []) for key in keys), partitioner=JAVA)
    now_ms = clock.now_ms()
    with installation.replica():
        installation.write(
            *(installation.schedule(key, due_ms=now_ms, target_topic=target, target_key=key) for key in keys),
            installation.schedule(
                b"stated", due_ms=now_ms, target_topic=target, target_key=keys[0], target_partition=4
            ),
            installation.schedule(b"no key", due_ms=now_ms, target_topic=target, target_partition=3),
        )
        fired = {message["scheduler-key"]: message for message in installation.wait_for(target, len(keys) + 2)}

    expected = {record.key: record.partition for record in by_java}
    assert {key: fired[key].partition for key in keys} == expected
    assert len(set(expected.values())) > 2
    assert (fired[b"stated"].partition, fired[b"stated"].key) == (4, keys[0])
    assert (fired[b"no key"].partition, fired[b"no key"].key) == (3, None)


def test_what_was_due_in_the_past_fires_at_once_and_says_how_late_it_is(installation: Installation) -> None:
    day_ms = 86_400_000
    with installation.replica():
        (schedule,) = installation.write(installation.schedule(b"old", due_ms=clock.now_ms() - day_ms))
        (message,) = installation.fired(b"old")

    assert message.timestamp_ms < schedule.timestamp_ms + PROMPT_MS
    (history,) = installation.read(installation.history)
    assert history["scheduler-outcome"] == b"fired"
    assert day_ms <= int(history["scheduler-lateness-ms"] or b"") < day_ms + 10_000


def test_a_late_schedule_that_asks_to_be_skipped_is_recorded_as_misfired(installation: Installation) -> None:
    now_ms = clock.now_ms()
    with installation.replica():
        installation.write(
            installation.schedule(b"late", due_ms=now_ms - 60_000, misfire="skip", misfire_grace="30s"),
            installation.schedule(b"within", due_ms=now_ms - 1000, misfire="skip", misfire_grace="30s"),
        )
        fired = installation.fired(b"within")

    assert [message["scheduler-key"] for message in fired] == [b"within"]
    outcomes = {record.key: record["scheduler-outcome"] for record in installation.read(installation.history)}
    assert outcomes == {b"late": b"misfired", b"within": b"fired"}


def test_two_schedules_topics_keep_the_same_id_apart(install: Callable[..., Installation]) -> None:
    installation = install(schedules_topics=2, partitions=2)
    one, other = installation.schedules_topics
    now_ms = clock.now_ms()
    with installation.replica():
        installation.write(
            installation.schedule(b"a", b"of one", due_ms=now_ms, topic=one, partition=0),
            installation.schedule(b"a", b"of the other", due_ms=now_ms, topic=other, partition=0),
        )
        fired = installation.wait_for(installation.target, 2)

    said = {message["scheduler-topic"]: message.value for message in fired}
    assert said == {one.encode(): b"of one", other.encode(): b"of the other"}
    for topic in (one, other):
        assert [record.value is None for record in installation.read(topic)] == [False, True]


def test_a_schedule_of_an_aborted_transaction_never_fires_one_of_a_committed_does(installation: Installation) -> None:
    now_ms = clock.now_ms()
    with installation.replica():
        client = installation.transaction(
            installation.group_id + "-client", installation.schedule(b"no", due_ms=now_ms)
        )
        client.abort_transaction()
        client.begin_transaction()
        installation.schedule(b"yes", due_ms=now_ms).to(client)
        client.commit_transaction()
        fired = installation.fired(b"yes")

    assert [message["scheduler-key"] for message in fired] == [b"yes"]


def test_a_tombstone_for_the_target_and_an_empty_payload_are_not_the_same_and_neither_is_a_cancel(
    installation: Installation,
) -> None:
    """A peer can deliver no null, and fires an empty payload again with each restart: it never ends it."""
    due_ms = clock.now_ms() + 1000
    installation.write(
        installation.schedule(b"null", b"why", due_ms=due_ms, target_key=b"k", target_tombstone="true"),
        installation.schedule(b"null of nothing", b"", due_ms=due_ms, target_key=b"k", target_tombstone="true"),
        installation.schedule(b"empty", b"", due_ms=due_ms, target_key=b"k"),
        installation.schedule(b"false", b"payload", due_ms=due_ms, target_tombstone="false"),
        installation.schedule(b"recurring", b"", due_ms=due_ms, cron="@every 1h", target_tombstone="true"),
    )
    keys = {b"null", b"null of nothing", b"empty", b"false", b"recurring"}
    for _ in range(3):
        with installation.replica() as replica:
            installation.fired(*keys)
            wait_until_pending(replica, 1)
            (successor,) = replica.owners()[installation.schedules, 0].engine.pending

    fired = installation.read(installation.target)
    assert {message["scheduler-key"]: message.value for message in fired} == {
        b"null": None,
        b"null of nothing": None,
        b"empty": b"",
        b"false": b"payload",
        b"recurring": None,
    }
    assert len(fired) == len(keys)
    assert {message.key for message in fired if message["scheduler-key"] in (b"null", b"empty")} == {b"k"}
    history = {record.key: record for record in installation.read(installation.history)}
    assert {key: record["scheduler-outcome"] for key, record in history.items()} == dict.fromkeys(keys, b"fired")
    assert (history[b"null"].value, history[b"null"]["scheduler-target-tombstone"]) == (b"why", b"true")
    assert (successor.key, successor.value, successor.delivers_null) == (b"recurring", b"", True)


def test_a_client_that_loses_its_error_leaves_doubt_and_nothing_else(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client was seen to fail so while another owner took over: the records were sent, and no error was set."""
    lost = []

    class Losing(Producer):
        def flush(self, *arguments: float) -> int:
            left = super().flush(*arguments)
            if len(lost) < 2:
                lost.append(left)
                raise SystemError(
                    "<method 'flush' of 'cimpl.Producer' objects> returned NULL without setting an exception"
                )
            return int(left)

    monkeypatch.setattr(publisher, "Producer", Losing)
    keys = [b"%d" % number for number in range(5)]
    with installation.replica():
        installation.write(*(installation.schedule(key, due_ms=clock.now_ms()) for key in keys))
        installation.fired(*keys)
        installation.wait_for(installation.history, len(keys))

    assert len(lost) == 2
    assert len(installation.read(installation.target)) == len(keys)
    assert "transaction failed" in caplog.messages
    assert "partition failed" not in caplog.messages
