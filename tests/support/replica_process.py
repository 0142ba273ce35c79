"""A replica as a process of its own: started by its command, watched through its log and its HTTP endpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from scheduler.clock import Deadline
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.schedules import Installation

ROOT = Path(__file__).parents[2]


def product_environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a command of the product is started with."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **given}


def run_command(program: str, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the product to its end."""
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        env=product_environment(env),
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )


class ReplicaProcess:
    """`scheduler run`; its log is read as it is written."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run"],
            env=product_environment({**env, "LOG_FORMAT": "json"}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def event(self, name: str) -> dict[str, Any]:
        """The first event of that name in the log, as soon as it is there."""
        deadline = Deadline(clock, SECONDS)
        seen = 0
        with self._more:
            while True:
                for line in self.lines[seen:]:
                    event: dict[str, Any] = json.loads(line)
                    if event["event"] == name:
                        return event
                seen = len(self.lines)
                if self._ended or deadline.passed:
                    raise AssertionError(f"no event {name!r} in the log:\n{''.join(self.lines)}")
                self._more.wait(deadline.remaining())

    def get(self, path: str, *, of: str = "api") -> httpx.Response:
        """Ask the replica's API, or its metrics server."""
        address: str = self.event(of)["address"]
        return httpx.get(address.removesuffix("/metrics") + path, timeout=SECONDS)

    def wait_until_ready(self, partitions: int) -> None:
        """Return once the replica fires in exactly so many partitions."""

        def ready() -> bool:
            answer = self.get("/readiness")
            return answer.is_success and len(answer.json()["partitions"]) == partitions

        wait_until(ready, f"the replica is ready with {partitions} partitions")

    def terminate(self) -> int:
        """Ask it to stop, with SIGTERM; its exit code."""
        self._process.terminate()
        return self._process.wait(SECONDS)

    def end(self) -> None:
        """Make sure that nothing is left of it."""
        self._process.kill()
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextmanager
def replica_process(installation: Installation, **settings: str) -> Iterator[ReplicaProcess]:
    """A running replica; killed at the end if it has not ended by then. Settings are variables, in lower case."""
    other = {name.upper(): value for name, value in settings.items()}
    process = ReplicaProcess({**installation.environment(), **other})
    try:
        yield process
    finally:
        process.end()
