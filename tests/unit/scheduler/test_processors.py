"""How the threads of a replica share the processors."""

from __future__ import annotations

import os
import subprocess
import sys

TURNS = """
import logging, os, sys, threading
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
from scheduler.runtime.processors import take_turns
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # whatever whoever runs this has
{before}
take_turns()
seen = []
thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
print(*seen, os.sched_getscheduler(0))
"""


def run(before: str = "") -> tuple[list[int], str]:
    """Which policies the threads of such a process have, and what it says."""
    ended = subprocess.run(
        [sys.executable, "-c", TURNS.format(before=before)], capture_output=True, text=True, timeout=60, check=True
    )
    return [int(word) for word in ended.stdout.split()], ended.stderr


def test_threads_that_are_started_later_do_not_interrupt_each_other() -> None:
    assert run() == ([os.SCHED_BATCH, os.SCHED_BATCH], "")


def test_a_policy_that_somebody_has_chosen_is_kept() -> None:
    assert run("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))")[0] == [os.SCHED_IDLE, os.SCHED_IDLE]


def test_where_it_is_forbidden_the_log_says_so_and_the_replica_runs() -> None:
    policies, said = run(
        "def refuse(*_):\n    raise PermissionError(1, 'Operation not permitted')\nos.sched_setscheduler = refuse"
    )
    assert policies == [os.SCHED_OTHER, os.SCHED_OTHER]
    assert said == "threads interrupt each other\n"
