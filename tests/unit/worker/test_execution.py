"""Commands as real processes: how their end is told, and that nothing of them is left."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from scheduler.clock import Deadline, SystemClock
from tests.support.schedules import wait_until
from worker.commands import Commands, GuardianError
from worker.execution import Command, Patience
from worker.outcome import Ended, Outcome
from worker.processor import give_way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 20.0
CLOCK = SystemClock()
GRACE_SECONDS = 0.4
"""From TERM to KILL, in these tests."""


class Running:
    """A command, its lines as they come, and a way to stop it."""

    def __init__(self, commands: Commands, command: Command) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self._ended: queue.Queue[Ended] = queue.Queue()
        self._attempt = commands.start(command, tell=self.lines.put, done=self._ended.put)

    def stop(self) -> None:
        self._attempt.stop()

    def line(self) -> str:
        return self.lines.get(timeout=SECONDS)

    def process(self) -> psutil.Process:
        """The process whose number the next line of output is."""
        return psutil.Process(int(self.line()))

    def ended(self) -> Ended:
        return self._ended.get(timeout=SECONDS)


class Guarded:
    """Commands in a guardian process."""

    def __init__(self) -> None:
        self.failures: queue.Queue[BaseException] = queue.Queue()
        self.commands = Commands(CLOCK, self.failures.put, Patience(grace=GRACE_SECONDS, output=0.2))

    def run(
        self,
        command: str | list[str],
        *,
        stdin: str | None = None,
        timeout: float | None = None,
        environment: dict[str, str] | None = None,
        directory: str | None = None,
    ) -> Running:
        path = {"PATH": os.environ["PATH"]}
        made = Command(command, {**path, **(environment or {})}, stdin, timeout, directory)
        return Running(self.commands, made)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    made = Guarded()
    yield made
    made.commands.close()


def assert_gone(*processes: psutil.Process) -> None:
    """None of them runs any more; a zombie is init's to reap."""
    deadline = Deadline(CLOCK, SECONDS)
    never = threading.Event()
    while alive := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert not deadline.passed, f"still running: {alive}"
        CLOCK.wait(never, 0.01)


def test_a_text_goes_to_the_shell_and_its_exit_code_is_told(guarded: Guarded) -> None:
    ended = guarded.run("echo out; echo err >&2; exit 3").ended()

    assert (ended.outcome, ended.exit, ended.exit_code) == (Outcome.FAILED, "exit 3", 3)
    assert ended.output.text == "out\nerr\n"


def test_a_list_is_run_as_it_is(guarded: Guarded) -> None:
    ended = guarded.run(["echo", "$HOME;", "*"]).ended()

    assert (ended.outcome, ended.exit) == (Outcome.SUCCEEDED, "exit 0")
    assert ended.output.text == "$HOME; *\n"


@pytest.mark.parametrize("command", [["/does/not/exist"], ["/"], ["echo", "a\0b"]])
def test_what_cannot_be_started_is_a_failure_with_the_reason(command: list[str], guarded: Guarded) -> None:
    ended = guarded.run(command).ended()

    assert ended.outcome is Outcome.FAILED
    assert ended.exit.startswith("could not start: ")


@pytest.mark.parametrize("spare", range(3))
def test_a_guardian_that_may_open_no_more_files_fails_that_command_and_goes_on(spare: int, guarded: Guarded) -> None:
    guarded.run("true").ended()
    guardian = psutil.Process(guarded.commands.guardian)
    limit = guardian.rlimit(psutil.RLIMIT_NOFILE)
    guardian.rlimit(psutil.RLIMIT_NOFILE, (guardian.num_fds() + spare, limit[1]))

    ended = guarded.run("cat", stdin="x").ended()

    assert ended.exit.startswith("could not start: ")
    assert "Too many open files" in ended.exit
    guardian.rlimit(psutil.RLIMIT_NOFILE, limit)
    assert guarded.run("cat", stdin="x").ended().output.text == "x"


OPEN_FILES = "import os; print([n for n in range(256) if os.path.exists(f'/dev/fd/{n}')])"


@pytest.mark.parametrize("directory", [None, "/"])
def test_a_command_holds_its_own_three_descriptors_and_no_other(directory: str | None, guarded: Guarded) -> None:
    ended = guarded.run([sys.executable, "-c", OPEN_FILES], directory=directory).ended()

    assert ended.output.text == "[0, 1, 2]\n"


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
def test_an_end_by_a_signal_is_told_as_the_signal(name: str, guarded: Guarded) -> None:
    ended = guarded.run(f"echo last words; kill -{name} $$").ended()

    assert (ended.outcome, ended.exit) == (Outcome.KILLED, f"killed by SIG{name}")
    assert (ended.signal, ended.exit_code, ended.stopped) == (f"SIG{name}", None, False)
    assert ended.output.last_line == "last words"


def test_the_environment_is_what_was_given(guarded: Guarded) -> None:
    ended = guarded.run("echo $JOB_ATTEMPT of $JOB_MAX_ATTEMPTS", environment={"JOB_ATTEMPT": "2"}).ended()

    assert ended.output.text == "2 of\n"


def test_standard_input_is_empty_unless_there_is_a_text(guarded: Guarded) -> None:
    assert guarded.run("cat").ended().output.text == ""
    assert guarded.run("cat", stdin="héllo\n").ended().output.text == "héllo\n"


def test_an_input_larger_than_a_pipe_is_written_whole(guarded: Guarded) -> None:
    assert guarded.run("wc -c", stdin="x" * 1_000_000).ended().output.text.strip() == "1000000"


def test_a_command_that_does_not_want_its_input_ends_all_the_same(guarded: Guarded) -> None:
    assert guarded.run("exec 0<&-; exit 0", stdin="x" * 1_000_000).ended().exit == "exit 0"


def test_lines_are_told_while_the_command_runs(guarded: Guarded) -> None:
    running = guarded.run("echo ready; sleep 60")

    assert running.line() == "ready"
    running.stop()
    assert running.ended().stopped


def test_invalid_utf8_is_shown_and_the_exit_code_kept(guarded: Guarded) -> None:
    ended = guarded.run(r"printf 'caf\351\n'; exit 4").ended()

    assert ended.output.text == "caf\\xe9\n"
    assert ended.exit == "exit 4"


def test_a_timeout_ends_the_whole_process_group(guarded: Guarded) -> None:
    running = guarded.run("sleep 600 & echo $!; (sleep 600 & echo $!; wait) & echo $$; wait", timeout=0.5)
    family = [running.process() for _ in range(3)]

    ended = running.ended()

    assert (ended.outcome, ended.exit) == (Outcome.TIMED_OUT, "timed out after 500ms")
    assert ended.signal == "SIGTERM"
    assert_gone(*family)


def test_a_timeout_kills_what_ignores_the_term(guarded: Guarded) -> None:
    running = guarded.run("trap '' TERM; sleep 600 & echo $!; while :; do wait; sleep 600; done", timeout=0.3)
    child = running.process()

    ended = running.ended()

    assert (ended.outcome, ended.signal) == (Outcome.TIMED_OUT, "SIGKILL")
    assert_gone(child)


def test_a_grandchild_that_ignores_the_term_does_not_outlive_a_parent_that_obeys(guarded: Guarded) -> None:
    command = "(trap '' TERM; sh -c 'echo $$; while :; do sleep 600; done') & echo $$; wait"
    running = guarded.run(command, timeout=0.5)
    family = [running.process() for _ in range(2)]

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(*family)


def test_a_timeout_kills_a_child_that_left_the_group(guarded: Guarded) -> None:
    running = guarded.run("setsid sh -c 'trap \"\" TERM; echo $$; sleep 600; sleep 600' & wait", timeout=0.5)
    escaped = running.process()

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(escaped)


def test_a_timeout_kills_a_daemon_that_was_orphaned_in_a_session_of_its_own(guarded: Guarded) -> None:
    running = guarded.run("(setsid sh -c 'echo $$; exec sleep 600' &); sleep 600", timeout=0.5)
    daemon = running.process()

    assert running.ended().outcome is Outcome.TIMED_OUT
    assert_gone(daemon)


def test_a_process_in_the_background_that_holds_the_pipe_does_not_hold_the_slot(guarded: Guarded) -> None:
    running = guarded.run("echo before; sleep 600 & echo $!; exit 5")
    assert running.line() == "before"
    holder = running.process()

    ended = running.ended()

    assert ended.exit == "exit 5"
    assert ended.output.last_line == str(holder.pid)
    assert holder.is_running()
    holder.kill()


def test_a_process_in_the_background_that_writes_for_ever_does_not_hold_the_slot(guarded: Guarded) -> None:
    running = guarded.run("yes & exit 0")

    assert running.ended().exit == "exit 0"


def test_stopping_kills_the_group_and_tells_that_the_worker_did_it(guarded: Guarded) -> None:
    running = guarded.run("trap '' TERM; echo $$; while :; do sleep 600; done")
    process = running.process()
    running.stop()

    ended = running.ended()

    assert (ended.outcome, ended.exit, ended.stopped) == (Outcome.KILLED, "stopped by the worker", True)
    assert_gone(process)


def test_much_output_takes_bounded_memory(guarded: Guarded) -> None:
    guarded.run("echo warm").ended()
    guardian, worker = psutil.Process(guarded.commands.guardian), psutil.Process()
    before = guardian.memory_info().rss, worker.memory_info().rss

    ended = guarded.run("head -c 300000000 /dev/zero; yes | head -c 100000000; exit 7").ended()

    assert (ended.exit_code, ended.output.total_bytes) == (7, 400_000_000)
    assert len(ended.output.text) < 400_000
    growth = [now.memory_info().rss - then for now, then in zip((guardian, worker), before, strict=True)]
    assert max(growth) < 40 * 2**20, growth


def test_many_short_commands_leave_no_zombie_and_no_descriptor(guarded: Guarded) -> None:
    guarded.run("true").ended()
    guardian, worker = psutil.Process(guarded.commands.guardian), psutil.Process()
    before = guardian.num_fds(), worker.num_fds()

    commands = 100
    started = [guarded.run("true", stdin="x") for _ in range(commands)]
    assert {running.ended().exit for running in started} == {"exit 0"}

    wait_until(lambda: not guardian.children(), "every command is reaped")
    assert guardian.num_fds() <= before[0]
    # this process has other tests' clients, whose threads open and close some in the background
    assert worker.num_fds() < before[1] + commands // 2


@pytest.mark.parametrize("directory", [None, "/"])
def test_a_command_shares_the_processor_as_any_other_program(directory: str | None) -> None:
    """Though its worker gives way to it."""
    until_it_does = "import os\nwhile os.sched_getscheduler(0) != os.SCHED_OTHER:\n  pass\nprint('it does')"
    with ThreadPoolExecutor(1) as another:  # a policy is a thread's, and of what that starts
        another.submit(give_way).result()
        guarded = another.submit(Guarded).result()

    assert guarded.run([sys.executable, "-c", until_it_does], directory=directory).ended().output.text == "it does\n"
    guarded.commands.close()


def test_a_command_starts_in_the_directory_that_is_asked_for(guarded: Guarded, tmp_path: Path) -> None:
    assert guarded.run("pwd", directory=str(tmp_path)).ended().output.text == f"{tmp_path}\n"

    ended = guarded.run("true", directory=str(tmp_path / "nowhere")).ended()

    assert ended.exit.startswith("could not start: ")
    assert "nowhere" in ended.exit


def test_a_command_that_holds_its_pipes_holds_up_no_other(guarded: Guarded) -> None:
    stuck = guarded.run("echo ready; sleep 600", stdin="x" * 10_000_000)
    stuck.line()

    assert guarded.run("echo through").ended().output.text == "through\n"
    stuck.stop()
    assert stuck.ended().stopped


def test_what_ends_a_terminal_session_does_not_end_the_guardian(guarded: Guarded) -> None:
    guarded.run("true").ended()  # it has started
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(guarded.commands.guardian, number)

    assert guarded.run("echo on").ended().output.text == "on\n"


def test_when_the_guardian_is_killed_its_commands_are_killed_and_the_worker_is_told(guarded: Guarded) -> None:
    running = guarded.run("trap '' TERM; setsid sh -c 'echo $$; exec sleep 600' & echo $$; wait")
    family = [running.process() for _ in range(2)]

    os.kill(guarded.commands.guardian, signal.SIGKILL)

    failure = guarded.failures.get(timeout=SECONDS)
    assert isinstance(failure, GuardianError)
    assert "1 running commands" in str(failure)
    assert_gone(*family)
    with pytest.raises(GuardianError):
        guarded.run("true")


WORKER_OF_ITS_OWN = """
import sys, time
from scheduler.clock import SystemClock
from worker.commands import Commands
from worker.execution import Command
commands = Commands(SystemClock(), print)
for text in sys.argv[1:]:
    commands.start(Command(text, {"PATH": "/usr/bin:/bin"}), tell=lambda line: print(line, flush=True), done=print)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_no_command_outlives_a_worker_that_is_killed(number: signal.Signals) -> None:
    stubborn = "trap '' TERM HUP; echo $$; while :; do sleep 600; done"
    escaped = "setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 600; done' & wait"
    orphan = "(setsid sh -c 'echo $$; exec sleep 600' &); sleep 600"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER_OF_ITS_OWN, stubborn, escaped, orphan], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    with ended_at_last(worker), worker.stdout as lines:
        family = [psutil.Process(int(lines.readline())) for _ in range(3)]

        worker.send_signal(number)

        assert_gone(*family)


def test_what_a_command_left_in_the_background_on_purpose_outlives_the_worker() -> None:
    daemon_ = "setsid sh -c 'echo $$; exec sleep 600' >/dev/stderr 2>&1 & echo $!; exit 0"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER_OF_ITS_OWN, daemon_], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert worker.stdout is not None
    with ended_at_last(worker), worker.stdout as lines:
        daemon = psutil.Process(int(lines.readline()))
        while "Ended(" not in lines.readline():
            pass
        guardian = worker_guardian(worker.pid)

        worker.kill()

        guardian.wait(SECONDS)
        assert daemon.is_running()
        daemon.kill()


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait(SECONDS)


def worker_guardian(worker: int) -> psutil.Process:
    (guardian,) = psutil.Process(worker).children()
    return guardian
