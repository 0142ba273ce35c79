"""A program of ours without memory: it ends at once, whichever thread notices, and says so on one line."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

from scheduler.errors import ExitCode
from scheduler.runtime.exhaustion import ending_when_exhausted, exhausted

NOTICED = {
    "by a thread": """
def notice():
    raise MemoryError
threading.Thread(target=notice).start()
""",
    "by a thread that cannot begin, as the interpreter tells of it": """
class Noticing:
    def __del__(self):
        raise MemoryError
Noticing()
""",
    "by who catches it": """
try:
    raise MemoryError
except MemoryError:
    exhausted()
""",
}


@pytest.mark.parametrize("notice", NOTICED.values(), ids=NOTICED)
def test_it_ends_at_once(notice: str) -> None:
    ended = _run(f"{notice}\nthreading.Event().wait(60)\nprint('went on')")

    assert (ended.returncode, ended.stdout) == (ExitCode.FAILED, "")
    assert ended.stderr.startswith("out of memory: ")
    assert ended.stderr.count("\n") == 1


def test_what_else_goes_wrong_in_a_thread_is_told_as_ever() -> None:
    ended = _run("threading.Thread(target=lambda: 1 / 0).start()")

    assert ended.returncode == 0
    assert "ZeroDivisionError" in ended.stderr


def test_a_program_that_only_uses_us_is_not_ended() -> None:
    before = threading.excepthook, sys.unraisablehook
    with ending_when_exhausted():
        assert threading.excepthook is not before[0]
    exhausted()
    assert (threading.excepthook, sys.unraisablehook) == before


def _run(program: str) -> subprocess.CompletedProcess[str]:
    imports = "import threading\nfrom scheduler.runtime.exhaustion import ending_when_exhausted, exhausted\n"
    whole = f"{imports}with ending_when_exhausted():\n{textwrap.indent(program, '  ')}"
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=30, check=False)
