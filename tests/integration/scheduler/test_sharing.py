"""Several topics, more replicas than partitions, replicas that come and go: each schedule fires once."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from scheduler.engine.life import State
from tests.support.replica_process import replica_process
from tests.support.schedules import clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.service import Scheduler
    from tests.support.records import Record
    from tests.support.schedules import Installation

SESSION_TIMEOUT = 40_000
LATEST_MS = 20_000
"""Far from the session timeout, which a planned hand-over must not wait for; a second where nothing else runs."""


def wait_until_shared(replicas: Sequence[Scheduler], partitions: int) -> None:
    """Return once every partition has one owner and is restored, and no replica has all but its share."""
    fewest = partitions // len(replicas)

    def shared() -> bool:
        standings = [replica.standings() for replica in replicas]
        owned = [key for each in standings for key in each]
        return (
            len(owned) == len(set(owned)) == partitions
            and all(fewest <= len(each) <= fewest + 1 for each in standings)
            and all(standing.state is State.RUNNING for each in standings for standing in each.values())
        )

    wait_until(shared, f"{partitions} partitions are shared by {len(replicas)} replicas")


def latenesses_ms(messages: Sequence[Record]) -> list[int]:
    return [
        message.timestamp_ms - int((message["scheduler-fire-id"] or b"").rpartition(b"@")[2]) for message in messages
    ]


def test_several_schedules_topics_are_shared_by_several_replicas(install: Callable[..., Installation]) -> None:
    """The same key in two topics is two schedules, and each says where it came from."""
    installation = install(schedules_topics=3, partitions=2)
    keys = [b"key-%d" % number for number in range(60)]
    with ExitStack() as until_the_end:
        replicas = [until_the_end.enter_context(installation.replica(restored=False)) for _ in range(3)]
        wait_until_shared(replicas, 6)
        start_ms = clock.now_ms() + 300
        installation.write(
            *(
                installation.schedule(key, topic.encode(), topic=topic, due_ms=start_ms + 10 * number)
                for number, key in enumerate(keys)
                for topic in installation.schedules_topics
            )
        )
        messages = installation.wait_for(installation.target, 3 * len(keys))
        told = installation.wait_for(installation.history, 3 * len(keys))
        fenced = [
            replica.registry.get_sample_value("scheduler_transaction_failures_total", {"kind": "fenced"})
            for replica in replicas
        ]

    assert fenced == [0, 0, 0]  # partitions of the same number in several topics are not each other's owners
    expected = Counter((key, topic.encode()) for key in keys for topic in installation.schedules_topics)
    for records in (messages, told):
        assert Counter((record["scheduler-key"], record["scheduler-topic"]) for record in records) == expected
    assert all(message.value == message["scheduler-topic"] for message in messages)
    assert min(latenesses_ms(messages)) >= 0
    assert len(installation.read(installation.target)) == 3 * len(keys)
    for topic in installation.schedules_topics:
        ended = {record.key for record in installation.read(topic) if record.value is None}
        assert ended == set(keys)


def test_a_cancel_in_one_topic_leaves_the_same_key_in_another(install: Callable[..., Installation]) -> None:
    installation = install(schedules_topics=2)
    due_ms = clock.now_ms() + 3000
    one, other = installation.schedules_topics
    with installation.replica():
        installation.write(
            *(installation.schedule(b"k", topic.encode(), topic=topic, due_ms=due_ms) for topic in (one, other)),
            installation.cancel(b"k"),
        )
        (message,) = installation.fired(b"k")
        outcomes = {
            record["scheduler-topic"]: record["scheduler-outcome"]
            for record in installation.wait_for(installation.history, 2)
        }

    assert (message.value, message["scheduler-topic"]) == (other.encode(), other.encode())
    assert outcomes == {one.encode(): b"cancelled", other.encode(): b"fired"}


def test_a_replica_more_than_partitions_is_ready_and_takes_over(installation: Installation) -> None:
    with ExitStack() as until_the_end:
        one = until_the_end.enter_context(replica_process(installation, SESSION_TIMEOUT=str(SESSION_TIMEOUT)))
        one.wait_until_ready(1)
        other = until_the_end.enter_context(replica_process(installation, SESSION_TIMEOUT=str(SESSION_TIMEOUT)))

        def idle_and_busy() -> list[int]:
            answers = [replica.get("/readiness") for replica in (one, other)]
            return sorted(len(answer.json()["partitions"]) for answer in answers if answer.is_success)

        wait_until(lambda: idle_and_busy() == [0, 1], "both are ready, and one of them has nothing to do")
        busy, idle = (one, other) if one.get("/readiness").json()["partitions"] else (other, one)
        start_ms = clock.now_ms() + 200
        keys = [b"key-%d" % number for number in range(100)]
        installation.write(
            *(installation.schedule(key, due_ms=start_ms + 20 * number) for number, key in enumerate(keys))
        )
        installation.fired(*keys[:20])
        assert busy.terminate() == 0
        installation.fired(*keys)
        idle.wait_until_ready(1)
        assert idle.terminate() == 0

    messages = installation.read(installation.target)
    assert Counter(message["scheduler-key"] for message in messages) == Counter(keys)
    assert min(latenesses_ms(messages)) >= 0
    assert max(latenesses_ms(messages)) < LATEST_MS


def test_one_replica_then_three_then_two_lose_and_double_nothing(install: Callable[..., Installation]) -> None:
    installation = install(partitions=4)
    keys = [b"key-%d" % number for number in range(600)]
    with ExitStack() as until_the_end:
        first = until_the_end.enter_context(installation.replica(session_timeout=SESSION_TIMEOUT))
        start_ms = clock.now_ms() + 200
        installation.write(
            *(installation.schedule(key, due_ms=start_ms + 10 * number) for number, key in enumerate(keys))
        )
        replicas = [
            first,
            *(
                until_the_end.enter_context(installation.replica(restored=False, session_timeout=SESSION_TIMEOUT))
                for _ in range(2)
            ),
        ]
        wait_until_shared(replicas, 4)
        installation.fired(*keys[:200])
        first.close()
        wait_until_shared(replicas[1:], 4)
        installation.fired(*keys)

    messages = installation.read(installation.target)
    assert Counter(message["scheduler-key"] for message in messages) == Counter(keys)
    assert Counter(record.key for record in installation.read(installation.history)) == Counter(keys)
    assert min(latenesses_ms(messages)) >= 0
    assert max(latenesses_ms(messages)) < LATEST_MS
