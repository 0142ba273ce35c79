"""`make demo` as a new user meets it: in a terminal, ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pexpect
import psutil
import pytest

ROOT = Path(__file__).parents[2]
FIRST_RUN_SECONDS = 15
"""Promised for the embedded broker."""
END_SECONDS = 5

# what is installed here is used; the target itself would install first
MAKE_DEMO = ["--no-print-directory", "--assume-old=.venv/.installed", "demo"]


@pytest.fixture
def demo():
    """Starts the demo in a terminal; nothing of it is left after the test, whatever happens."""
    opened: list[pexpect.spawn] = []

    def start(*variables: str) -> pexpect.spawn:
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
        screen = pexpect.spawn(
            "make", [*MAKE_DEMO, *variables], cwd=ROOT, env=environment, encoding="utf-8", use_poll=True
        )
        opened.append(screen)
        return screen

    yield start
    for screen in opened:
        for process in descendants(screen):
            process.kill()
        screen.close(force=True)


def descendants(screen: pexpect.spawn) -> list[psutil.Process]:
    return psutil.Process(screen.pid).children(recursive=True) if screen.isalive() else []


def test_demo_shows_runs_retries_and_dead_letters_and_ends_clean_on_ctrl_c(demo):
    """One command, a first run within 15 s, every story told, and nothing left behind."""
    screen = demo()

    screen.expect("embedded in this process", timeout=FIRST_RUN_SECONDS)
    screen.expect(r"attempt 1/\d+ +exit 0", timeout=FIRST_RUN_SECONDS)
    before_the_first_run = screen.before
    screen.expect(r"always-fails +attempt 1/3 +exit 3[^\n]*-> retry in", timeout=30)
    screen.expect(r"always-fails +attempt 3/3 +exit 3[^\n]*-> dead letter", timeout=30)
    screen.expect(r"fails-at-random +attempt ([2-9]|10)/10 +exit 0", timeout=120)
    left = descendants(screen)

    screen.sendintr()
    screen.expect(pexpect.EOF, timeout=END_SECONDS)
    screen.close()

    assert re.search(r"metrics +http://127\.0\.0\.1:\d+/metrics", before_the_first_run)
    assert re.search(r"admin page http://127\.0\.0\.1:\d+/", before_the_first_run)
    assert re.search(r"\d+ runs, \d+ succeeded, \d+ failed, \d+ retried, \d+ dead letters", screen.before)
    assert "Traceback" not in screen.before
    assert screen.exitstatus == 0
    assert len(left) >= 6
    assert [process for process in left if process.is_running()] == []


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGKILL], ids=["window-closed", "killed"])
def test_nothing_is_left_behind_however_the_demo_ends(demo, end):
    screen = demo()
    screen.expect("HTTP API", timeout=FIRST_RUN_SECONDS)
    left = descendants(screen)
    (program,) = (process for process in left if "dev.demo" in process.cmdline())

    program.send_signal(end)

    _, alive = psutil.wait_procs(left, timeout=END_SECONDS)
    assert alive == []


def test_demo_on_a_real_kafka(demo):
    """The same on Apache Kafka, without Docker."""
    screen = demo("BROKER=kafka")

    screen.expect("Apache Kafka at", timeout=120)
    screen.expect(r"attempt 1/\d+ +exit 0", timeout=60)
    left = descendants(screen)

    screen.sendintr()
    screen.expect(pexpect.EOF, timeout=30)
    screen.close()

    assert screen.exitstatus == 0
    assert [process for process in left if process.is_running()] == []
