"""What a process is started with; by `posix_spawn`, and by `Popen` where the directory is another."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from worker.spawning import spawn

if TYPE_CHECKING:
    from pathlib import Path

either_way = pytest.mark.parametrize("directory", [None, "/"], ids=["posix_spawn", "Popen"])


def run(arguments: list[str], directory: str | None = None, path: str = os.environ["PATH"]) -> tuple[str, int]:
    """What it says, and how it ends."""
    reads, writes = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    process = spawn(arguments, {"PATH": path}, directory, stdin=null, output=writes)
    os.close(writes)
    os.close(null)
    with os.fdopen(reads) as output:
        said = output.read()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return said, process.returncode


@either_way
def test_it_leads_a_process_group_of_its_own(directory: str | None) -> None:
    own = "import os; print(os.getpgrp() == os.getpid())"

    assert run([sys.executable, "-c", own], directory) == ("True\n", 0)


@either_way
@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ])
def test_it_ignores_no_signal_that_python_does(number: signal.Signals, directory: str | None) -> None:
    assert run(["sh", "-c", f"kill -{int(number)} $$; echo still here"], directory) == ("", -number)


@either_way
def test_it_hears_nothing_and_both_its_outputs_are_one(directory: str | None) -> None:
    assert run(["sh", "-c", "cat; echo out; echo err >&2"], directory) == ("out\nerr\n", 0)


def test_a_name_is_looked_for_in_its_own_path(tmp_path: Path) -> None:
    program = tmp_path / "true"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)

    assert run(["true"], path=str(tmp_path)) == ("mine\n", 0)


@pytest.mark.parametrize("name", ["/does/not/exist", "no-such-program"])
@either_way
def test_what_there_is_not_cannot_be_started(name: str, directory: str | None) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with pytest.raises(FileNotFoundError, match=name):
            spawn([name], {"PATH": os.environ["PATH"]}, directory, stdin=null, output=null)
    finally:
        os.close(null)
