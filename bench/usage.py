"""What the processes of a measurement take of the machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def cpu_seconds(pids: Iterable[int]) -> float:
    """Used so far by these and what they have started."""
    used = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            try:
                used += sum(one.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue  # a child that has ended meanwhile
    return used


def ended_cpu_seconds(pid: int) -> float:
    """Used by what that one had started, and what has ended by now."""
    times = psutil.Process(pid).cpu_times()
    return float(times.children_user + times.children_system)


class Others:
    """What processes that have nothing to do with a measurement take meanwhile; there should be none.

    Args:
        broker: process ids of the broker, which may not be a child of this process.
    """

    def __init__(self, broker: Iterable[int]) -> None:
        self._broker = list(broker)
        self._start, self._before = time.time(), self._now()

    def _now(self) -> float:
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
        own = {os.getpid(), *self._broker}
        own |= {child.pid for pid in tuple(own) for child in psutil.Process(pid).children(recursive=True)}
        used = 0.0
        for pid in own:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.NoSuchProcess:
                continue
            # those of children that have ended are kept by their parents
            used += times.user + times.system + times.children_user + times.children_system
        return float(busy) - used

    def cores(self) -> float:
        """On average from its construction on."""
        return max(0.0, (self._now() - self._before) / (time.time() - self._start))


class Meter:
    """CPU of each kind of process from its construction on; `stop` ends the time that counts.

    Args:
        processes: process ids by kind. That of this process, which reads, is added; a kind without any is left out, as
            a broker elsewhere is.
    """

    def __init__(self, processes: Mapping[str, Iterable[int]]) -> None:
        given = {kind: list(pids) for kind, pids in processes.items()}
        self._pids = {kind: pids for kind, pids in given.items() if pids}
        self.seconds = 0.0
        self.used: dict[str, float] = {}
        """CPU seconds by kind, once stopped."""
        self._start = time.time()
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        # this process has children of other kinds: of it, itself alone counts
        return {kind: cpu_seconds(pids) for kind, pids in self._pids.items()} | {"reader": _own(os.getpid())}

    def stop(self) -> None:
        """Count no further."""
        self.seconds = time.time() - self._start
        after = self._now()
        self.used = {kind: after[kind] - before for kind, before in self._before.items()}

    def cores(self) -> dict[str, float]:
        """Cores by kind."""
        return {kind: used / self.seconds for kind, used in self.used.items()}


def _own(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:2])
