"""Who gets a slot, and when: no Kafka and no process, attempts end when the test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from scheduler.job import Job
from worker.metrics import Metrics
from worker.outcome import Ended, Outcome
from worker.runner import Runner
from worker.runs import Run, Source, Suspicion
from worker.slots import HARMLESS_SECONDS, NOTE_SECONDS, Slots

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from worker.commands import Attempt


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def seconds_until(self, instant_ms: int) -> float:
        return instant_ms / 1000 - self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


class Play:
    """Performs nothing: an attempt ends when it is told to, or is stopped."""

    def __init__(self) -> None:
        self.under_way: dict[str, Callable[[Ended], None]] = {}
        self.stopped: list[str] = []

    def start(self, run: Run, tell: Callable[[str], None], done: Callable[[Ended], None]) -> Attempt:  # noqa: ARG002
        self.under_way[run.run_id] = done
        return Stopper(self, run.run_id)

    def end(self, run_id: str, ended: Ended | None = None) -> None:
        self.under_way.pop(run_id)(ended or Ended(Outcome.SUCCEEDED, "exit 0", exit_code=0))


class Stopper:
    def __init__(self, play: Play, run_id: str) -> None:
        self._play, self._run_id = play, run_id

    def stop(self) -> None:
        self._play.stopped.append(self._run_id)


STOPPED = Ended(Outcome.KILLED, "stopped by the worker", signal="SIGTERM", stopped=True)


class Stage:
    def __init__(self, count: int = 2) -> None:
        self.clock = Clock()
        self.play = Play()
        self.slots = Slots(count, Runner(self.play, clock=self.clock, metrics=Metrics(CollectorRegistry(), "a")))
        self._offset = 0

    def add(
        self,
        run_id: str,
        *,
        lost: int = 0,
        careful: bool = False,
        given_up: bool = False,
        suspicion: Suspicion | None = None,
        **more: object,
    ) -> Run:
        job = Job.model_validate({"id": run_id[0], "job": run_id[0], "cluster": "a", "command": "true", **more})
        self._offset += 1
        source = Source("a", 0, self._offset)
        careful = careful or bool(lost)
        run = Run(source, job, run_id, "then", 0, lost=lost, careful=careful, given_up=given_up, suspicion=suspicion)
        self.slots.add([run])
        return run

    @property
    def running(self) -> list[str]:
        return list(self.play.under_way)

    def ended(self) -> dict[str, str]:
        return {finished.run.run_id: finished.ended.outcome.value for finished in self.slots.ended()}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_on_hold_nothing_begins_and_what_runs_goes_on(stage: Stage) -> None:
    stage.add("a1")
    stage.slots.hold(True)
    stage.add("b1")

    stage.play.end("a1")

    assert stage.running == []
    assert stage.ended() == {"a1": "succeeded"}
    stage.slots.hold(False)
    assert stage.running == ["b1"]


def test_a_slot_that_is_free_takes_the_next_in_the_very_call_that_freed_it(stage: Stage) -> None:
    for run_id in ("a1", "b1", "c1"):
        stage.add(run_id)
    assert stage.running == ["a1", "b1"]

    stage.play.end("a1")

    assert stage.running == ["b1", "c1"]
    assert stage.ended() == {"a1": "succeeded"}


def test_a_careful_run_holds_its_slot_and_begins_when_it_is_noted(stage: Stage) -> None:
    careful = stage.add("a1", careful=True)
    stage.add("b1")
    stage.add("c1")

    assert stage.running == ["b1"]
    assert stage.slots.to_note() == [careful]
    assert stage.slots.to_note() == []
    stage.slots.go([careful])
    assert stage.running == ["b1", "a1"]


def test_of_suspects_only_the_first_are_held(stage: Stage) -> None:
    suspicion = Suspicion(1)

    first, _ = (stage.add(run_id, suspicion=suspicion) for run_id in ("a1", "b1"))

    assert stage.running == ["b1"]
    assert stage.slots.to_note() == [first]
    stage.slots.go([first])
    assert stage.running == ["b1", "a1"]


def test_a_run_that_lasts_is_noted_and_a_short_one_is_not(stage: Stage) -> None:
    long = stage.add("a1")
    stage.add("b1")
    stage.play.end("b1")
    stage.clock.seconds += NOTE_SECONDS

    assert stage.slots.to_note() == [long]
    assert stage.slots.to_note() == []


def test_a_careful_run_that_is_stopped_before_it_began_is_given_back(stage: Stage) -> None:
    careful = stage.add("a1", careful=True)

    stage.slots.stop(lambda _: True)

    (finished,) = stage.slots.ended()
    assert finished.ended.stopped
    stage.slots.go([careful])
    assert stage.running == []
    assert stage.slots.running() == 0


def test_runs_that_were_lost_before_begin_one_by_one(stage: Stage) -> None:
    runs = [stage.add(run_id, lost=1) for run_id in ("a1", "b1", "c1")]
    healthy = stage.add("d1")
    assert stage.slots.to_note() == [runs[0]]
    assert stage.running == [healthy.run_id]

    stage.slots.go([runs[0]])
    stage.play.end("a1")
    assert stage.slots.to_note() == [runs[1]]
    stage.slots.go([runs[1]])
    stage.play.end("d1")
    assert stage.slots.to_note() == []
    stage.clock.seconds += HARMLESS_SECONDS
    stage.slots.to_note()

    assert stage.slots.to_note() == [runs[2]]


def test_a_run_that_was_lost_too_often_is_not_begun(stage: Stage) -> None:
    stage.add("a1", lost=3, given_up=True)

    assert stage.running == []
    assert stage.ended() == {"a1": "lost"}


def test_what_was_lost_and_waits_aside_can_be_forgotten(stage: Stage) -> None:
    for run_id in ("a1", "b1"):
        stage.add(run_id, lost=1)
    stage.slots.forget(lambda run: run.run_id == "b1")

    assert stage.slots.waiting() == 0
    stage.add("b2")
    assert stage.running == ["b2"]


def test_a_forbidden_run_is_skipped_while_one_runs_or_waits(stage: Stage) -> None:
    stage.add("a1", overlap="forbid")
    stage.add("b1")
    stage.add("c1", overlap="forbid")
    stage.add("a2", overlap="forbid")
    stage.add("c2", overlap="forbid")
    assert stage.ended() == {"a2": "skipped", "c2": "skipped"}

    stage.play.end("a1")
    stage.add("a3", overlap="forbid")

    assert stage.running == ["b1", "c1"]
    assert stage.slots.waiting() == 1


def test_a_replacing_run_begins_when_the_one_before_has_ended(stage: Stage) -> None:
    stage.add("a1", overlap="replace", max_attempts=3)
    stage.add("a2", overlap="replace")
    stage.add("a3", overlap="replace")
    assert stage.running == ["a1"]
    assert stage.play.stopped == ["a1", "a1"]

    stage.play.end("a1", STOPPED)

    assert stage.running == ["a3"]
    assert stage.ended() == {"a2": "skipped", "a1": "replaced"}


def test_a_run_that_ends_by_itself_while_it_is_replaced_keeps_its_own_end(stage: Stage) -> None:
    stage.add("a1", overlap="replace")
    stage.add("a2", overlap="replace")

    stage.play.end("a1")

    assert stage.ended() == {"a1": "succeeded"}
    assert stage.running == ["a2"]
