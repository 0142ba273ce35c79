"""`worker dead` on a real broker: what was given up is found, run again once, or put away."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from scheduler.client import SchedulerClient
from scheduler.errors import BrokerUnavailableError
from scheduler.job import Job
from scheduler.letters import open_letters
from scheduler.runtime.settings import Settings
from scheduler.settling import settling_id
from tests.support.workers import CLOCK, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Broker, Topics


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics)
    yield made
    made.close()


def listed(bench: Bench, *arguments: str) -> list[dict[str, object]]:
    return list(json.loads(said(bench.dead("list", "--json", *arguments))))


def said(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_dead_job_is_listed_shown_and_run_again_with_all_its_attempts_under_the_same_run_id(bench: Bench) -> None:
    retries = bench.create(f"{bench.cluster}-retry")
    bench.ready_worker()
    bench.send("echo first words; echo last words; exit 3", name="flaky", owner="ops")
    bench.send("exit 4", name="other")
    bench.read(bench.dead_letters, 2)

    (letter,) = listed(bench, "--job", "flaky", "--cluster", bench.cluster, "--since", "1h")
    shown = json.loads(said(bench.dead("show", str(letter["id"]), "--json")))
    people = said(bench.dead("show", str(letter["id"])))
    redriven = said(bench.dead("redrive", str(letter["id"])))

    assert letter["reason"] == "attempt 1 of 1 failed: exit 3: last words"
    assert [error["error"] for error in shown["errors"]] == ["exit 3: last words"]
    assert shown["output_tail"] == "first words\nlast words\n"
    assert "first words\nlast words" in people
    assert redriven == f"{letter['id']} flaky: redriven\n"
    (again,) = bench.read(retries, 1)
    job = Job.from_json(again.value() or b"")
    assert (job.attempt, job.errors, job.run_id) == (1, (), letter["run_id"])
    assert (again.key(), job.model_extra) == (b"flaky", {"owner": "ops"})
    assert [left["name"] for left in listed(bench)] == ["other"]
    bench.worker("--retry").wait_for("run finished", lambda event: event["run_id"] == letter["run_id"])
    assert len(bench.read(bench.dead_letters, 4)) == 4  # two letters, a marker, and the new letter


def test_a_letter_that_two_people_run_again_at_once_is_run_again_once(bench: Bench) -> None:
    retries = bench.create(f"{bench.cluster}-retry")
    bench.ready_worker()
    for number in range(5):
        bench.send("exit 1", name=f"job-{number}")
    bench.read(bench.dead_letters, 5)

    with ThreadPoolExecutor(3) as people:
        ended = list(people.map(lambda _: bench.dead("redrive", "--all"), range(3)))
    bench.dead("redrive", "--all")

    assert {it.returncode for it in ended} <= {0, 69}  # one who was overtaken says so
    assert all("Traceback" not in it.stderr for it in ended)
    assert sorted(message.key() for message in bench.read(retries, 5)) == [b"job-%d" % n for n in range(5)]
    assert listed(bench) == []


def test_who_was_overtaken_after_reading_writes_nothing(bench: Bench) -> None:
    retries = bench.create(f"{bench.cluster}-retry")
    bench.ready_worker()
    bench.send("exit 1", name="job")
    bench.read(bench.dead_letters, 1)
    settings = Settings.load(**{name.lower(): value for name, value in bench.environment().items()})
    client = SchedulerClient(settings)

    def slowly() -> None:
        with client.writer(settling_id(settings)) as writer:
            (letter,) = open_letters(client.records(settings.dead_letter_topic))
            said(bench.dead("redrive", "--all"))
            writer.apply([letter.again(now_ms=0, schedules_topics=settings.schedules_topics)])

    with pytest.raises(BrokerUnavailableError):
        slowly()
    assert len(bench.read(retries, 1)) == 1


def test_a_discarded_letter_is_not_listed_and_cannot_be_run_again(bench: Bench) -> None:
    bench.ready_worker()
    bench.send("exit 1", name="job")
    bench.read(bench.dead_letters, 1)
    (letter,) = listed(bench)

    assert said(bench.dead("discard", str(letter["id"]))).endswith("discarded\n")

    assert listed(bench) == []
    refused = bench.dead("redrive", str(letter["id"]))
    assert refused.returncode == 65
    assert f"{letter['id']}: no such dead letter, or it has been dealt with" in refused.stderr


def test_a_message_that_is_no_job_goes_back_to_where_it_came_from(bench: Bench) -> None:
    bench.ready_worker()
    bench.send_raw(b"no job", headers=[("trace", b"1")])
    bench.read(bench.dead_letters, 1)
    (letter,) = listed(bench, "--cluster", bench.cluster)

    said(bench.dead("redrive", "--all"))

    assert letter["kind"] == "message"
    # it is still no job: the worker gives it up again, as it came
    _, _, again = bench.read(bench.dead_letters, 3)
    assert (again.key(), again.value()) == (b"key", b"no job")
    assert [name for name, _ in again.headers() or []].count("trace") == 1
    assert [it["reason"] for it in listed(bench)] == [letter["reason"]]


def test_an_undeliverable_schedule_is_scheduled_again(bench: Bench) -> None:
    headers = [
        ("mine", b"1"),
        ("scheduler-target-topic", b"elsewhere"),
        ("scheduler-target-key", b"k"),
        ("scheduler-timestamp", b"1893456000"),
        ("scheduler-key", b"video"),
        ("scheduler-topic", bench.schedules.encode()),
        ("scheduler-epoch", b"1893456000"),
        ("scheduler-fire-id", b"video@1893456000000"),
        ("scheduler-outcome", b"undeliverable"),
        ("scheduler-reason", b"unknown-topic"),
    ]
    bench.send_raw(b"payload", headers=headers, topic=bench.dead_letters)
    (letter,) = listed(bench, "--cluster", "elsewhere")
    before = CLOCK.now_ms()

    said(bench.dead("redrive", str(letter["id"])))

    assert (letter["kind"], letter["reason"]) == ("schedule", "unknown-topic")
    (again,) = bench.read(bench.schedules, 1)
    said_now = dict(again.headers() or [])
    assert (again.key(), again.value()) == (b"video@1893456000000#redriven", b"payload")
    assert float(said_now.pop("scheduler-epoch")) * 1000 >= before
    assert said_now == {"mine": b"1", "scheduler-target-topic": b"elsewhere", "scheduler-target-key": b"k"}


def test_what_to_deal_with_has_to_be_said() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "dead", "redrive"], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 64
    assert "Give IDs, --job NAME or --all" in ended.stderr
