"""What a process is started with, in this directory and in another."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.spawning import Spawner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATH = os.environ["PATH"]
in_any_directory = pytest.mark.parametrize("directory", [None, "/"])


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    with closing(Spawner()) as made:
        yield made


def run(
    spawner: Spawner, arguments: list[str], directory: str | None = None, environment: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """What it says, and how it ends."""
    reads, writes = os.pipe()
    try:
        path = {"PATH": PATH}
        process = spawner.spawn(arguments, environment or path, directory, stdin=spawner.null, output=writes)
    finally:
        os.close(writes)
        with os.fdopen(reads) as output:
            said = output.read()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return said, process.returncode


@in_any_directory
def test_it_leads_a_process_group_of_its_own(spawner: Spawner, directory: str | None) -> None:
    own = "import os; print(os.getpgrp() == os.getpid())"

    assert run(spawner, [sys.executable, "-c", own], directory) == ("True\n", 0)


@in_any_directory
@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ])
def test_it_ignores_no_signal_that_python_does(spawner: Spawner, number: signal.Signals, directory: str | None) -> None:
    assert run(spawner, ["sh", "-c", f"kill -{int(number)} $$; echo still here"], directory) == ("", -number)


@in_any_directory
def test_it_hears_nothing_and_both_its_outputs_are_one(spawner: Spawner, directory: str | None) -> None:
    assert run(spawner, ["sh", "-c", "cat; echo out; echo err >&2"], directory) == ("out\nerr\n", 0)


def test_it_has_its_variables_and_no_others(spawner: Spawner) -> None:
    variables = {"PATH": PATH, "NAME": "naïve = \n value", "EMPTY": "", "RAW": "\udcff"}
    shows = "import os, sys; sys.stdout.buffer.write(repr(sorted(os.environb.items())).encode())"

    said, _ = run(spawner, [sys.executable, "-I", "-S", "-X", "utf8=0", "-c", shows], None, variables)

    found = dict(eval(said))  # noqa: S307 - what the line above wrote
    found.pop(b"LC_CTYPE", None)  # Python sets it where no locale is set
    assert found == {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}


def test_it_has_none_of_its_starters_descriptors(spawner: Spawner) -> None:
    reads, writes = os.pipe()
    shows = "for each in /proc/$$/fd/*; do readlink $each; done"

    said, _ = run(spawner, ["sh", "-c", shows])
    theirs = {str(Path(f"/proc/self/fd/{own}").readlink()) for own in (reads, writes, spawner._why)}

    os.close(reads)
    os.close(writes)
    assert not theirs & set(said.splitlines())


def test_a_name_is_looked_for_in_its_own_path(spawner: Spawner, tmp_path: Path) -> None:
    program = tmp_path / "true"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)

    assert run(spawner, ["true"], None, {"PATH": f"/nowhere:{tmp_path}"}) == ("mine\n", 0)
    assert run(spawner, ["true"]) == ("", 0)


@pytest.mark.parametrize("name", ["/does/not/exist", "no-such-program"])
@in_any_directory
def test_what_there_is_not_cannot_be_started(spawner: Spawner, name: str, directory: str | None) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        run(spawner, [name], directory)

    assert run(spawner, ["echo", "on"], directory) == ("on\n", 0)  # the next is not taken for it


def test_what_is_no_program_cannot_be_started(spawner: Spawner, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.touch()

    with pytest.raises(PermissionError, match="text"):
        run(spawner, [str(text)])


def test_in_a_directory_that_there_is_not_nothing_can_be_started(spawner: Spawner, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(spawner, ["true"], str(tmp_path / "nowhere"))


@pytest.mark.parametrize("environment", [{"": "x"}, {"a=b": "x"}, {"a": "x\0y"}, {"a\0b": "x"}])
def test_what_can_be_no_variable_starts_nothing(spawner: Spawner, environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="variable"):
        run(spawner, ["true"], None, {"PATH": PATH, **environment})


def test_an_argument_with_a_null_byte_starts_nothing(spawner: Spawner) -> None:
    with pytest.raises(ValueError, match="null byte"):
        run(spawner, ["echo", "a\0b"])


def test_what_another_process_said_is_not_taken_for_this_one(spawner: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an emulator lets a parent go on before its child has begun its program."""
    monkeypatch.setattr("worker.spawning.GONE_SECONDS", 0.05)
    os.write(spawner._why, b"OSError:2:")  # as such a child would

    assert run(spawner, ["sh", "-c", "sleep 0.2; echo on"]) == ("on\n", 0)
