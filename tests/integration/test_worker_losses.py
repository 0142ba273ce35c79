"""Jobs that kill their worker, and jobs that nobody may begin twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from scheduler.job import Job
from tests.support.schedules import wait_until
from tests.support.workers import SECONDS, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics
    from tests.support.workers import Event, WorkerProcess


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics)
    yield made
    made.close()


@pytest.fixture
def again(tmp_path: Path) -> dict[str, str]:
    """Lets a worker that was killed be the same member when it comes back: the group does not wait for its session."""
    properties = tmp_path / "client.config"
    properties.write_text("group.instance.id=the-one\n")
    return {"CONFIGURATION_FILE": str(properties), "TRANSACTION_TIMEOUT": "2000"}


def killer(seen: Path, victim: Path, after: str) -> str:
    """Counts its runs, then kills the worker whose process id is in the file."""
    return f"echo run >>{seen}; {after} kill -9 $(cat {victim}); sleep 600"


def supervised(bench: Bench, again: dict[str, str], victim: Path) -> tuple[list[int], Event]:
    """A worker that is started again each time it was killed, as by a supervisor.

    Returns:
        Which attempt each of the killer's runs was, as it was told before it began; and the killer's end.
    """

    def of_killer(worker: WorkerProcess, event: str) -> list[Event]:
        return [told for told in worker.all(event) if told["job"] == "killer"]

    attempts: list[int] = []
    for _ in range(6):
        worker = bench.worker(**again)
        victim.write_text(str(worker.pid))
        wait_until(
            lambda it=worker: it.gone or of_killer(it, "run finished"), "the worker was killed, or has given the job up"
        )
        if found := of_killer(worker, "run finished"):
            return attempts, found[0]
        assert worker.ended() == -signal.SIGKILL
        attempts += [told["attempt"] for told in of_killer(worker, "job started")]
    return pytest.fail("the job was never given up")


@pytest.mark.parametrize(
    ("after", "possible"),
    [("sleep 0.5;", [[1, 2, 3]]), ("", [[1, 1, 2, 3], [1, 2, 3]])],
    ids=["later", "at-once"],
)
def test_a_job_that_kills_its_worker_is_given_up_when_its_attempts_are_used_up(
    bench: Bench, again: dict[str, str], tmp_path: Path, after: str, possible: list[list[int]]
) -> None:
    """One that does so at once is noted from the second time on.

    Or from the first: the note is made 50 ms after the beginning, and a slow machine takes longer to start the command.
    Either way each run that follows is the next attempt, and there is none that was not told.
    """
    seen, victim = tmp_path / "seen", tmp_path / "victim"
    bench.send(killer(seen, victim, after), name="killer", max_attempts=3)
    bench.send("sleep 0.2", name="bystander", partition=0)

    attempts, finished = supervised(bench, again, victim)
    (dead,) = bench.read(bench.dead_letters, 1)

    assert attempts in possible
    assert len(seen.read_text().splitlines()) == len(attempts)
    assert (finished["outcome"], finished["then"]) == ("lost", "dead letter")
    assert b"lost: its worker ended" in dict(dead.headers() or [])["dead-letter-reason"]
    assert [error.attempt for error in Job.from_json(dead.value() or b"").errors] == [1, 2, 3]
    results = bench.read_results(2)
    assert sorted((result["job"], result["outcome"]) for result in results) == [
        ("bystander", "succeeded"),
        ("killer", "lost"),
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_job_outlives_its_worker_whatever_the_job_does_about_it(
    bench: Bench, number: signal.Signals
) -> None:
    worker = bench.ready_worker("--drain", "0s")
    bench.send("trap '' TERM HUP INT; echo $$; while :; do sleep 600; done", name="stubborn")
    bench.send("setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 600; done' & wait", name="in another group")
    bench.send("(setsid sh -c 'echo $$; exec sleep 600' &); sleep 600", name="orphaned by a double fork")
    family = [psutil.Process(int(worker.wait_for("job output")["line"])) for _ in range(3)]

    worker.signal(number)

    assert worker.ended() in (0, -signal.SIGKILL)
    _, alive = psutil.wait_procs(family, SECONDS)
    assert [it for it in alive if it.status() != psutil.STATUS_ZOMBIE] == []


def test_an_attempt_that_was_lost_counts(bench: Bench, again: dict[str, str], tmp_path: Path) -> None:
    first = bench.worker(**again)
    seen = tmp_path / "seen"
    bench.send(f"mkdir {seen} 2>/dev/null || exit 7; echo running; sleep 600", name="job", max_attempts=2)
    first.wait_for("job output")
    wait_until(lambda: b"0:1" in bench.metadata(), "the beginning is noted")
    first.signal(signal.SIGKILL)
    first.ended()

    second = bench.worker(**again)

    assert second.wait_for("job started")["attempt"] == 2
    assert second.wait_for("run finished")["then"] == "dead letter"
    (result,) = bench.read_results(1)
    assert result["error"] == "exit 7"


def test_an_attempt_at_most_once_is_told_before_it_begins_and_is_not_made_again(
    bench: Bench, again: dict[str, str], tmp_path: Path
) -> None:
    first = bench.worker(**again)
    seen, victim = tmp_path / "seen", tmp_path / "victim"
    victim.write_text(str(first.pid))
    bench.send(killer(seen, victim, ""), name="job", max_attempts=3, delivery="at-most-once")
    assert first.ended() == -signal.SIGKILL
    (before,) = bench.read_results(1)

    second = bench.worker(**again)
    finished = second.wait_for("run finished")
    (dead,) = bench.read(bench.dead_letters, 1)

    assert before["outcome"] == "started"
    assert (finished["outcome"], finished["then"]) == ("lost", "dead letter")
    assert b"at most once" in dict(dead.headers() or [])["dead-letter-reason"]
    assert len(seen.read_text().splitlines()) == 1


def test_an_attempt_at_most_once_that_fails_is_retried_like_any_other(bench: Bench) -> None:
    bench.send("exit 1", name="job", max_attempts=2, delivery="at-most-once")
    bench.ready_worker()

    started, ended = bench.read_results(2)

    assert (started["outcome"], ended["outcome"], ended["then"]) == ("started", "failed", "retry")
    assert len(bench.read(bench.schedules, 1)) == 1


def test_an_attempt_at_most_once_that_the_worker_has_to_stop_is_not_given_back(bench: Bench) -> None:
    worker = bench.ready_worker("--drain", "100ms")
    bench.send("echo running; sleep 600", name="job", max_attempts=3, delivery="at-most-once")
    worker.wait_for("job output")

    worker.signal(signal.SIGTERM)

    assert worker.wait_for("run finished")["then"] == "dead letter"
    assert worker.ended() == 0
    assert bench.committed() == 1
    assert len(bench.read(bench.dead_letters, 1)) == 1
