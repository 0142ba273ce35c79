"""Starts a command's main process, as cheaply as the system lets it.

`posix_spawn` costs the guardian 80 us, `subprocess.Popen` 140. But it cannot change the directory, and looks for a name
in the guardian's own PATH: what needs another one is started the dear way.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.processor import USUAL, give_back, gives_way

if TYPE_CHECKING:
    from collections.abc import Mapping

_IGNORED_HERE = [signal.SIGPIPE, signal.SIGXFSZ]
"""Python ignores them, and what is ignored stays so in a new program."""


class Leader(Protocol):
    """The main process of a command, leader of a process group of its own."""

    pid: int
    returncode: int | None
    """Negative for a signal; None until it is reaped. Whoever reaps it by its number has to set it."""

    def poll(self) -> int | None:
        """Reap it if it has exited; the return code."""
        ...


@dataclass(slots=True)
class _Spawned:
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def spawn(
    arguments: list[str], environment: Mapping[str, str], directory: str | None, *, stdin: int, output: int
) -> Leader:
    """Start a process with those descriptors and no others.

    It has no session of its own: the guardian's has no terminal either, and where Linux shares the processor between
    sessions (sched_autogroup) making one costs a third of the rate of short commands.

    Raises:
        OSError: it cannot be started.
        ValueError: an argument or a variable holds what none can hold.
    """
    found_alike = "/" in arguments[0] or environment.get("PATH") == os.environ.get("PATH")
    if directory is not None or not found_alike:
        process = subprocess.Popen(  # noqa: S603 - to run what the job says is what a worker is for
            arguments,
            env=environment,
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=directory,
            process_group=0,
        )
        if gives_way():
            give_back(process.pid)
        return process
    # every other descriptor of this process is closed by exec: see `guardian.main`
    return _Spawned(
        os.posix_spawnp(
            arguments[0],
            arguments,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, there, here) for here, there in enumerate((stdin, output, output))],
            setpgroup=0,
            setsigdef=_IGNORED_HERE,
            **(USUAL if gives_way() else {}),
        )
    )
