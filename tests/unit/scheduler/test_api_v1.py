"""`/api/v1` over replicas with real engines and no Kafka: what it finds, changes, refuses, and passes on."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from scheduler.api import identity
from scheduler.api.ids import keys_shown_as
from scheduler.broker.cluster import Member
from scheduler.runtime.settings import Address
from scheduler.schedule import PAUSE_KEY, display
from tests.support.fleet import Brokers, Network, Replica

BODY = {"target_topic": "orders", "at": "2030-01-01T00:00:00Z"}
HERE, THERE = "one", "another"
"""Tokens."""
NEAR, FAR = ("schedules", 0), ("schedules", 1)
network, brokers = Network(), Brokers()
near = Replica(brokers, [NEAR, ("retries", 0)], network=network)
far = Replica(brokers, [FAR, ("retries", 1)], port=8001, network=network)


@pytest.fixture(autouse=True)
def _nothing_is_in_force():
    brokers.clear()
    network.asked.clear()


def ask(method, path, *, of=near, status=200, **request):
    answer = of.ask(method, f"/api/v1{path}", **request)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json() if answer.content else None


# -- finding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [NEAR, FAR], ids=["here", "at another replica"])
def test_all_of_a_schedule_is_shown(where):
    brokers.schedule(
        b"a", where, value=b"\xff", cron="0 3 * * *", timezone="Europe/Riga", target_key=b"\xfe", misfire_grace="90s"
    )
    found = ask("GET", "/schedules/a?next=2")

    assert found == {
        "id": "a",
        "topic": where[0],
        "partition": where[1],
        "offset": 0,
        "written": "2027-01-15T08:00:00Z",
        "due": "2030-01-01T00:00:00Z",
        "paused": False,
        "cron": "0 3 * * *",
        "timezone": "Europe/Riga",
        "misfire": "once",
        "misfire_grace": "1m30s",
        "target_topic": "orders",
        "target_key": "/g==",
        "target_key_encoding": "base64",
        "target_partition": None,
        "target_tombstone": False,
        "payload_bytes": 1,
        "payload": "/w==",
        "payload_encoding": "base64",
        "headers": [],
        "next": ["2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z"],
    }


@pytest.mark.parametrize(
    "key",
    [
        b"a/fire",
        b"/",
        b"a b",
        b"?x=1#y",
        b"..",
        b"a/../b",
        b"line\nend\n",
        b"\x00",
        "ключ".encode(),
        b"\xff\xfe",
        rb"\xff",
        rb"\xff" + b"\xff",
        b"%2F",
        b"+",
        b"%",
    ],
)
@pytest.mark.parametrize("where", [NEAR, FAR], ids=["here", "at another replica"])
def test_an_id_of_any_characters_is_found_and_cancelled_by_the_text_it_is_shown_as(key, where):
    written = brokers.schedule(key, where)
    neighbour = brokers.schedule(key + b"\n", where)
    (shown, *_) = ask("GET", "/schedules", params={"id": display(key)})["schedules"]
    path = "/schedules/" + "".join(f"%{byte:02X}" for byte in shown["id"].encode())

    assert ask("GET", path)["offset"] == written.offset
    ask("DELETE", path, status=204)
    ask("GET", path, status=404)
    assert ask("GET", path + "%0A")["offset"] == neighbour.offset


@pytest.mark.parametrize(
    "key", [b"", b"a", b"\xff", rb"\xff", rb"\x41", b"\\\xff", rb"\xff" + b"\xff", "é".encode(), b"\xc3"]
)
def test_every_key_is_among_those_that_its_text_stands_for(key):
    assert key in keys_shown_as(display(key))
    assert all(display(each) == display(key) for each in keys_shown_as(display(key)))


def test_the_same_id_in_several_partitions_has_to_be_named():
    for where in (NEAR, FAR, ("retries", 1)):
        brokers.schedule(b"a", where)

    problem = ask("DELETE", "/schedules/a", status=409)
    assert problem["places"] == [{"topic": t, "partition": p} for t, p in [("retries", 1), NEAR, FAR]]
    ask("GET", "/schedules/a?topic=schedules", status=409)
    assert ask("GET", "/schedules/a?topic=retries")["topic"] == "retries"
    ask("DELETE", "/schedules/a?topic=schedules&partition=1", status=204)
    assert ask("GET", "/schedules/a?topic=schedules")["partition"] == 0


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("cursor=no", "query.cursor"),
        ("cursor=W1tbW1s", "query.cursor"),
        ("due_from=2030-01-01", "query.due_from"),
        ("due_to=2030-01-01T00:00:00+02:00", "%2B"),
        ("topic=others", "schedules, retries"),
        ("prefx=a", "query.prefx"),
        ("paused=maybe", "query.paused"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused_by_name(query, word):
    assert word in ask("GET", f"/schedules?{query}", status=422)["detail"]


# -- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"at": None}, "at, epoch and delay, or cron"),
        ({"delay": "1h"}, "at and delay"),
        ({"at": "tomorrow"}, "body.at"),
        ({"at": None, "delay": "soon"}, "soon"),
        ({"at": None, "epoch": -1}, "body.epoch"),
        ({"at": None, "epoch": "1893456000"}, "body.epoch"),
        ({"cron": "61 * * * *"}, "61"),
        ({"timezone": "Europe/Riga"}, "scheduler-timezone"),
        ({"cron": "@daily", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"misfire": "all"}, "scheduler-misfire"),
        ({"misfire_grace": "long"}, "long"),
        ({"target_topic": "a b"}, "body.target_topic"),
        ({"target_topic": "past"}, "is the history"),
        ({"target_topic": "retries"}, "loop"),
        ({"target_topic": "__consumer_offsets"}, "internal"),
        ({"target_partition": -1}, "body.target_partition"),
        ({"payload": "%", "payload_encoding": "base64"}, "body.payload"),
        ({"payload": 1}, "body.payload"),
        ({"payload": "\ud800"}, "payload holds half"),
        ({"target_key": "a\udfff"}, "target_key holds half"),
        ({"headers": [{"name": "\ud800"}]}, "body.headers.0.name"),
        ({"headers": [{"name": "a\0b"}]}, "body.headers.0.name"),
        ({"headers": [{"name": "scheduler-replaces", "value": "1"}]}, "reserved"),
        ({"headers": [{"name": "a", "value": "?", "encoding": "base64"}]}, "body.headers.0.value"),
        ({"tagret": "a"}, "body.tagret"),
        ({"paused": "true"}, "body.paused"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason_and_not_written(change, word):
    body = {name: value for name, value in (BODY | change).items() if value is not None}
    for method, path, more in (("PUT", "/schedules/a", {}), ("POST", "/schedules", {"id": "a"})):
        content = json.dumps({**body, **more}).encode()
        problem = ask(method, path, status=422, content=content, headers={"Content-Type": "application/json"})
        assert word in problem["detail"]
    assert all(log.read_to == 0 for log in brokers.logs.values())


def test_an_id_that_pauses_a_partition_or_is_no_key_is_refused():
    ask("POST", "/schedules", json={**BODY, "id": PAUSE_KEY.decode()}, status=422)
    ask("POST", "/schedules", json={**BODY, "id": ""}, status=422)
    content = json.dumps({**BODY, "id": "\ud800"}).encode()
    ask("POST", "/schedules", content=content, headers={"Content-Type": "application/json"}, status=422)


def test_targets_that_are_not_allowed_are_refused():
    narrow = Replica(Brokers(), allowed_targets=["mails"])

    assert "ALLOWED_TARGETS" in ask("PUT", "/schedules/a", of=narrow, json=BODY, status=422)["detail"]
    ask("PUT", "/schedules/a", of=narrow, json={**BODY, "target_topic": "mails"}, status=201)


def test_a_replacement_goes_where_the_schedule_stands_and_a_new_one_where_java_puts_it():
    made = [ask("POST", "/schedules", json={**BODY, "id": str(number)}, status=201) for number in range(8)]
    assert {each["partition"] for each in made} == {0, 1}
    for each in made:
        ask("DELETE", f"/schedules/{each['id']}", status=204)
        elsewhere = ("schedules", 1 - each["partition"])
        brokers.schedule(each["id"].encode(), elsewhere)
        assert ask("PUT", f"/schedules/{each['id']}", json=BODY)["partition"] == elsewhere[1]
        ask("POST", "/schedules", json={**BODY, "id": each["id"]}, of=far, status=409)
    assert ask("POST", "/schedules?topic=retries", json={**BODY, "id": "r"}, status=201)["topic"] == "retries"


def test_of_two_who_create_the_same_at_once_one_is_refused():
    """Through different replicas; the one that has the partition lets them in one by one."""

    async def both():
        async def one(replica):
            transport = httpx.ASGITransport(replica.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return (await client.post("/api/v1/schedules", json={**BODY, "id": "a"})).status_code

        return await asyncio.gather(*(one(replica) for replica in (near, far, near, far)))

    assert sorted(asyncio.run(both())) == [201, 409, 409, 409]


# -- changing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [NEAR, FAR], ids=["here", "at another replica"])
class TestChange:
    def test_reschedule(self, where):
        brokers.schedule(b"a", where)

        assert ask("PATCH", "/schedules/a", json={"delay": "90s"})["due"] == "2027-01-15T08:01:30Z"
        assert ask("PATCH", "/schedules/a", json={"epoch": 1_893_456_000.25})["due"] == "2030-01-01T00:00:00.250Z"
        changed = ask("PATCH", "/schedules/a", json={"cron": "0 3 * * *", "timezone": "Europe/Riga"})
        assert (changed["cron"], changed["due"]) == ("0 3 * * *", "2027-01-16T01:00:00Z")
        assert ask("PATCH", "/schedules/a", json={"at": "2031-01-01T00:00:00Z"})["cron"] == "0 3 * * *"

    @pytest.mark.parametrize("policy", ["fire", "skip", None])
    def test_a_one_shot_becomes_a_recurring_one_whatever_its_misfire_policy(self, where, policy):
        brokers.schedule(b"a", where, **({} if policy is None else {"misfire": policy}))

        changed = ask("PATCH", "/schedules/a", json={"cron": "@daily"})
        assert (changed["misfire"], changed["misfire_grace"]) == ("skip" if policy == "skip" else "once", "1m")
        assert brokers.logs[where].outcomes() == []

    def test_fire(self, where):
        brokers.schedule(b"once", where)
        brokers.schedule(b"daily", where, cron="@daily")

        assert ask("POST", "/schedules/once/fire")["fire_id"] == "once@1800000000000"
        assert ask("POST", "/schedules/daily/fire")["next_due"] == "2030-01-01T00:00:00Z"
        ask("POST", "/schedules/once/fire", status=404)
        assert brokers.logs[where].outcomes() == [(b"once", "fired"), (b"daily", "fired")]

    def test_pause_and_resume(self, where):
        brokers.schedule(b"a", where, epoch=1_800_000_000)

        assert ask("POST", "/schedules/a/pause")["paused"]
        brokers.logs[where].fire()
        assert ask("GET", "/schedules/a")["paused"]
        assert not ask("POST", "/schedules/a/resume")["paused"]
        brokers.logs[where].fire()
        ask("GET", "/schedules/a", status=404)

    def test_what_is_not_there(self, where):  # noqa: ARG002 - the same wherever it would be
        for method, path, body in (
            ("GET", "", None),
            ("DELETE", "", None),
            ("PATCH", "", {"delay": "1h"}),
            *(("POST", f"/{verb}", None) for verb in ("fire", "pause", "resume")),
        ):
            request = {} if body is None else {"json": body}
            assert "history" in ask(method, f"/schedules/a{path}", status=404, **request)["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"timezone": "UTC"}, {"at": "x"}, {"cron": "no"}, {"delay": "1h", "epoch": 1}, {"x": 1}]
)
def test_a_change_that_cannot_be_read_is_refused(body):
    brokers.schedule(b"a")

    ask("PATCH", "/schedules/a", json=body, status=422)


def test_whole_topics_pause_and_resume():
    assert ask("POST", "/pause?topic=schedules") == {"paused": True, "topics": ["schedules"], "unanswered": []}
    paused = {where for where, log in brokers.logs.items() if log.engine.paused}
    assert paused == {NEAR, FAR}
    assert ask("POST", "/resume", of=far)["topics"] == ["schedules", "retries"]
    assert not any(log.engine.paused for log in brokers.logs.values())


# -- other replicas ----------------------------------------------------------------------------------


def test_a_request_is_passed_on_once_with_the_token_and_never_further():
    """The group says that each has what the other has: both have to say that they have not."""
    lost, found = Network(), Brokers()
    one = Replica(found, [], network=lost, api_token=HERE)
    other = Replica(found, [], port=8001, network=lost, api_token=HERE)
    found.group[:] = [
        Member(one.member_id, one.client_id, frozenset({FAR, ("retries", 1)})),
        Member(other.member_id, other.client_id, frozenset({NEAR, ("retries", 0)})),
    ]
    headers = {"Authorization": f"Bearer {HERE}"}
    problem = ask("GET", "/schedules/a?topic=schedules&partition=0", of=one, status=503, headers=headers)

    assert "127.0.0.1:8001 has it no more" in problem["detail"]
    assert [each.headers["authorization"] for each in lost.asked] == [f"Bearer {HERE}"] * 2
    page = ask("GET", "/schedules", of=one, headers=headers)
    assert len(page["unanswered"]) == 4


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("scheduler@127.0.0.1:9", "127.0.0.1:9 does not answer"),
        ("scheduler-host-17", "SERVER_ADDR=off"),
        ("scheduler@127.0.0.1:8000", "ADVERTISED_ADDR"),
    ],
)
def test_a_replica_that_does_not_answer_is_named(name, word):
    found = Brokers()
    one = Replica(found, [NEAR, ("retries", 0)], network=Network())
    found.group.append(Member("another", name, frozenset({FAR, ("retries", 1)})))
    found.schedule(b"a")

    page = ask("GET", "/schedules", of=one)
    assert [each["id"] for each in page["schedules"]] == ["a"]
    assert {(each["topic"], each["partition"]) for each in page["unanswered"]} == {FAR, ("retries", 1)}
    assert all(word in each["why"] for each in page["unanswered"])
    assert word in ask("GET", "/schedules/b", of=one, status=503)["detail"]
    assert ask("GET", "/schedules/a", of=one)["id"] == "a"
    assert word in ask("POST", "/schedules", of=one, json={**BODY, "id": "b"}, status=503)["detail"]
    assert word in ask("GET", "/replicas", of=one)["replicas"][1]["why"]
    assert ask("POST", "/pause", of=one, status=202)["unanswered"]


def test_another_token_at_another_replica_is_said():
    found, there = Brokers(), Network()
    one = Replica(found, [NEAR], network=there, api_token=HERE)
    Replica(found, [FAR], port=8001, network=there, api_token=THERE)

    page = ask("GET", "/schedules?topic=schedules", of=one, headers={"Authorization": f"Bearer {HERE}"})
    assert "API_TOKEN" in page["unanswered"][0]["why"]


def test_where_the_group_cannot_be_asked_a_replica_answers_for_itself():
    """As on the embedded broker."""
    found = Brokers()
    one = Replica(found, [NEAR, FAR, ("retries", 0), ("retries", 1)])
    found.group = None
    found.schedule(b"a", FAR)

    assert ask("GET", "/schedules", of=one)["unanswered"] == []
    ask("DELETE", "/schedules/a", of=one, status=204)


@pytest.mark.parametrize(
    ("address", "text"),
    [(Address("scheduler-1", 8000), "scheduler@scheduler-1:8000"), (Address("::1", 80), "scheduler@[::1]:80")],
)
def test_an_address_travels_as_a_client_id(address, text):
    assert identity.client_id(address) == text
    assert identity.api_address(text) == address


@pytest.mark.parametrize("text", ["", "rdkafka", "scheduler-host-1", "scheduler@", "scheduler@host", "scheduler@h:0"])
def test_other_client_ids_are_no_addresses(text):
    assert identity.api_address(text) is None
