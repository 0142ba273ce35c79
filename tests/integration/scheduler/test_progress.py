"""Commands that take their time, on a real broker: a person sees how far they are, a program gets what it asked for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import terminal
from tests.support.records import Put
from tests.support.replica_process import product_environment
from tests.support.schedules import clock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.schedules import Installation
    from tests.support.terminal import Ended

SCHEDULES, ENTRIES, LETTERS = 2_000, 1_000, 1_100


@pytest.fixture
def furnished(installation: Installation, tmp_path: Path) -> Installation:
    """Many schedules, many dead letters, a history, and a crontab of many lines beside them."""
    later_ms = clock.now_ms() + 86_400_000
    came_from = [("dead-letter-source", f"{installation.target}-0@0".encode())]
    installation.write(
        *(installation.schedule(b"key-%d" % each, due_ms=later_ms) for each in range(SCHEDULES)),
        *(Put(installation.dead_letters, b"letter-%d" % each, b"?", came_from) for each in range(LETTERS)),
        *(Put(installation.history, b"key-%d" % each, b"", [("scheduler-outcome", b"fired")]) for each in range(9)),
    )
    lines = (f"{each % 60} {each // 60} * * *  cluster-a  work {each}" for each in range(ENTRIES))
    (tmp_path / "crontab.txt").write_text("\n".join(lines) + "\n")
    return installation


def run(installation: Installation, folder: Path, line: str, *, err: bool) -> Ended:
    program, *arguments = (word.replace("@", f"{folder}/") for word in line.split())
    env = product_environment(installation.environment())
    return terminal.run([sys.executable, "-m", program, *arguments], err=err, env=env)


def documents(out: str) -> object:
    """Standard output as JSON: one document, or one on each line."""
    try:
        return json.loads(out)
    except json.JSONDecodeError:
        return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("person", [True, False], ids=["person", "program"])
def test_progress_is_seen_at_a_terminal_and_standard_output_is_never_spoiled(
    furnished: Installation, tmp_path: Path, *, person: bool
) -> None:
    schedules = f"reading {furnished.schedules}"
    letters = f"reading {furnished.dead_letters}"
    seen = {
        "scheduler list --json": [schedules],
        "scheduler get key-7 --json": [schedules],
        "scheduler history --json": [f"reading {furnished.history}"],
        "scheduler doctor --json": ["asking Kafka", schedules],
        "scheduler audit --wait 0s --json": [schedules, "comparing"],
        "scheduler export": [schedules],
        "scheduler export @all.jsonl": [schedules, "writing"],
        "scheduler import @all.jsonl --json": ["reading", schedules],
        "planner plan @crontab.txt --json": ["reading what is in force", schedules],
        "planner sync @crontab.txt --json": [schedules, "writing"],
        "planner list --json": [schedules],
        "planner export --json": [schedules],
        "worker dead list --json": [letters],
        "worker dead redrive --all --json": [letters, "writing", "1,000/1,100"],
        "scheduler cancel key-7 key-8 --json": [schedules],
    }
    for line, parts in seen.items():
        ended = run(furnished, tmp_path, line, err=person)
        assert ended.code in (0, 1, 2), (line, ended)  # a broker alone is a warning, and a plan has changes
        documents(ended.out)
        said = terminal.shown(ended.err)
        if person:
            # rich shortens what has no room; names of topics are long here
            assert [part for part in parts if part[:20] not in said] == [], (line, said)
            assert "\x1b[?25h" in ended.err, line
        else:
            assert [part for part in parts if part in said] == [], (line, said)
            assert "\x1b" not in ended.err, line


def test_ctrl_c_ends_a_wait_with_130(furnished: Installation) -> None:
    env = product_environment(furnished.environment())
    command = [sys.executable, "-m", "scheduler", "fire", "key-7", "--wait"]
    ended = terminal.run(command, env=env, interrupt_at="waiting for what")

    assert (ended.code, ended.out) == (130, ""), ended.err
    assert "Traceback" not in ended.err
