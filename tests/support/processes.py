"""Replicas as real processes: started, watched by their logs, killed, frozen, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from dev.kafka_node import Guard
from scheduler.clock import Deadline
from scheduler.runtime.settings import METRICS_ALIAS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from scheduler.clock import Clock

ROOT = Path(__file__).parents[2]
TICK_SECONDS = 0.05
LOG_LINES_SHOWN = 20
RUN = ("scheduler", "run")
FAILING = ("tests.support.failing_replica",)
FIRING = ("restored", "revoked", "lost", "fenced", "handed over")
"""Events that say who fires where."""

Event = dict[str, Any]
"""One line of a replica's log: `event`, `time`, `level`, `logger`, and the event's own fields."""


class Replica:
    """A scheduler in a process of its own; its log is JSON, in a file."""

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, clock: Clock, guard: Guard, command: Sequence[str]
    ) -> None:
        self.name = name
        self.log = log
        self._clock = clock
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                process_group=guard.group,
            )

    @property
    def pid(self) -> int:
        """The process id, also of one that has ended."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended does not mind."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would (`kill -9`), and return when it is gone."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it stand still, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, unaware of the time that has passed."""
        self._process.send_signal(signal.SIGCONT)

    @property
    def client(self) -> str:
        """What it calls itself to the brokers, where it serves no API."""
        return f"scheduler-{socket.gethostname()}-{self.pid}"

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._process.poll() is None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self, seconds: float) -> int:
        """Wait for its end.

        Raises:
            AssertionError: it has not ended in time; the message ends with its log.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended in {seconds:g} s; {self.last_words()}") from None

    def events(self, *names: str) -> list[Event]:
        """What it has logged so far, in order; only events of these names, where some are given."""
        lines = self.log.read_text(encoding="utf-8").split("\n")[:-1]  # a line without an end is being written
        events = [json.loads(line) if line.startswith("{") else {"event": line} for line in lines]
        return [event for event in events if not names or event["event"] in names]

    def wait_for(self, *names: str, seconds: float, count: int = 1) -> list[Event]:
        """Wait until it has logged that many events of these names, all told; return them.

        Raises:
            AssertionError: it ended, or has not done so in time; the message ends with its log.
        """
        deadline, never = Deadline(self._clock, seconds), threading.Event()
        while len(events := self.events(*names)) < count:
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self._process.returncode}; {self.last_words()}")
            if deadline.passed:
                raise AssertionError(
                    f"{self.name} has logged {len(events)} of {count} times {' or '.join(names)} "
                    f"in {seconds:g} s; {self.last_words()}"
                )
            self._clock.wait(never, TICK_SECONDS)
        return events

    def partitions(self) -> set[str]:
        """The partitions in which it fires, by its own account: `<topic>/<number>`."""
        return firing(self.events(*FIRING))

    def last_words(self) -> str:
        """The end of its log, for a failure's message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "its log ends:\n" + "\n".join(lines[-LOG_LINES_SHOWN:])


def firing(events: Iterable[Event]) -> set[str]:
    """The partitions in which a replica fires that has logged this, `<topic>/<number>`.

    One that was given away may come back before its former owner in the same process is fenced: by the new one.
    """
    fires: set[str] = set()
    leaving: Counter[str] = Counter()
    for event in events:
        name = event["event"]
        if name in {"revoked", "lost"}:
            gone = fires.intersection(event["partitions"].split(","))
            fires -= gone
            leaving.update(gone)
            continue
        partition = f"{event['topic']}/{event['partition']}"
        if name == "restored":
            fires.add(partition)
        elif leaving[partition]:
            leaving[partition] -= 1
        else:
            fires.discard(partition)
    return fires


class Replicas:
    """Starts replicas of one installation; whatever still runs at the end of the block is killed.

    They end with this process too, however it ends.

    Args:
        environment: the product's variables; of the machine's own, none that the product reads is passed on.
        folder: for their logs, `<name>.log`.
        clock: for deadlines.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, clock: Clock) -> None:
        read_by_product = {name.upper() for name in Settings.model_fields} | {METRICS_ALIAS}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in read_by_product},
            "METRICS_HTTP_ADDR": "off",
            "SERVER_ADDR": "off",
            "LOG_FORMAT": "json",
            **environment,
        }
        self._folder = folder
        self._clock = clock
        self._guard = Guard()
        self._started: list[Replica] = []

    def start(self, name: str, command: Sequence[str] = (), **variables: str) -> Replica:
        """Start one; it has joined the group once it has logged `assigned`.

        Args:
            name: of it and of its log.
            command: what Python is told to run as a module, where it is not `scheduler run`.
            variables: this one's alone: settings, or FAILPOINT and MUTATION (tests/support/failing_replica.py).
        """
        environment, log = {**self._environment, **variables}, self._folder / f"{name}.log"
        command = command or (FAILING if environment.keys() & {"FAILPOINT", "MUTATION"} else RUN)
        replica = Replica(name, environment, log, self._clock, self._guard, command)
        self._started.append(replica)
        return replica

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what runs, frozen or not."""
        for replica in self._started:
            replica.kill()
        self._guard.close()
