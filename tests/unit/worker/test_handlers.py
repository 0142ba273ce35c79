"""Handlers in threads, in the event loop and in processes: how their attempts end."""

from __future__ import annotations

import gc
import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prometheus_client import CollectorRegistry

from scheduler.clock import SystemClock
from scheduler.errors import InputError
from scheduler.job import Job
from tests.support.handlers import jobs
from tests.support.schedules import wait_until
from worker import Registry
from worker.handlers import HandlerJobs
from worker.metrics import Metrics
from worker.outcome import Ended, Outcome
from worker.runner import Runner
from worker.runs import Run, Source
from worker.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 30.0


@dataclass
class Caller:
    """Calls handlers as the slots do."""

    performer: HandlerJobs
    ends: queue.SimpleQueue[Ended] = field(default_factory=queue.SimpleQueue)

    def start(self, name: str, *args: Any, **more: Any) -> Any:
        job = Job(id="a", job=name, cluster="c", handler=name, arguments=list(args), run_id="r", **more)
        job = self.performer.accept(job)
        run = Run(Source("c", 0, 0), job, "r", "2030-01-01T00:00:00Z", 0)
        return self.performer.start(run, lambda _: None, self.ends.put)

    def ended(self) -> Ended:
        return self.ends.get(timeout=SECONDS)

    def call(self, name: str, *args: Any, **more: Any) -> Ended:
        self.start(name, *args, **more)
        return self.ended()


def make(registry: Registry) -> Caller:
    broken: list[BaseException] = []
    return Caller(HandlerJobs(registry, 3, broken.append))


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = make(jobs)
    yield made
    made.performer.close()


@pytest.mark.parametrize(
    ("name", "args", "output"),
    [
        ("Add", [3, 5], "8"),
        ("Add", ["3", 5], "8"),
        ("shout", ["hey"], '"hey!"'),
        ("when", ["2030-01-01T00:00:00Z"], '"2030-01-01T00:00:00+00:00"'),
        ("nothing", [], ""),
    ],
)
def test_what_a_handler_returns_is_the_output(caller: Caller, name: str, args: list[Any], output: str) -> None:
    ended = caller.call(name, *args)

    assert (ended.outcome, ended.output.text) == (Outcome.SUCCEEDED, output)


@pytest.mark.parametrize("name", ["Add", "shout", "spins_with_a_child"])
def test_arguments_that_do_not_fit_the_signature_are_final_and_named(caller: Caller, name: str) -> None:
    ended = caller.call(name, [], 2, 3)

    assert (ended.outcome, ended.exit, ended.final) == (Outcome.FAILED, "wrong arguments", True)
    assert f"arguments of {name}(" in ended.output.last_line


def test_an_exception_is_told_with_its_place_and_is_retried(caller: Caller) -> None:
    ended = caller.call("flaky", 3)

    assert (ended.exit, ended.output.last_line, ended.final) == ("ValueError", "attempt 1 is too early", False)
    assert "in flaky" in ended.output.text
    assert "worker/handlers.py" not in ended.output.text


@pytest.mark.parametrize(("kind", "final"), [("key", True), ("index", False), ("value", True)])
def test_the_registration_says_which_exceptions_are_retried(caller: Caller, kind: str, final: bool) -> None:
    assert caller.call("picky", kind).final is final


def test_a_handler_may_give_up_or_ask_for_its_own_delay(caller: Caller) -> None:
    assert caller.call("hopeless").final
    ended = caller.call("later", "15m")
    assert (ended.final, ended.retry_after_seconds, ended.output.last_line) == (False, 900.0, "busy")


def test_a_coroutine_out_of_time_is_cancelled(caller: Caller) -> None:
    assert (caller.call("slow").outcome, caller.call("slow").exit) == (Outcome.TIMED_OUT, "timed out after 300ms")


def test_a_coroutine_that_is_stopped_is_given_back(caller: Caller) -> None:
    caller.start("endless").stop()

    assert caller.ended().stopped


def test_a_function_in_a_thread_may_look_whether_it_is_to_stop(caller: Caller) -> None:
    call = caller.start("waits_for_stop")
    call.stop()

    ended = caller.ended()
    assert ended.stopped or ended.output.text == '"stopped by itself"'


def test_a_process_out_of_time_is_killed_with_what_it_started_and_the_next_call_gets_another(
    caller: Caller, tmp_path: Path
) -> None:
    told = tmp_path / "child"
    first = caller.call("pid_and_attempt").output.text

    ended = caller.call("spins_with_a_child", str(told))

    assert (ended.outcome, ended.exit) == (Outcome.TIMED_OUT, "timed out after 500ms")
    _wait_until_gone(int(told.read_text()))
    assert caller.call("pid_and_attempt").output.text not in ("", first)


def test_a_process_is_used_again(caller: Caller) -> None:
    assert caller.call("pid_and_attempt").output.text == caller.call("pid_and_attempt").output.text


def test_a_process_that_dies_is_a_failed_attempt_and_harms_no_other(caller: Caller) -> None:
    ended = caller.call("crashes")
    assert (ended.outcome, ended.exit, ended.signal) == (Outcome.KILLED, "killed by SIGSEGV", "SIGSEGV")
    assert not ended.stopped
    assert caller.call("exits").exit == "its process ended with exit code 3"
    assert caller.call("pid_and_attempt").outcome is Outcome.SUCCEEDED


def test_exceptions_of_a_process_mean_what_they_mean_in_a_thread(caller: Caller) -> None:
    assert caller.call("raises_in_process", "later").retry_after_seconds == 7.0
    ended = caller.call("raises_in_process", "x")
    assert (ended.exit, ended.final) == ("KeyError", True)
    assert "raises_in_process" in ended.output.text


def test_a_process_that_is_stopped_is_killed_and_given_back(caller: Caller, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    call = caller.start("endless_process", str(told))
    pid = _wait_for_number(told)

    call.stop()

    assert caller.ended().stopped
    _wait_until_gone(pid)


def test_closing_kills_the_processes(tmp_path: Path) -> None:
    caller, told = make(jobs), tmp_path / "pid"
    caller.start("endless_process", str(told))
    pid = _wait_for_number(told)

    caller.performer.close()

    _wait_until_gone(pid)


def test_a_chain_hands_on_what_was_returned(caller: Caller) -> None:
    ended = caller.call("sum-doubled", 1, 2)

    (following,) = ended.follows
    assert (following.handler, following.arguments, following.chain) == ("double", (3,), ("shout",))
    assert (following.id, following.run_id) == ("a", "r/double")


def test_what_cannot_be_passed_on_fails_for_good() -> None:
    registry = Registry()
    registry.register("opaque", then="next")(lambda: [object()])
    registry.register("huge", then="next")(lambda: "x" * 600_000)
    caller = make(registry)

    for name in ("opaque", "huge"):
        ended = caller.call(name)
        assert (ended.outcome, ended.exit, ended.final) == (Outcome.FAILED, "cannot be chained", True)
    caller.performer.close()


def test_what_cannot_be_shown_was_returned_all_the_same() -> None:
    class Opaque:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    registry = Registry()
    registry.register("opaque")(lambda: [Opaque()])
    caller = make(registry)
    ended = caller.call("opaque")
    caller.performer.close()

    assert (ended.outcome, "cannot be shown" in ended.output.text) == (Outcome.SUCCEEDED, True)


def test_more_calls_than_threads_are_all_made(caller: Caller) -> None:
    for number in range(50):
        caller.start("Add", number, 0)

    assert sorted(int(caller.ended().output.text) for _ in range(50)) == list(range(50))


def test_hooks_are_told_and_their_own_errors_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    registry, told = Registry(), []

    def failing(_context: object, _value: object) -> None:
        raise RuntimeError("hook")

    registry.register("good", on_success=lambda context, value: told.append((context.run_id, value)))(lambda: 7)
    registry.register("bad", on_failure=lambda context, failure: told.append((context.handler, failure)))(lambda: 1 / 0)
    registry.register("hooked", on_success=failing)(lambda: 1)

    async def noted(_context: object, value: object) -> None:
        told.append(value)

    @registry.register(on_success=noted)
    async def waited() -> str:
        return "awaited"

    caller = make(registry)
    for name, outcome in (("good", "succeeded"), ("bad", "failed"), ("hooked", "succeeded"), ("waited", "succeeded")):
        assert caller.call(name).outcome == outcome
    caller.performer.close()

    assert told[0] == ("r", 7)
    assert (told[1][0], told[1][1].error, told[1][1].last) == ("bad", "ZeroDivisionError: division by zero", True)
    assert told[2] == "awaited"
    assert "hook failed" in caplog.text


def test_what_is_not_for_this_worker_is_refused(caller: Caller) -> None:
    accept = caller.performer.accept
    least = {"id": "a", "job": "x", "cluster": "c"}
    with pytest.raises(InputError, match="runs no commands"):
        accept(Job(**least, command="true"))
    with pytest.raises(InputError, match="'unknown' is not registered; there are: Add, "):
        accept(Job(**least, handler="unknown"))
    with pytest.raises(InputError, match="timeout_seconds: Add runs in a thread"):
        accept(Job(**least, handler="Add", timeout_seconds=3))


def test_what_the_message_states_wins_over_the_registration(caller: Caller) -> None:
    least = {"id": "a", "job": "x", "cluster": "c", "handler": "Add"}
    left, stated = Job.from_json(Job(**least).to_json()), Job.from_json(Job(**least, max_attempts=1).to_json())

    assert caller.performer.accept(left).max_attempts == 4
    assert caller.performer.accept(stated).max_attempts == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 3}, "runs in a thread"),
        ({"process": True}, "functions of a module"),
        ({"retries": -1}, "between 0 and 9999"),
        ({"timeout": "3 parsecs"}, "not a duration"),
    ],
)
def test_a_registration_that_cannot_be_kept_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Registry().register("x", **options)(lambda: None)


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    registry.register("x")(lambda: None)
    with pytest.raises(InputError, match="x: is registered already"):
        registry.register("x")(lambda: None)


def _wait_for_number(told: Path) -> int:
    wait_until(lambda: told.exists() and told.read_text() != "", "the handler has begun")
    return int(told.read_text())


def _wait_until_gone(pid: int) -> None:
    try:
        psutil.Process(pid).wait(SECONDS)
    except psutil.NoSuchProcess:
        return


def _slots(count: int, performer: HandlerJobs) -> Slots:
    return Slots(count, Runner(performer, clock=SystemClock(), metrics=Metrics(CollectorRegistry(), "c")))


def test_attempts_that_have_ended_leave_nothing_to_the_cyclic_collector(caller: Caller) -> None:
    """It walks all that is alive: a cycle for each attempt cost a worker a quarter of its rate."""
    count = 500
    slots = _slots(3, caller.performer)
    ended = 0

    def all_ended() -> bool:
        nonlocal ended
        ended += len(slots.ended())
        return ended == count

    gc.collect()
    gc.disable()
    try:
        job = caller.performer.accept(Job(id="a", job="a", cluster="c", handler="nothing", overlap="allow"))
        slots.add(Run(Source("c", 0, offset), job, str(offset), "2030-01-01T00:00:00Z", 0) for offset in range(count))
        wait_until(all_ended, "all calls have ended")
        slots.close()
        left = gc.collect()
    finally:
        gc.enable()

    assert left < count, "objects that only the cyclic collector finds"


def test_attempts_that_end_at_the_same_time_all_end_and_free_their_slots() -> None:
    """Also those that end while another thread has the lock: nobody comes by for them later."""
    made = HandlerJobs(jobs, 16, lambda error: pytest.fail(str(error)))
    slots = _slots(16, made)
    job = made.accept(Job(id="a", job="a", cluster="c", handler="nothing", overlap="allow"))
    told: list[int] = []
    try:
        for first in range(0, 20_000, 100):
            runs = [Run(Source("c", 0, first + n), job, "r", "2030-01-01T00:00:00Z", 0) for n in range(100)]
            slots.add(runs)
            slots.to_note()
            told += [finished.run.source.offset for finished in slots.ended()]
        wait_until(lambda: not slots.running(), "all calls have ended")
        told += [finished.run.source.offset for finished in slots.ended()]
    finally:
        slots.close()
        made.close()

    assert sorted(told) == list(range(20_000))
    assert slots.waiting() == 0
