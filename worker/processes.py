"""All processes of one command, and an end to them: also to those that left its process group.

A command gets a process group of its own, which takes the signals while its leader lives. What called `setsid` is found
as a descendant, and what was orphaned by a double fork by a variable in its environment that no other command has. What
escapes both ways (own session, orphaned, cleared environment) is a matter for the container's process namespace.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from worker.spawning import Leader

MARK = "JOB_EXECUTION"


class Family:
    """The processes that a command has started.

    Args:
        mark: in the environment of each.
        leader: was started as leader of a new group; None where nothing could be started.
    """

    def __init__(self, mark: str, leader: Leader | None) -> None:
        self.mark = mark
        self._leader = leader
        self._known: set[psutil.Process] = set()

    @property
    def leader(self) -> int | None:
        """The leader's process id, while it is certain to be its own: until it is reaped."""
        return self._leader.pid if self._leader is not None and self._leader.poll() is None else None

    def signal(self, number: Signals) -> None:
        """Send a signal to every member that can be found now."""
        leader = self.leader
        found = find(lambda mark: mark == self.mark, [] if leader is None else [leader])
        self._known = {member for member in self._known | found if _runs(member)}
        self.signal_group(number)
        send(number, self._known)

    def signal_group(self, number: Signals) -> None:
        """Send a signal to the members that did not leave, without looking for others."""
        # only while the leader is not reaped is its number certain to be this group's
        if (leader := self.leader) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, number)

    def alive(self) -> bool:
        """Whether a member that was found by `signal` still runs."""
        self._known = {member for member in self._known if _runs(member)}
        return bool(self._known)


def find(marked: Callable[[str], bool], leaders: Collection[int]) -> set[psutil.Process]:
    """Every process with such a mark, and the leaders with all their descendants, in one pass over the system."""
    found: set[psutil.Process] = set()
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            children[process.ppid()].append(process)
            if process.pid in leaders or marked(process.environ().get(MARK, "")):
                found.add(process)
        except (psutil.Error, OSError):
            continue  # gone, or another user's: not one of ours that could be signalled
    left = list(leaders)
    while left:
        for child in children[left.pop()]:
            found.add(child)
            left.append(child.pid)
    return found


def send(number: Signals, processes: Iterable[psutil.Process]) -> None:
    """Send a signal; what has gone meanwhile is left out."""
    for process in processes:
        # psutil compares start times: a number that another process got meanwhile is not signalled
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_marked(marked: Callable[[str], bool]) -> bool:
    """KILL every process with such a mark, and say whether there was one."""
    found = {process for process in find(marked, []) if _runs(process)}
    send(SIGKILL, found)
    return bool(found)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
