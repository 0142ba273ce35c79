"""Schedules that are due later than their records are kept in memory: read again in time, and told of in full."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from scheduler.broker import bodies
from scheduler.engine.changes import Change, NotPendingError, Verb
from tests.support.schedules import SECONDS, clock, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.records import Put
    from tests.support.schedules import Installation

AHEAD_MS = 300
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _near_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "AHEAD_MS", AHEAD_MS)
    monkeypatch.setattr(bodies, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "AT_ONCE", 20)


def scattered(installation: Installation, keys: list[bytes], due_ms: int) -> list[Put]:
    """Due in another order than written, more of one instant than are asked for at once."""
    return [
        installation.schedule(
            key,
            b"of " + key,
            due_ms=due_ms + (number * 37 % 100) * (number >= 60),
            target_key=key,
            headers=[("trace", key), ("trace", b"\xff")],
        )
        for number, key in enumerate(keys)
    ]


@pytest.mark.parametrize("restored", [False, True], ids=["written-while-it-runs", "restored"])
def test_what_was_far_fires_on_time_with_all_that_it_had(install: Callable[..., Installation], restored: bool) -> None:
    installation = install(partitions=2)
    keys = [b"key-%d" % number for number in range(200)]
    due_ms = clock.now_ms() + 10_000  # a start on a busy machine takes seconds
    if restored:
        installation.write(*scattered(installation, keys, due_ms))
    with installation.replica() as scheduler:
        if not restored:
            due_ms = clock.now_ms() + 3_000
            installation.write(*scattered(installation, keys, due_ms))
        wait_until_pending(scheduler, len(keys))
        in_memory = sum(len(list(each.engine.pending)) for each in scheduler.owners().values())
        installation.write(installation.schedule(keys[0], b"another", due_ms=due_ms, target_key=keys[0]))
        fired = installation.fired(*keys)

    assert in_memory < len(keys) / 4, "nothing was far"
    assert len(fired) == len(keys)
    by_key = {message.key: message for message in fired}
    assert by_key.pop(keys[0]).value == b"another"
    assert {key: message.value for key, message in by_key.items()} == {key: b"of " + key for key in keys[1:]}
    for key, message in by_key.items():
        assert [header for header in message.headers if header[0] == "trace"] == [("trace", key), ("trace", b"\xff")]
        assert message.timestamp_ms >= due_ms
    assert sorted(record.value or b"" for record in installation.read(installation.history)) == sorted(
        message.value or b"" for message in fired
    )


def test_a_cancel_of_what_is_far_is_told_with_its_payload(install: Callable[..., Installation]) -> None:
    installation = install()
    with installation.replica() as scheduler:
        installation.write(installation.schedule(b"far", b"payload", due_ms=clock.now_ms() + HOUR_MS))
        wait_until_pending(scheduler, 1)
        installation.write(installation.cancel(b"far"))
        (told,) = installation.wait_for(installation.history)

    assert (told["scheduler-outcome"], told.value) == (b"cancelled", b"payload")


def test_what_is_far_can_be_changed_by_request(install: Callable[..., Installation]) -> None:
    installation = install()
    with installation.replica() as scheduler:
        later_ms = clock.now_ms() + HOUR_MS
        installation.write(
            installation.schedule(b"now", b"payload", due_ms=later_ms),
            installation.schedule(b"moved", b"moved", due_ms=later_ms),
        )
        wait_until_pending(scheduler, 2)
        requests = scheduler.owners()[installation.schedules, 0].requests
        requests.change(b"now", Change(Verb.FIRE)).result(SECONDS)
        requests.change(b"moved", Change(Verb.RESCHEDULE, due_ms=clock.now_ms() + 200)).result(SECONDS)
        fired = installation.fired(b"now", b"moved")

    assert [(message["scheduler-key"], message.value) for message in fired] == [
        (b"now", b"payload"),
        (b"moved", b"moved"),
    ]


def test_what_is_far_is_shown_in_full(install: Callable[..., Installation]) -> None:
    installation = install()
    later_ms = clock.now_ms() + HOUR_MS
    with installation.replica(server_addr="127.0.0.1:0") as scheduler:
        keys = [b"key-%d" % number for number in range(5)]
        installation.write(
            *(installation.schedule(key, b"of " + key, due_ms=later_ms - n) for n, key in enumerate(keys))
        )
        wait_until_pending(scheduler, 5)
        with httpx.Client(base_url=f"http://{scheduler.api_address}", timeout=SECONDS) as api:
            one = api.get("/api/v1/schedules/key-3").json()
            listed = api.get("/api/v1/schedules", params={"limit": 3}).json()
            as_etf1 = api.get("/schedules").json()

    assert one["id"] == "key-3"
    assert [each["id"] for each in listed["schedules"]] == ["key-4", "key-3", "key-2"]
    assert sorted(each["id"] for each in as_etf1) == [key.decode() for key in keys]
    assert sorted(base64.b64decode(each["value"]) for each in as_etf1) == [b"of " + key for key in keys]


def test_a_schedule_whose_record_is_gone_from_the_log_is_told(install: Callable[..., Installation]) -> None:
    """By retention, which a schedules topic must not have: nothing can be delivered, but nobody is left guessing."""
    installation = install(config={"cleanup.policy": "delete"})
    with installation.replica() as scheduler:
        installation.write(
            installation.schedule(b"first", due_ms=clock.now_ms() + HOUR_MS),
            installation.schedule(b"gone", b"payload", due_ms=clock.now_ms() + HOUR_MS),
        )
        wait_until_pending(scheduler, 2)
        admin = AdminClient({"bootstrap.servers": installation.broker})
        (removed,) = admin.delete_records([TopicPartition(installation.schedules, 0, 2)]).values()
        removed.result(SECONDS)
        answer = scheduler.owners()[installation.schedules, 0].requests.change(b"gone", Change(Verb.FIRE))
        (told,) = installation.wait_for(installation.history, key=b"gone")
        with pytest.raises(NotPendingError):
            answer.result(SECONDS)

    assert (told["scheduler-outcome"], told["scheduler-reason"]) == (b"undeliverable", b"record-gone")
