"""`/api/v1` about the past and about counts, over replicas with real engines and a store that a test fills."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Message

from scheduler.archive.kept import event_row, letter_row, run_row
from scheduler.archive.store import Kind
from scheduler.errors import BrokerUnavailableError, InputError
from scheduler.records import LogEntry
from scheduler.settling import NoLetterError
from tests.support.fleet import NOW_MS, Brokers, Network, Replica

NEAR, FAR = ("schedules", 0), ("schedules", 1)
network, brokers = Network(), Brokers()
near = Replica(brokers, [NEAR, ("retries", 0)], network=network)
far = Replica(brokers, [FAR, ("retries", 1)], port=8001, network=network)
TOKEN = "correct horse"  # noqa: S105 - of a test


@pytest.fixture(autouse=True)
def _nothing_is_there():
    brokers.clear()
    brokers.clock.ms = NOW_MS
    for replica in (near, far):
        replica.archive.store.clear()


def ask(method, path, *, of=near, status=200, **request):
    answer = of.ask(method, f"/api/v1{path}", **request)
    assert answer.status_code == status, answer.text
    return answer.json()


def record(value, *, key=b"a", offset=0, at_ms=NOW_MS, headers=()):
    return Message(
        topic="t", partition=2, offset=offset, key=key, value=value, headers=list(headers), timestamp=(1, at_ms)
    )


def ended(*outcomes, key=b"a", payload=b"{}"):
    rows = [
        event_row(
            record(
                payload,
                key=key,
                offset=number,
                at_ms=NOW_MS + number,
                headers=[
                    ("mine", b"\xff"),
                    ("scheduler-outcome", outcome.encode()),
                    ("scheduler-epoch", b"1800000000"),
                    ("scheduler-lateness-ms", b"4"),
                    ("scheduler-target-topic", b"orders"),
                    ("scheduler-fire-id", b"a@1800000000000"),
                ],
            )
        )
        for number, outcome in enumerate(outcomes)
    ]
    near.archive.store.add(Kind.EVENT, rows)


# -- history -----------------------------------------------------------------------------------------


def test_history_is_told_newest_first_in_pages_with_how_far_back_it_reaches():
    ended("fired", "fired", "cancelled")
    first = ask("GET", "/history", params={"limit": 2})
    rest = ask("GET", "/history", params={"limit": 2, "cursor": first["next_cursor"]})

    assert [each["place"] for each in first["events"] + rest["events"]] == ["2-2", "2-1", "2-0"]
    assert rest["next_cursor"] is None
    assert first["known"] == {
        "topic": "events",
        "reading": False,
        "records": 3,
        "since": "2027-01-15T08:00:00Z",
        "whole": True,
        "why": None,
    }
    assert rest["events"][0] == {
        "place": "2-0",
        "time": "2027-01-15T08:00:00Z",
        "id": "a",
        "outcome": "fired",
        "due": "2027-01-15T08:00:00Z",
        "lateness_ms": 4,
        "target_topic": "orders",
        "fire_id": "a@1800000000000",
        "reason": None,
        "detail": None,
        "payload_bytes": 2,
    }


def test_history_is_filtered_and_followed():
    ended("fired", "misfired", "rejected")
    ended("fired", key=b"other")

    assert [each["outcome"] for each in ask("GET", "/history?outcome=misfired&outcome=rejected")["events"]] == [
        "rejected",
        "misfired",
    ]
    assert [each["id"] for each in ask("GET", "/history?prefix=oth")["events"]] == ["other"]
    assert [each["id"] for each in ask("GET", "/history?contains=the")["events"]] == ["other"]
    page = ask("GET", "/history?id=a")
    assert len(page["events"]) == 3
    ended("undeliverable")
    come = ask("GET", "/history", params={"id": "a", "after": page["newest"]})
    assert [each["outcome"] for each in come["events"]] == ["undeliverable"]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"a": 1}', ('{"a": 1}', "text", False)),
        (b"\xff", ("/w==", "base64", False)),
        (b"", ("", "text", False)),
        (None, (None, "text", False)),
        ("é".encode() * 3000, ("é" * 2047, "text", True)),
    ],
    ids=["text", "bytes", "empty", "none", "cut within a character"],
)
def test_one_record_is_told_with_its_payload_and_headers(payload, shown):
    if payload is not None and len(payload) > 4096:
        payload = b"x" + payload  # so that the cut falls between the two bytes of a character
        shown = ("x" + shown[0], *shown[1:])
    ended("fired", payload=payload)

    whole = ask("GET", "/history/2-0")

    assert (whole["payload"], whole["payload_encoding"], whole["payload_is_cut"]) == shown
    assert whole["headers"][:2] == [{"name": "mine", "value": "\\xff"}, {"name": "scheduler-outcome", "value": "fired"}]


@pytest.mark.parametrize("path", ["/history/x-1", "/runs/1", "/dead-letters/1-2-3", "/dead-letters/redrive"])
def test_what_is_no_place_is_no_path(path):
    assert near.ask("GET", f"/api/v1{path}").status_code in (404, 405)


@pytest.mark.parametrize("path", ["/history/9-9", "/runs/9-9", "/dead-letters/9-9"])
def test_a_record_that_is_not_kept_is_not_found(path):
    assert "9-9 is not among the records" in ask("GET", path, status=404)["detail"]


@pytest.mark.parametrize(
    "path",
    ["/history?cursor=x", "/history?cursor=1-x", "/runs?since=yesterday", "/dead-letters?limit=0", "/history?after=-1"],
)
def test_what_cannot_be_read_is_said(path):
    assert ask("GET", path, status=422)["detail"].startswith("query.")


def test_outcomes_of_the_last_hour_are_counted():
    ended("fired", "fired", "rejected")
    brokers.clock.ms = NOW_MS + 3_600_001
    found = ask("GET", "/outcomes")

    assert (found["outcomes"], found["since"]) == ({"fired": 1, "rejected": 1}, "2027-01-15T08:00:00.001Z")


# -- runs --------------------------------------------------------------------------------------------


def test_runs_and_jobs_are_told_with_the_end_of_the_output():
    told = {
        "run_id": "crontab/a@1",
        "id": "a",
        "job": "nightly",
        "cluster": "c",
        "outcome": "failed",
        "attempt": 1,
        "max_attempts": 3,
        "output": "words",
        "output_bytes": 5000,
        "then": "retry",
    }
    near.archive.store.add(Kind.RUN, [run_row(record(json.dumps(told).encode()))])

    (job,) = ask("GET", "/jobs")["jobs"]
    (run,) = ask("GET", "/runs?id=a&outcome=failed")["runs"]
    whole = ask("GET", f"/runs/{run['place']}")

    assert (job["id"], job["job"], job["kept"]) == ("a", "nightly", 1)
    assert job["recent"] == [run]
    assert (run["attempt"], run["then"], "output" in run) == (1, "retry", False)
    assert (whole["output"], whole["output_is_cut"]) == ("words", True)
    assert ask("GET", "/runs?id=b")["runs"] == []


# -- dead letters ------------------------------------------------------------------------------------


def letters(*numbers):
    rows = [
        letter_row(record(b"no job", key=b"k", offset=number, headers=[("dead-letter-source", b"c-0@7")]))
        for number in numbers
    ]
    near.archive.store.add(Kind.LETTER, rows)


def test_letters_are_listed_until_they_are_dealt_with():
    letters(1, 2)
    near.archive.store.settle([("2-1", "redriven", NOW_MS)])
    found = ask("GET", "/dead-letters")
    settled = ask("GET", "/dead-letters?settled=true")

    assert [(each["id"], each["kind"], each["name"], each["cluster"]) for each in found["letters"]] == [
        ("2-2", "message", "k", "c")
    ]
    assert found["open"] == 1
    assert [(each["id"], each["settled"], each["settled_at"]) for each in settled["letters"]] == [
        ("2-1", "redriven", "2027-01-15T08:00:00Z")
    ]
    whole = ask("GET", "/dead-letters/2-2")
    assert (whole["source"], whole["value"], whole["can_redrive"]) == ("c-0@7", "no job", True)


@pytest.mark.parametrize("how", ["redrive", "discard"])
@pytest.mark.parametrize(
    ("fault", "status"),
    [(NoLetterError("gone"), 404), (InputError("too large"), 422), (BrokerUnavailableError("away"), 504)],
)
def test_what_cannot_be_dealt_with_is_said(monkeypatch, how, fault, status):
    def settle(_action, _ids):
        raise fault

    monkeypatch.setattr(brokers, "settle", settle)

    assert str(fault) in ask("POST", f"/dead-letters/{how}", json={"ids": ["2-1"]}, status=status)["detail"]


@pytest.mark.parametrize("ids", [[], ["x"], [1], None, ["1-1"] * 1001])
def test_letters_have_to_be_named(ids):
    ask("POST", "/dead-letters/redrive", json={"ids": ids}, status=422)


def test_dealing_with_letters_is_guarded_like_every_change():
    with_token = Replica(Brokers(), api_token=TOKEN, loopback=False, host="10.0.0.7")
    wide = Replica(Brokers(), loopback=False, host="10.0.0.8")
    body = {"ids": ["2-1"]}

    ask("POST", "/dead-letters/redrive", of=with_token, json=body, status=401)
    ask("GET", "/history", of=with_token, status=401)
    ask("POST", "/dead-letters/redrive", of=wide, json=body, status=403)
    origin = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    ask("POST", "/dead-letters/redrive", json=body, headers=origin, status=403)


# -- versions ----------------------------------------------------------------------------------------


def test_versions_are_read_where_the_schedule_stands(monkeypatch):
    brokers.schedule(b"a", FAR)
    asked = []

    def log(topic, partition, keys):
        asked.append((topic, partition, keys))
        return [LogEntry(1, 7, NOW_MS, "due 2030-01-01T00:00:00Z", in_force=True)]

    monkeypatch.setattr(brokers, "log", log)
    (version,) = ask("GET", "/versions?id=a")["versions"]

    assert asked == [("schedules", 1, {b"a"})]
    assert (version["partition"], version["offset"], version["in_force"]) == (1, 7, True)


def test_versions_of_what_is_not_in_force_are_looked_for_in_whole_topics(monkeypatch):
    asked = []
    monkeypatch.setattr(brokers, "log", lambda topic, partition, _: asked.append((topic, partition)) or [])

    assert ask("GET", "/versions?id=gone")["versions"] == []
    assert asked == [("schedules", None), ("retries", None)]


# -- counts ------------------------------------------------------------------------------------------


def test_what_is_pending_is_counted_over_all_replicas():
    counting = Brokers()
    net = Network()
    one = Replica(counting, [NEAR, ("retries", 0)], network=net)
    Replica(counting, [FAR, ("retries", 1)], port=8001, network=net)
    second = NOW_MS // 1000
    counting.schedule(b"now", NEAR, epoch=second + 59)
    counting.schedule(b"soon", FAR, epoch=second + 60, target_topic="emails")
    counting.schedule(b"later", FAR, epoch=second + 3600, target_topic="emails")
    counting.schedule(b"every", FAR, cron="@every 10m", epoch=second + 120)
    counting.schedule(b"waits", NEAR, epoch=second + 60, paused="true")
    counting.schedule(b"overdue", NEAR, epoch=second - 120)

    found = ask("GET", "/pending", of=one)

    assert (found["counted"], found["complete"], found["recurring"], found["paused"]) == (6, True, 1, 1)
    assert found["targets"] == [
        {"target_topic": "orders", "pending": 4},
        {"target_topic": "emails", "pending": 2},
    ]
    assert found["first_minute"] == "2027-01-15T08:00:00Z"
    due = {minute: count for minute, count in enumerate(found["minutes"]) if count}
    assert due == {0: 1, 1: 1, 2: 1, 12: 1, 22: 1, 32: 1, 42: 1, 52: 1}
    assert len(found["minutes"]) == 60
    assert found["unanswered"] == []


def test_a_replica_that_does_not_answer_is_named():
    counting = Brokers()
    net = Network()
    one = Replica(counting, [NEAR, ("retries", 0)], network=net)
    Replica(counting, [FAR, ("retries", 1)], port=8001, network=net)
    del net.apps["127.0.0.1:8001"]
    counting.schedule(b"a", NEAR)

    found = ask("GET", "/pending", of=one)

    assert found["counted"] == 1
    assert [(each["topic"], each["partition"]) for each in found["unanswered"]] == [("retries", 1), ("schedules", 1)]
    assert "127.0.0.1:8001 does not answer" in found["unanswered"][0]["why"]


def test_a_rule_that_occurs_all_the_time_does_not_hold_up_the_count():
    counting = Brokers()
    one = Replica(counting)
    for number in range(50):
        counting.schedule(b"%d" % number, NEAR, cron="@every 1s", epoch=NOW_MS // 1000 + number)

    found = ask("GET", "/pending", of=one)

    assert not found["complete"], "more occurrences than are reckoned"
    assert found["counted"] == 50
    assert found["minutes"][0] > 50
