"""The import contracts of pyproject.toml hold; and each of them bites, which only a forbidden import can show."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]
PURE, CLIENTS, DOWNWARDS, APART, IMPARTIAL = CONTRACTS


@pytest.fixture
def lint(tmp_path):
    """Check a copy of the packages after a line was added to one of its files."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PROJECT["tool"]["importlinter"]["root_packages"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def run(path=None, line=""):
        if path is not None:
            file = tmp_path / path
            file.write_text(f"{file.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))",
            ],
            cwd=tmp_path,
            # the copy, not the project that is installed
            env={"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_the_contracts_hold(lint):
    found = lint()

    assert found.returncode == 0, found.stdout + found.stderr
    for contract in CONTRACTS:
        assert f"{contract} KEPT" in found.stdout


@pytest.mark.parametrize(
    ("contract", "path", "line"),
    [
        (PURE, "scheduler/engine/pending.py", "import time"),
        (PURE, "scheduler/engine/occurrence.py", "import scheduler.clock"),
        (PURE, "scheduler/wire/decoding.py", "import confluent_kafka"),
        (PURE, "scheduler/schedule.py", "import logging"),
        (PURE, "scheduler/recurrence.py", "from scheduler.runtime import kafka"),  # by way of another module
        (CLIENTS, "planner/plan.py", "from scheduler.engine import life"),
        (CLIENTS, "worker/runs.py", "import scheduler.broker.owner"),
        (DOWNWARDS, "scheduler/runtime/logs.py", "import worker"),
        (DOWNWARDS, "scheduler/client.py", "import planner.plan"),
        (APART, "planner/plan.py", "from worker import runs"),
        (APART, "worker/runs.py", "import planner"),
        (IMPARTIAL, "scheduler/audit/replay.py", "from scheduler.engine import pending"),
        (IMPARTIAL, "scheduler/audit/contract.py", "from scheduler import wire"),
        (IMPARTIAL, "scheduler/audit/gathering.py", "from scheduler.reading import ScheduleReader"),  # by way of it
    ],
)
def test_a_forbidden_import_breaks_its_contract(lint, contract, path, line):
    found = lint(path, line)

    assert found.returncode == 1, found.stdout + found.stderr
    assert f"{contract} BROKEN" in found.stdout
