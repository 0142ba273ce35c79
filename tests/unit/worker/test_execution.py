"""Commands as real processes: how their end is told, and that nothing of them is left."""

from __future__ import annotations

import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from scheduler.clock import Deadline, SystemClock
from worker.execution import Command, Ended, Execution, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

SECONDS = 20.0
CLOCK = SystemClock()


class Running:
    """A command on a thread of its own, its lines as they come, and a way to stop it."""

    def __init__(self, pool: ThreadPoolExecutor, command: Command, grace_seconds: float) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.stop = threading.Event()
        execution = Execution(
            command,
            clock=CLOCK,
            tell=self.lines.put,
            stop=self.stop,
            grace_seconds=grace_seconds,
            output_grace_seconds=0.2,
        )
        self._ended: Future[Ended] = pool.submit(execution.run)

    def line(self) -> str:
        return self.lines.get(timeout=SECONDS)

    def process(self) -> psutil.Process:
        """The process whose number the next line of output is."""
        return psutil.Process(int(self.line()))

    def ended(self) -> Ended:
        return self._ended.result(SECONDS)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def run(
    command: str | list[str],
    pool: ThreadPoolExecutor,
    *,
    stdin: str | None = None,
    timeout: float | None = None,
    grace: float = 5.0,
    environment: dict[str, str] | None = None,
) -> Running:
    path = {"PATH": os.environ["PATH"]}
    return Running(pool, Command(command, {**path, **(environment or {})}, stdin, timeout), grace)


def assert_gone(*processes: psutil.Process) -> None:
    """None of them runs any more; a zombie is init's to reap."""
    deadline = Deadline(CLOCK, SECONDS)
    never = threading.Event()
    while alive := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert not deadline.passed, f"still running: {alive}"
        CLOCK.wait(never, 0.01)


def test_a_text_goes_to_the_shell_and_its_exit_code_is_told(pool: ThreadPoolExecutor) -> None:
    ended = run("echo out; echo err >&2; exit 3", pool).ended()

    assert (ended.outcome, ended.exit, ended.exit_code) == (Outcome.FAILED, "exit 3", 3)
    assert ended.output.text == "out\nerr\n"


def test_a_list_is_run_as_it_is(pool: ThreadPoolExecutor) -> None:
    ended = run(["echo", "$HOME;", "*"], pool).ended()

    assert (ended.outcome, ended.exit) == (Outcome.SUCCEEDED, "exit 0")
    assert ended.output.text == "$HOME; *\n"


@pytest.mark.parametrize("command", [["/does/not/exist"], ["/"], ["echo", "a\0b"]])
def test_what_cannot_be_started_is_a_failure_with_the_reason(command: list[str], pool: ThreadPoolExecutor) -> None:
    ended = run(command, pool).ended()

    assert ended.outcome is Outcome.FAILED
    assert ended.exit.startswith("could not start: ")


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
def test_an_end_by_a_signal_is_told_as_the_signal(name: str, pool: ThreadPoolExecutor) -> None:
    ended = run(f"echo last words; kill -{name} $$", pool).ended()

    assert (ended.outcome, ended.exit) == (Outcome.KILLED, f"killed by SIG{name}")
    assert (ended.signal, ended.exit_code, ended.stopped) == (f"SIG{name}", None, False)
    assert ended.output.last_line == "last words"


def test_the_environment_is_what_was_given(pool: ThreadPoolExecutor) -> None:
    ended = run("echo $JOB_ATTEMPT of $JOB_MAX_ATTEMPTS", pool, environment={"JOB_ATTEMPT": "2"}).ended()

    assert ended.output.text == "2 of\n"


def test_standard_input_is_empty_unless_there_is_a_text(pool: ThreadPoolExecutor) -> None:
    assert run("cat", pool).ended().output.text == ""
    assert run("cat", pool, stdin="héllo\n").ended().output.text == "héllo\n"


def test_an_input_larger_than_a_pipe_is_written_whole(pool: ThreadPoolExecutor) -> None:
    assert run("wc -c", pool, stdin="x" * 1_000_000).ended().output.text.strip() == "1000000"


def test_a_command_that_does_not_want_its_input_ends_all_the_same(pool: ThreadPoolExecutor) -> None:
    assert run("exec 0<&-; exit 0", pool, stdin="x" * 1_000_000).ended().exit == "exit 0"


def test_lines_are_told_while_the_command_runs(pool: ThreadPoolExecutor) -> None:
    running = run("echo ready; sleep 60", pool)

    assert running.line() == "ready"
    running.stop.set()
    assert running.ended().stopped


def test_invalid_utf8_is_shown_and_the_exit_code_kept(pool: ThreadPoolExecutor) -> None:
    ended = run(r"printf 'caf\351\n'; exit 4", pool).ended()

    assert ended.output.text == "caf\\xe9\n"
    assert ended.exit == "exit 4"


def test_a_timeout_ends_the_whole_process_group(pool: ThreadPoolExecutor) -> None:
    running = run("sleep 600 & echo $!; (sleep 600 & echo $!; wait) & echo $$; wait", pool, timeout=0.5)
    family = [running.process() for _ in range(3)]

    ended = running.ended()

    assert (ended.outcome, ended.exit) == (Outcome.TIMED_OUT, "timed out after 500ms")
    assert ended.signal == "SIGTERM"
    assert_gone(*family)


def test_a_timeout_kills_what_ignores_the_term(pool: ThreadPoolExecutor) -> None:
    running = run("trap '' TERM; sleep 600 & echo $!; while :; do wait; sleep 600; done", pool, timeout=0.3, grace=0.3)
    child = running.process()

    ended = running.ended()

    assert (ended.outcome, ended.signal) == (Outcome.TIMED_OUT, "SIGKILL")
    assert_gone(child)


def test_a_grandchild_that_ignores_the_term_does_not_outlive_a_parent_that_obeys(pool: ThreadPoolExecutor) -> None:
    command = "(trap '' TERM; sh -c 'echo $$; while :; do sleep 600; done') & echo $$; wait"
    running = run(command, pool, timeout=0.5, grace=0.3)
    family = [running.process() for _ in range(2)]

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(*family)


def test_a_timeout_kills_a_child_that_left_the_group(pool: ThreadPoolExecutor) -> None:
    running = run("setsid sh -c 'trap \"\" TERM; echo $$; sleep 600; sleep 600' & wait", pool, timeout=0.5, grace=0.3)
    escaped = running.process()

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(escaped)


def test_a_timeout_kills_a_daemon_that_was_orphaned_in_a_session_of_its_own(pool: ThreadPoolExecutor) -> None:
    running = run("(setsid sh -c 'echo $$; exec sleep 600' &); sleep 600", pool, timeout=0.5, grace=0.3)
    daemon = running.process()

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(daemon)


def test_a_process_in_the_background_that_holds_the_pipe_does_not_hold_the_slot(pool: ThreadPoolExecutor) -> None:
    running = run("echo before; sleep 600 & echo $!; exit 5", pool)
    assert running.line() == "before"
    holder = running.process()

    ended = running.ended()

    assert ended.exit == "exit 5"
    assert ended.output.last_line == str(holder.pid)
    assert holder.is_running()
    holder.kill()


def test_a_process_in_the_background_that_writes_for_ever_does_not_hold_the_slot(pool: ThreadPoolExecutor) -> None:
    running = run("yes & exit 0", pool)

    assert running.ended().exit == "exit 0"


def test_stopping_kills_the_group_and_tells_that_the_worker_did_it(pool: ThreadPoolExecutor) -> None:
    running = run("trap '' TERM; echo $$; while :; do sleep 600; done", pool, grace=0.3)
    process = running.process()
    running.stop.set()

    ended = running.ended()

    assert (ended.outcome, ended.exit, ended.stopped) == (Outcome.KILLED, "stopped by the worker", True)
    assert_gone(process)


def test_200_megabytes_of_output_take_bounded_memory(pool: ThreadPoolExecutor) -> None:
    # its own process, so that what other tests have allocated does not count
    probe = """
import resource, threading
from scheduler.clock import SystemClock
from worker.execution import Command, Execution
def run(command):
    e = Execution(Command(command, {"PATH": "/usr/bin:/bin"}), clock=SystemClock(), tell=len, stop=threading.Event())
    return e.run()
run("echo warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ended = run("head -c 100000000 /dev/zero; yes | head -c 100000000; exit 7")
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(ended.exit_code, ended.output.total_bytes, len(ended.output.text) < 400_000, growth // 2**10)
"""
    ended = run([sys.executable, "-c", probe], pool, environment={"PYTHONPATH": os.pathsep.join(sys.path)}).ended()

    exit_code, total, bounded, growth = ended.output.text.split()
    assert (exit_code, total, bounded) == ("7", "200000000", "True")
    assert int(growth) < 20, f"{growth} MiB"


def test_many_short_commands_leave_no_zombie_and_no_descriptor(pool: ThreadPoolExecutor) -> None:
    run("true", pool).ended()
    me = psutil.Process()
    before = me.num_fds()

    for _ in range(50):
        run("true", pool, stdin="x").ended()

    assert me.num_fds() <= before
    assert [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE] == []


def test_where_no_pidfd_is_the_exit_is_noticed_too(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")

    left = run("sleep 600 & echo $!; exit 6", pool)
    assert left.ended().exit == "exit 6"
    left.process().kill()
    assert run("sleep 600", pool, timeout=0.2).ended().outcome is Outcome.TIMED_OUT
