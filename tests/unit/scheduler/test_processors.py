"""How many processors a replica may use, and how its threads share them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from scheduler.runtime.processors import usable

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_quota_is_no_more_processors_than_it_pays_for(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    found = []
    for text in ("50000 100000", "100000 100000", "99999999 100000", "max 100000", "nonsense"):
        quota.write_text(text)
        found.append(usable(quota))

    assert found[:2] == [1, 1]
    assert found[2:] == [usable(tmp_path / "none")] * 3
