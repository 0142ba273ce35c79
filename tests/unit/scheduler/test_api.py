"""The HTTP API of a replica: etf1's two routes, and whether it is alive and ready."""

import asyncio
import base64
from types import SimpleNamespace

import httpx
import pytest

from scheduler import wire
from scheduler.api.app import make_app
from scheduler.engine.life import State
from scheduler.engine.pending import Pending
from scheduler.runtime.settings import Address, Settings

HERE = Address("127.0.0.1", 8000)


class Replica:
    """What these routes need to know of a replica."""

    policy = kafka = clock = member_id = archive = None
    client_id = "scheduler"

    def __init__(self, *, joined=True, states=None, schedules=None, stuck=()):
        self.stuck = list(stuck)
        self.settings = Settings(
            bootstrap_servers="kafka:9092", schedules_topics=["schedules", "retries"], history_topic="past"
        )
        self.joined = joined
        self._states = states or {}
        self._owners = {place: _owner(found) for place, found in (schedules or {}).items()}

    def standings(self):
        return {place: SimpleNamespace(state=state) for place, state in self._states.items()}

    def owners(self):
        return self._owners


def _owner(schedules):
    pending = Pending()
    for schedule in schedules:
        pending.put(schedule)
    return SimpleNamespace(engine=SimpleNamespace(pending=pending))


def version(key, offset, *, due_ms=1_893_456_000_999, value=b"payload", **headers):
    return wire.decode(
        key,
        value,
        wire.schedule_headers("orders", due_ms=due_ms, **headers),
        timestamp_ms=1_800_000_000_999,
        offset=offset,
    )


def ask(path, method="GET", **replica):
    """One request to the application itself, without a socket."""
    app = make_app(Replica(**replica), HERE, HERE, loopback=True)

    async def answer():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HERE}") as client:
            return await client.request(method, path)

    return asyncio.run(answer())


def test_a_replica_is_alive_before_it_is_ready():
    assert ask("/liveness", joined=False).status_code == 200
    assert ask("/readiness", joined=False).status_code == 503


def test_a_replica_with_a_thread_that_is_stuck_asks_to_be_restarted():
    answer = ask("/liveness", stuck=["init_transactions partition=3"])

    assert answer.status_code == 503
    assert answer.json() == {"status": "stuck", "calls": ["init_transactions partition=3"]}


@pytest.mark.parametrize(
    ("joined", "states", "ready"),
    [
        (False, [], False),
        (True, [], True),  # more replicas than partitions: nothing to do, and ready to do it
        (True, [State.RUNNING, State.RUNNING], True),
        (True, [State.RUNNING, State.RESTORING], False),
        (True, [State.RECOVERING], False),
        (False, [State.RUNNING], False),
    ],
)
def test_a_replica_is_ready_once_every_partition_of_it_fires(joined, states, ready):
    places = {("schedules", number): state for number, state in enumerate(states)}
    answer = ask("/readiness", joined=joined, states=places)

    assert answer.status_code == (200 if ready else 503)
    assert answer.json() == {
        "ready": ready,
        "partitions": {f"schedules/{number}": state.value for number, state in enumerate(states)},
    }


def test_info_is_what_etf1_s_admin_reads():
    answer = ask("/info").json()

    assert set(answer) == {"hostname", "address", "server_address", "kafka"}
    assert answer["server_address"] == "127.0.0.1:8000"
    assert answer["hostname"]
    assert all(isinstance(address, str) for address in answer["address"])
    assert answer["kafka"] == {
        "bootstrap_servers": "kafka:9092",
        "topics": ["schedules", "retries"],
        "history_topic": "past",
    }


def test_schedules_are_what_etf1_s_admin_reads():
    """Whole seconds, and the payload in base64, whatever bytes it has."""
    payload = b"\x00\xff"
    pending = {("schedules", 0): [version(b"remind-17", 0, value=payload, target_key=b"t")]}

    assert ask("/schedules", schedules=pending).json() == [
        {
            "id": "remind-17",
            "epoch": 1_893_456_000,
            "timestamp": 1_800_000_000,
            "topic": "schedules",
            "target-topic": "orders",
            "target-key": "t",
            "value": base64.b64encode(payload).decode(),
        }
    ]


def test_schedules_of_every_partition_are_shown():
    pending = {
        ("schedules", 0): [version(b"a", 0), version(b"b", 1)],
        ("schedules", 1): [],
        ("retries", 0): [version(b"c", 0)],
    }

    assert [(each["topic"], each["id"]) for each in ask("/schedules", schedules=pending).json()] == [
        ("schedules", "a"),
        ("schedules", "b"),
        ("retries", "c"),
    ]


def test_only_the_version_in_force_is_shown():
    pending = {("schedules", 0): [version(b"a", 0, value=b"old"), version(b"a", 1, value=b"new")]}

    assert [base64.b64decode(each["value"]) for each in ask("/schedules", schedules=pending).json()] == [b"new"]


@pytest.mark.parametrize(("key", "shown"), [(b"\xff", r"\xff"), ("ключ".encode(), "ключ"), (b'"<b>', '"<b>')])
def test_an_id_that_is_no_plain_text_does_not_break_the_answer(key, shown):
    pending = {("schedules", 0): [version(key, 0, value=b"", target_key=key)]}
    (found,) = ask("/schedules", schedules=pending).json()

    assert (found["id"], found["target-key"], found["value"]) == (shown, shown, "")


def test_nothing_pending_is_an_empty_list():
    assert ask("/schedules").json() == []


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/schedules", 405)])
def test_other_requests_are_refused(method, path, status):
    assert ask(path, method).status_code == status


def test_the_routes_are_described():
    assert set(ask("/openapi.json").json()["paths"]) >= {"/liveness", "/readiness", "/info", "/schedules"}
