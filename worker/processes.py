"""All processes of one command, and an end to them: also to those that left its process group.

A command gets a session and a process group of its own, which takes the signals while its leader lives. What called
`setsid` is found as a descendant, and what was orphaned by a double fork by a variable in its environment that no other
command has. A subreaper (PR_SET_CHILD_SUBREAPER) was not chosen: Linux only, and the orphans of all slots would become
the worker's own children, to be reaped beside `subprocess`, which then loses exit codes. What escapes both ways (own
session, orphaned, cleared environment) is a matter for the container's process namespace.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import signal
    import subprocess

MARK = "JOB_EXECUTION"


class Family:
    """The processes that a command has started."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._leader: subprocess.Popen[bytes] | None = None
        self._known: set[psutil.Process] = set()

    def lead_by(self, leader: subprocess.Popen[bytes]) -> None:
        """Name the process that was started as leader of a new session, with the mark in its environment."""
        self._leader = leader

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every member that can be found now."""
        self._look()
        # only while the leader is not reaped is its number certain to be this group's
        if self._leader is not None and self._leader.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._leader.pid, number)
        for member in self._known:
            # psutil compares start times: a number that another process got meanwhile is not signalled
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)

    def alive(self) -> bool:
        """Whether a member that was found by `signal` still runs."""
        self._known = {member for member in self._known if _runs(member)}
        return bool(self._known)

    def _look(self) -> None:
        found: set[psutil.Process] = set()
        if self._leader is not None and self._leader.poll() is None:
            try:
                leader = psutil.Process(self._leader.pid)
                found |= {leader, *leader.children(recursive=True)}
            except psutil.Error:
                pass  # it ended this moment; the mark finds its children
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.add(process)
            except (psutil.Error, OSError):
                continue  # another user's, or gone: not one of ours that could be signalled
        self._known = {member for member in self._known | found if _runs(member)}


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
