"""`make demo` as a new user meets it: in a terminal, ended by Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from scheduler.clock import Deadline, SystemClock

ROOT = Path(__file__).parents[2]
CLOCK = SystemClock()
FIRST_RUN_SECONDS = 15.0
"""Promised for the embedded broker."""
RUN = re.compile(r"attempt (\d+)/(\d+) +(exit \d+)")


class Terminal:
    """A program in a terminal of its own: what it prints, and keys to press."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.seen = ""
        self._screen, keyboard = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment, "TERM": "dumb", "COLUMNS": "200"},
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            start_new_session=True,
            preexec_fn=lambda: _own_terminal(keyboard),
        )
        os.close(keyboard)

    def read(self, seconds: float) -> bool:
        """Take in what is printed within that time; False at the end."""
        ready, _, _ = select.select([self._screen], [], [], seconds)
        if ready:
            try:
                some = os.read(self._screen, 65536)
            except OSError:  # what Linux says at the end of a terminal
                return False
            self.seen += some.decode("utf-8", "replace").replace("\r\n", "\n")
            return bool(some)
        return True

    def read_until(self, pattern: str, seconds: float) -> None:
        deadline = Deadline(CLOCK, seconds)
        while not re.search(pattern, self.seen):
            assert not deadline.passed, f"{pattern!r} did not come in {seconds} s:\n{self.seen}"
            assert self.read(0.1), f"it ended before {pattern!r}:\n{self.seen}"

    def read_to_end(self, seconds: float) -> int:
        deadline = Deadline(CLOCK, seconds)
        while self.read(0.1) and self.process.poll() is None:
            assert not deadline.passed, f"it has not ended in {seconds} s:\n{self.seen}"
        while self.read(0.1) and not deadline.passed:
            pass
        return self.process.wait(seconds)

    def press_ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def close(self) -> None:
        for process in self.descendants():
            process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)

    def descendants(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)


def _own_terminal(keyboard: int) -> None:
    import fcntl  # noqa: PLC0415 - in the child only
    import termios  # noqa: PLC0415

    fcntl.ioctl(keyboard, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal():
    opened: list[Terminal] = []

    def start(*command: str, **environment: str) -> Terminal:
        opened.append(Terminal(*command, **environment))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


# what this environment has installed is used; the target itself would install first
MAKE_DEMO = ("make", "--no-print-directory", "--assume-old=.venv/.installed", "demo")


def test_demo_shows_runs_retries_and_dead_letters_and_ends_clean_on_ctrl_c(terminal):
    """One command, a first run within 15 s, every story told, and nothing left behind."""
    demo = terminal(*MAKE_DEMO)

    demo.read_until(r"attempt 1/\d+ +exit 0", FIRST_RUN_SECONDS)
    demo.read_until(r"always-fails +attempt 1/3 +exit 3.*-> retry in", 30)
    demo.read_until(r"always-fails +attempt 3/3 +exit 3.*-> dead letter", 30)
    demo.read_until(r"fails-at-random +attempt ([2-9]|10)/10 +exit 0", 120)
    assert "embedded" in demo.seen
    assert re.search(r"metrics +http://127\.0\.0\.1:\d+/metrics", demo.seen)
    assert re.search(r"HTTP API +http://127\.0\.0\.1:\d+/info", demo.seen)
    left = demo.descendants()
    assert len(left) >= 6

    demo.press_ctrl_c()
    pressed = CLOCK.monotonic()
    code = demo.read_to_end(10)

    assert code == 0, demo.seen[-2000:]
    assert CLOCK.monotonic() - pressed < 5
    assert re.search(r"\d+ runs, \d+ succeeded, \d+ failed, \d+ retried, \d+ dead letters", demo.seen)
    assert [process for process in left if process.is_running()] == []
    assert "Traceback" not in demo.seen


def test_demo_on_a_real_kafka(terminal):
    """The same on Apache Kafka, without Docker."""
    demo = terminal(*MAKE_DEMO, "BROKER=kafka")

    demo.read_until(r"attempt 1/\d+ +exit 0", 120)
    assert "Apache Kafka" in demo.seen
    left = demo.descendants()

    demo.press_ctrl_c()

    assert demo.read_to_end(30) == 0, demo.seen[-2000:]
    assert [process for process in left if process.is_running()] == []
