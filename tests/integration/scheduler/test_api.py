"""The HTTP API on a real broker: any replica answers for the whole topic, and what it promises holds."""

from __future__ import annotations

import base64
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from scheduler import partitioners
from scheduler.clock import rfc3339
from scheduler.engine.life import State
from tests.support.replica_process import replica_process
from tests.support.schedules import JAVA, SECONDS, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

LATER_MS = 3_600_000
PARTITIONS = 4


@contextmanager
def served(installation: Installation, **settings: Any) -> Iterator[tuple[Scheduler, httpx.Client]]:
    """A replica with an API, and a client of it."""
    with (
        installation.replica(restored=False, server_addr="127.0.0.1:0", **settings) as replica,
        httpx.Client(base_url=f"http://{replica.api_address}/api/v1", timeout=SECONDS, trust_env=False) as client,
    ):
        yield replica, client


@contextmanager
def two_replicas(installation: Installation) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two replicas that share the partitions; clients of each."""
    with served(installation) as (one, first), served(installation) as (other, second):

        def shared() -> bool:
            standings = [replica.standings() for replica in (one, other)]
            running = all(each.state is State.RUNNING for found in standings for each in found.values())
            return running and [len(found) for found in standings] == [PARTITIONS // 2] * 2

        wait_until(shared, "two replicas share the partitions")
        # each has heard of the other's
        for client in (first, second):
            wait_until(lambda c=client: not c.get("/schedules").json()["unanswered"], "each knows the other")  # type: ignore[misc]
        yield first, second


def test_any_replica_answers_for_all_partitions(install: Callable[..., Installation]) -> None:
    """Lists with pages, and single schedules, whoever has them and whatever partitioner wrote them."""
    installation = install(partitions=PARTITIONS)
    start_ms = clock.now_ms() + LATER_MS
    keys = [b"key/%d" % number for number in range(41)]
    installation.write(
        *(installation.schedule(key, due_ms=start_ms + number) for number, key in enumerate(keys[:20])),
        partitioner=JAVA,
    )
    installation.write(
        *(installation.schedule(key, due_ms=start_ms + number) for number, key in enumerate(keys[20:], 20)),
        partitioner="fnv1a_random",
    )
    expected = [key.decode() for key in keys]
    with two_replicas(installation) as clients:
        for client in clients:
            found: list[dict[str, Any]] = []
            cursor = None
            while True:
                page = client.get("/schedules", params={"limit": 7} | ({"cursor": cursor} if cursor else {})).json()
                found += page["schedules"]
                assert page["unanswered"] == []
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert [each["id"] for each in found] == expected
            assert {each["partition"] for each in found} == set(range(PARTITIONS))
            for each in (found[0], found[-1]):
                assert client.get(f"/schedules/{each['id']}").json()["offset"] == each["offset"]
            some = client.get("/schedules", params={"prefix": "key/1", "due_to": rfc3339(start_ms + 15)}).json()
            assert [each["id"] for each in some["schedules"]] == [
                "key/1",
                *(f"key/{number}" for number in range(10, 15)),
            ]
            standing = client.get("/replicas").json()
            assert [replica["me"] for replica in standing["replicas"]] == [True, False]
            owned = [each["partition"] for replica in standing["replicas"] for each in replica["partitions"]]
            assert sorted(owned) == list(range(PARTITIONS))
            assert sum(each["pending"] for replica in standing["replicas"] for each in replica["partitions"]) == 41
            assert standing["unanswered"] == []


def test_changes_through_any_replica_are_seen_at_once_through_the_other(install: Callable[..., Installation]) -> None:
    """Each of the changes, of schedules in every partition, and what they become after a restart."""
    installation = install(partitions=PARTITIONS)
    target = installation.target
    ids = [f"id {number}" for number in range(16)]
    homes = {each: partitioners.java(each.encode(), PARTITIONS) for each in ids}
    assert set(homes.values()) == set(range(PARTITIONS))
    with two_replicas(installation) as (one, other):
        for each in ids:
            body = {"target_topic": target, "delay": "1h", "payload": "AP8=", "payload_encoding": "base64"}
            made = one.post("/schedules", json={"id": each, **body})
            assert (made.status_code, made.json()["partition"]) == (201, homes[each])
            assert other.post("/schedules", json={"id": each, **body}).status_code == 409
            seen = other.get(made.headers["location"].removeprefix("/api/v1")).json()
            assert seen == made.json()
            again = other.put(f"/schedules/{each}", json={**body, "payload": "new", "payload_encoding": "text"})
            assert again.status_code == 200
            assert one.get(f"/schedules/{each}").json()["payload"] == "new"
        cancelled, moved, repeated, fired, paused, resumed, *_ = ids
        assert other.delete(f"/schedules/{cancelled}").status_code == 204
        assert one.get(f"/schedules/{cancelled}").status_code == 404
        assert one.patch(f"/schedules/{moved}", json={"at": "2040-01-01T00:00:00.5Z"}).status_code == 200
        assert other.get(f"/schedules/{moved}").json()["due"] == "2040-01-01T00:00:00.500Z"
        assert other.patch(f"/schedules/{repeated}", json={"cron": "0 3 * * *", "timezone": "Europe/Riga"}).is_success
        assert one.get(f"/schedules/{repeated}?next=3").json()["timezone"] == "Europe/Riga"
        assert one.post(f"/schedules/{fired}/fire").json()["outcome"] == "fired"
        assert other.get(f"/schedules/{fired}").status_code == 404
        for each in (paused, resumed):
            assert one.post(f"/schedules/{each}/pause").json()["paused"]
            assert other.patch(f"/schedules/{each}", json={"delay": "100ms"}).json()["paused"]
        assert [each["id"] for each in one.get("/schedules", params={"paused": True}).json()["schedules"]] == [
            paused,
            resumed,
        ]
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        # both were due long before this restart, and before the one that fires now
        assert client.post(f"/schedules/{resumed}/resume").status_code == 200
        installation.write(installation.schedule(b"afterwards", epoch=0, partition=homes[paused]))
        messages = installation.fired(b"afterwards", resumed.encode())
        assert client.get(f"/schedules/{paused}").json()["paused"]
        assert client.get(f"/schedules/{moved}").json()["due"] == "2040-01-01T00:00:00.500Z"

    assert sorted(message["scheduler-key"] or b"" for message in messages) == sorted(
        [b"afterwards", fired.encode(), resumed.encode()]
    )
    outcomes = {record.key: record["scheduler-outcome"] for record in installation.read(installation.history)}
    assert outcomes == {
        cancelled.encode(): b"cancelled",
        fired.encode(): b"fired",
        resumed.encode(): b"fired",
        b"afterwards": b"fired",
    }


def test_what_is_cancelled_with_204_never_fires(install: Callable[..., Installation]) -> None:
    """Cancels around the due time, through the replica that has it and through the other; the history is the judge.

    The due time follows the machine: a little sooner after a cancel that came in time, a little later after one
    that did not, so that half of them are as close as can be.
    """
    installation = install(partitions=PARTITIONS)
    answers: dict[str, int] = {}
    ahead_ms = 40.0
    with two_replicas(installation) as clients:
        for number in range(120):
            key = f"race-{number}"
            # acknowledged, and perhaps not read by anyone yet
            due_ms = clock.now_ms() + int(ahead_ms)
            installation.write(installation.schedule(key.encode(), due_ms=due_ms), partitioner=JAVA)
            status = answers[key] = clients[number % 2].delete(f"/schedules/{key}").status_code
            ahead_ms *= 0.8 if status == 204 else 1.25
        installation.write(*(installation.schedule(b"last", partition=each, epoch=0) for each in range(PARTITIONS)))
        history = installation.wait_for(installation.history, len(answers) + PARTITIONS)

    assert set(answers.values()) == {204, 404}
    told = {(record.key or b"").decode(): record["scheduler-outcome"] for record in history}
    for key, status in answers.items():
        assert told[key] == (b"cancelled" if status == 204 else b"fired"), key
    delivered = [message["scheduler-key"] or b"" for message in installation.read(installation.target)]
    assert sorted(key for key in delivered if key != b"last") == sorted(
        key.encode() for key, status in answers.items() if status == 404
    )


def test_a_cancel_holds_for_a_version_that_was_acknowledged_just_before(installation: Installation) -> None:
    """The owner may not have read it when it is asked to cancel."""
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        for number in range(30):
            key = f"fresh-{number}"
            installation.write(installation.schedule(key.encode(), due_ms=clock.now_ms() + LATER_MS))
            installation.write(installation.schedule(key.encode(), b"newer", due_ms=clock.now_ms() + LATER_MS))
            assert client.delete(f"/schedules/{key}").status_code == 204
            assert client.get(f"/schedules/{key}").status_code == 404


def test_what_is_not_read_yet_is_waited_for(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client's open transaction hides from everybody what is written behind it, until it is over."""
    with served(installation) as (replica, client), ThreadPoolExecutor() as threads:
        installation.wait_until_restored(replica)
        installation.write(installation.schedule(b"old", due_ms=clock.now_ms() + LATER_MS))
        wait_until_pending(replica, 1)
        body = {"target_topic": installation.target, "delay": "1h"}
        open_one = installation.transaction(
            "another", installation.schedule(b"hides", due_ms=clock.now_ms() + LATER_MS)
        )
        with monkeypatch.context() as patience:
            patience.setattr("scheduler.api.local.READ_SECONDS", 0.3)
            assert client.delete("/schedules/old").status_code == 202
            assert client.put("/schedules/unseen", json=body).status_code == 202
        installation.write(installation.schedule(b"fresh", due_ms=clock.now_ms() + LATER_MS))
        end = replica.kafka.end(installation.schedules, 0)
        made = threads.submit(client.put, "/schedules/new", json=body)
        wait_until(lambda: replica.kafka.end(installation.schedules, 0) > end, "the new one stands in the log")
        gone = threads.submit(client.delete, "/schedules/fresh")
        for key in ("new", "fresh", "unseen"):
            assert client.get(f"/schedules/{key}").status_code == 404
        assert not made.done()
        open_one.commit_transaction(SECONDS)
        assert made.result(SECONDS).status_code == 201
        assert client.get("/schedules/new").status_code == 200
        assert gone.result(SECONDS).status_code == 204
        assert client.get("/schedules/fresh").status_code == 404
        assert client.get("/schedules/old").status_code == 404


def test_the_examples_of_the_page_are_right(installation: Installation) -> None:
    """docs/api.md, one after another."""
    page = (Path(__file__).parents[3] / "docs/api.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        asked = 0
        for line in script.splitlines():
            if not line.startswith("curl"):
                continue
            words = shlex.split(line.replace("$api", "").replace("=schedules", f"={installation.schedules}"))
            options = dict(pairwise(words))
            (path,) = [word for word in words if word.startswith("/")]
            content, method = options.get("-d"), options.get("-X", "GET")
            headers = {"Content-Type": "application/json"} if "-H" in options else {}
            if content is not None:  # the topics of the page are not there; whatever is fired would wait for them
                content = re.sub('"target_topic": "[a-z-]+"', f'"target_topic": "{installation.target}"', content)
            answer = client.request(method, path, content=content, headers=headers)
            assert answer.is_success, f"{line}: {answer.text}"
            assert answer.status_code != 202, line
            asked += 1
        assert asked == 12


def test_whole_topics_are_paused_and_resumed(install: Callable[..., Installation]) -> None:
    """After the answer nothing fires in any partition of any replica, also after a restart, until it is resumed."""
    installation = install(partitions=PARTITIONS)
    with two_replicas(installation) as (one, other):
        held = one.post("/pause")
        assert (held.status_code, held.json()["unanswered"]) == (200, [])
        installation.write(
            *(installation.schedule(b"due-%d" % each, partition=each, epoch=0) for each in range(PARTITIONS))
        )
        wait_until(lambda: len(other.get("/schedules").json()["schedules"]) == PARTITIONS, "all are in force")
        assert all(
            each["paused"] for replica in other.get("/replicas").json()["replicas"] for each in replica["partitions"]
        )
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        wait_until_pending(replica, PARTITIONS)
        assert installation.read(installation.target) == []
        assert client.post("/resume").status_code == 200
        fired = installation.fired(*(b"due-%d" % each for each in range(PARTITIONS)))
    assert len(fired) == PARTITIONS


def test_a_replica_that_is_gone_is_named(install: Callable[..., Installation]) -> None:
    """Until the group gives its partitions to another, the rest is listed, and what is missing is named."""
    installation = install(partitions=PARTITIONS)
    due_ms = clock.now_ms() + LATER_MS
    installation.write(
        *(installation.schedule(b"at-%d" % each, partition=each, due_ms=due_ms) for each in range(PARTITIONS))
    )
    # given up by the group after a minute: nobody takes over while this looks
    with (
        served(installation, session_timeout=60_000) as (_, client),
        replica_process(installation, session_timeout="60000") as other,
    ):
        other.wait_until_ready(PARTITIONS // 2)
        wait_until(lambda: len(client.get("/schedules").json()["schedules"]) == PARTITIONS, "each knows the other")
        address = other.event("api")["advertised"]
        other.end()
        page = client.get("/schedules").json()
        missing = {each["partition"] for each in page["unanswered"]}
        assert len(missing) == PARTITIONS // 2
        assert all(address in each["why"] for each in page["unanswered"])
        assert {each["partition"] for each in page["schedules"]} == set(range(PARTITIONS)) - missing
        away = {"topic": installation.schedules, "partition": min(missing)}
        for method, params in (("GET", {}), ("GET", away), ("DELETE", {}), ("DELETE", away)):
            answer = client.request(method, f"/schedules/at-{min(missing)}", params=params)
            assert answer.status_code == 503
            assert address in answer.json()["detail"]
            assert answer.headers["content-type"] == "application/problem+json"
        (named,) = [each for each in client.get("/replicas").json()["replicas"] if each["why"]]
        assert named["address"] == address


def test_payloads_and_headers_of_any_bytes_come_back(installation: Installation) -> None:
    raw = bytes(range(256))
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        headers = [{"name": "trace", "value": base64.b64encode(raw).decode(), "encoding": "base64"}, {"name": "null"}]
        body = {"payload": base64.b64encode(raw).decode(), "payload_encoding": "base64", "headers": headers}
        made = client.put(
            "/schedules/%00%2F..%2F%C3%A9%0A", json={**body, "target_topic": installation.target, "epoch": 0}
        )
        assert made.status_code in (201, 202), made.text
        (message,) = installation.fired("\0/../é\n".encode())

    assert message.value == raw
    assert message.headers[:2] == [("trace", raw), ("null", None)]
