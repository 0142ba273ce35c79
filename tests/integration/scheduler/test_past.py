"""The past over the API on a real broker: any replica tells all that was committed, and deals with letters once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scheduler.archive import tail
from scheduler.archive.store import Kind
from scheduler.engine.life import State
from scheduler.job import Job
from tests.support.records import Put
from tests.support.schedules import JAVA, SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler.service import Scheduler
    from tests.support.broker import Broker, Topics
    from tests.support.schedules import Installation

PARTITIONS = 4
HOUR_MS = 3_600_000


@contextmanager
def served(installation: Installation, **settings: Any) -> Iterator[tuple[Scheduler, httpx.Client]]:
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
        for client in (first, second):
            wait_until(lambda c=client: c.get("/schedules").json().get("unanswered") == [], "each knows the other")  # type: ignore[misc]
        yield first, second


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "archive"]


def told(client: httpx.Client, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
    page = looked(client, path, **params)
    return list(page[name])


def looked(client: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    """The answer, once everything is read that was there when somebody first looked."""
    pages: list[dict[str, Any]] = []

    def read() -> bool:
        answer = client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        return not pages[-1].get("known", {}).get("reading", False)

    wait_until(read, f"{path} is read to its end")
    return pages[-1]


def test_any_replica_tells_the_history_of_all_and_reads_nothing_before_somebody_looks(
    install: Callable[..., Installation],
) -> None:
    installation = install(partitions=PARTITIONS)
    keys = [b"fires-%d" % number for number in range(12)]
    with two_replicas(installation) as (one, other):
        now_ms = clock.now_ms()
        installation.write(
            *(installation.schedule(key, due_ms=now_ms) for key in keys),
            installation.schedule(b"cancelled", due_ms=now_ms + HOUR_MS),
            Put(installation.schedules, b"rejected", b"", []),
            partitioner=JAVA,
        )
        installation.fired(*keys)
        assert other.delete("/schedules/cancelled").status_code == 204
        installation.wait_for(installation.history, len(keys) + 2)
        assert readers() == [], "nobody has looked"

        expected = {(key.decode(), "fired") for key in keys} | {("cancelled", "cancelled"), ("rejected", "rejected")}
        for client in (one, other):
            page = looked(client, "/history")
            assert {(each["id"], each["outcome"]) for each in page["events"]} == expected
            assert len(page["events"]) == len(expected)
            assert (page["known"]["whole"], page["known"]["reading"]) == (True, False)
        assert len(readers()) == 2
        assert looked(one, "/outcomes")["outcomes"] == {"fired": 12, "cancelled": 1, "rejected": 1}

        newest = looked(one, "/history")["newest"]
        installation.write(installation.schedule(b"later", b"\xff", due_ms=clock.now_ms()), partitioner=JAVA)
        wait_until(lambda: told(one, "/history", "events", after=newest), "what comes is told")
        (event,) = told(one, "/history", "events", after=newest)
        whole = one.get(f"/history/{event['place']}").json()
        assert (whole["id"], whole["payload"], whole["payload_encoding"]) == ("later", "/w==", "base64")
        assert told(one, "/history", "events", id="later") == [event]
    wait_until(lambda: not readers(), "a replica that is closed reads no more")


def test_what_a_transaction_aborted_is_not_told(installation: Installation) -> None:
    outcome = [("scheduler-outcome", b"fired")]
    aborted = installation.transaction("aborts", Put(installation.history, b"aborted", b"", list(outcome)))
    with served(installation) as (_, client):
        assert told(client, "/history", "events") == []
        aborted.abort_transaction(SECONDS)
        installation.write(Put(installation.history, b"stands", b"", list(outcome)))
        wait_until(lambda: told(client, "/history", "events"), "what stands is told")
        assert [each["id"] for each in told(client, "/history", "events")] == ["stands"]


def test_versions_are_what_the_topic_still_holds(install: Callable[..., Installation]) -> None:
    installation = install(partitions=PARTITIONS)
    with served(installation) as (replica, client):
        installation.wait_until_restored(replica)
        body = {"target_topic": installation.target, "at": "2030-01-01T00:00:00Z"}
        assert client.post("/schedules", json={"id": "a", **body}).status_code == 201
        assert client.patch("/schedules/a", json={"at": "2031-01-01T00:00:00Z"}).status_code == 200
        versions = told(client, "/versions", "versions", id="a")
        assert [each["in_force"] for each in versions] == [False, True]
        assert versions[0]["what"] == "due 2030-01-01T00:00:00Z"
        assert versions[1]["what"].startswith("due 2031-01-01T00:00:00Z, written by the scheduler")

        assert client.delete("/schedules/a").status_code == 204
        gone = told(client, "/versions", "versions", id="a")
        assert [each["in_force"] for each in gone] == [False] * 3
        assert gone[2]["what"].startswith("tombstone")


def test_pending_and_lag_are_those_of_all_replicas(install: Callable[..., Installation]) -> None:
    installation = install(partitions=PARTITIONS)
    due_ms = clock.now_ms() + 20 * 60_000
    other_target = f"{installation.target}-2"
    installation.write(
        *(
            installation.schedule(
                b"%d" % number,
                due_ms=due_ms,
                partition=number % PARTITIONS,
                target_topic=other_target if number < 3 else installation.target,
            )
            for number in range(10)
        )
    )
    with two_replicas(installation) as (one, other):
        for client in (one, other):
            found = client.get("/pending").json()
            assert (found["counted"], found["complete"], found["unanswered"]) == (10, True, []), found
            # also what is due later than two minutes from now
            by_target = {each["target_topic"]: each["pending"] for each in found["targets"]}
            assert by_target == {installation.target: 7, other_target: 3}
            assert sum(found["minutes"]) == 10

        def lags() -> list[int | None]:
            replicas = one.get("/replicas").json()["replicas"]
            return [each["lag"] for replica in replicas for each in replica["partitions"]]

        wait_until(lambda: lags() == [0] * PARTITIONS, "everything is read")


@pytest.fixture
def cluster(broker: Broker, topics: Topics) -> str:
    """A cluster's topic, and its retries'."""
    name = topics.create("cluster")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(f"{name}-retry", 1)])[f"{name}-retry"].result(SECONDS)
    topics.adopt(f"{name}-retry")
    return name


def letter(installation: Installation, cluster: str, name: str) -> Put:
    job = Job.model_validate(
        {"id": name, "job": name, "cluster": cluster, "command": "exit 3", "attempt": 3, "max_attempts": 3}
    )
    headers: list[tuple[str, bytes | None]] = [
        ("dead-letter-reason", b"attempt 3 of 3 failed: exit 3"),
        ("dead-letter-source", f"{cluster}-0@0".encode()),
        ("trace", b"7"),
    ]
    return Put(installation.dead_letters, name.encode(), job.to_json(), headers)


def test_letters_are_redriven_once_whoever_asks_and_discarded(installation: Installation, cluster: str) -> None:
    written = installation.write(*(letter(installation, cluster, f"job-{number}") for number in range(4)))
    ids = [f"{each.partition}-{each.offset}" for each in written]
    with served(installation) as (_, one), served(installation) as (_, other):

        def left(client: httpx.Client) -> list[str]:
            return sorted(each["id"] for each in told(client, "/dead-letters", "letters"))

        assert left(one) == left(other) == sorted(ids)
        whole = one.get(f"/dead-letters/{ids[0]}").json()
        assert (whole["kind"], whole["cluster"], whole["attempts"]) == ("job", cluster, 3)

        with ThreadPoolExecutor(2) as people:
            asked = [
                people.submit(client.post, "/dead-letters/redrive", json={"ids": ids[:2]}) for client in (one, other)
            ]
            answers = sorted(each.result().status_code for each in asked)
        # whoever comes second finds them dealt with; one that was overtaken does not know
        assert answers[0] == 200, answers
        assert answers[1] in (404, 504), answers
        assert one.post("/dead-letters/redrive", json={"ids": ids[1:3]}).status_code == 404, "all of them or none"
        discarded = other.post("/dead-letters/discard", json={"ids": ids[2:3]})
        assert discarded.json() == {"action": "discarded", "ids": ids[2:3]}

        again = installation.wait_for(f"{cluster}-retry", 2)
        jobs = [Job.from_json(each.value or b"") for each in installation.read(f"{cluster}-retry")]
        assert sorted((job.id, job.attempt) for job in jobs) == [("job-0", 1), ("job-1", 1)]
        assert again[0]["trace"] == b"7"
        for client in (one, other):
            wait_until(lambda c=client: left(c) == ids[3:], "those that were dealt with are listed no more")  # type: ignore[misc]
        settled = {each["id"]: each["settled"] for each in told(one, "/dead-letters", "letters", settled=True)}
        assert settled == {ids[0]: "redriven", ids[1]: "redriven", ids[2]: "discarded"}


def test_runs_are_told_and_topics_that_are_not_there_are_waited_for(
    installation: Installation, topics: Topics, broker: Broker
) -> None:
    results = f"{installation.history}-results"
    with served(installation, results_topic=results) as (_, client):
        known = looked(client, "/jobs")["known"]
        assert known["why"] is not None
        assert (known["topic"], known["records"]) == (results, 0)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(results, 2)])[results].result(SECONDS)
    topics.adopt(results)
    run = {
        "run_id": "a@1",
        "id": "a",
        "job": "nightly",
        "cluster": "c",
        "outcome": "failed",
        "output": "last words",
    }
    with served(installation, results_topic=results) as (_, client):
        installation.write(
            Put(results, b"a@1", json.dumps(run).encode(), [], 0),
            Put(results, b"a@1", json.dumps({**run, "outcome": "succeeded"}).encode(), [], 1),
            Put(results, b"x", b"no result", [], 1),
        )
        wait_until(lambda: len(told(client, "/runs", "runs")) == 2, "both partitions are read")
        (job,) = told(client, "/jobs", "jobs")
        assert (job["id"], job["kept"]) == ("a", 2)
        (failed,) = told(client, "/runs", "runs", outcome="failed")
        assert client.get(f"/runs/{failed['place']}").json()["output"] == "last words"


def test_no_memory_for_the_past_is_said(installation: Installation) -> None:
    installation.write(Put(installation.history, b"a", b"", [("scheduler-outcome", b"fired")]))
    with served(installation, history_cache=0) as (_, client):
        page = looked(client, "/history")
        assert page["events"] == []
        assert "HISTORY_CACHE is 0" in page["known"]["why"]
        assert readers() == []


def test_it_stops_and_forgets_when_nobody_looks_any_more_and_begins_anew(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "IDLE_SECONDS", 0.5)
    installation.write(Put(installation.history, b"a", b"", [("scheduler-outcome", b"fired")]))
    with served(installation) as (replica, client):
        for _ in range(2):
            wait_until(lambda: told(client, "/history", "events"), "it is read")
            assert len(readers()) == 1
            wait_until(lambda: not readers(), "nobody looks")
            assert replica.archive.store.extent(Kind.EVENT) == (0, None, False)
