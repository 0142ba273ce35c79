"""The planner's command line, where no broker listens and the clock stands still."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from planner.cli import main
from planner.commands import check, next  # noqa: A004 - the command's name
from scheduler.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = 1_893_499_200_000
"""2030-01-01T12:00:00Z"""


class Ended(NamedTuple):
    code: str | int | None
    out: str
    err: str


class _StandingClock(SystemClock):
    def now_ms(self) -> int:
        return NOON


@pytest.fixture
def planner_at_noon(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ended]:
    """Run `planner ...` in an empty directory; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for name in ("CLUSTERS", "SCHEDULES_TOPICS", "CONFIGURATION_FILE"):
        monkeypatch.delenv(name, raising=False)
    for module in (check, next):
        monkeypatch.setattr(module, "SystemClock", _StandingClock)

    def run(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["planner", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(ended.value.code, out, err)

    return run
