"""Starts a command's main process, as cheaply as the system lets it.

On Linux by the function that `subprocess.Popen` and `multiprocessing` are made of, without what they put around it: it
costs the guardian 35 us. `Popen` costs 100, and `os.posix_spawn` 50, and 15 more of the command's: 0.80 of the rate of
a bare loop, where this has 0.88. The function is Python's own affair: a Python that is newer than those it was tried
with, or another system, gets `Popen`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from _posixsubprocess import fork_exec
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

_IS_KNOWN = sys.platform == "linux" and sys.version_info < (3, 15)
# what `fork_exec` is told that is the same for all
_CLOSE_NONE = (False, ())
"""Exec closes every other descriptor: see `guardian.main`."""
_SIGNALS_SESSION_GROUP = (True, False, 0)
"""What Python ignores is not ignored there. It has a process group of its own and no session: the guardian's has no
terminal either, and where Linux shares the processor between sessions (sched_autogroup) making one costs a third of
the rate of short commands."""
_SAME_USER_AND_MASK = (None, None, None, -1)
_NO_FUNCTION = (None,) if sys.version_info >= (3, 14) else (None, True)
"""To be called in the child; before Python 3.14 also whether `vfork` may be used."""
GONE_SECONDS = 1.0
"""Within this a process that could not start has ended, which takes it microseconds."""


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


class Spawner:
    """Starts processes, for one thread."""

    def __init__(self) -> None:
        self.null = os.open(os.devnull, os.O_RDWR)
        """A descriptor of /dev/null."""
        # One file in memory for all: a new pipe for each costs 15 us. `vfork` lets this process go on when the child
        # has begun its program, or has said why it could not and is about to end: what stands there is this child's.
        self._why = os.memfd_create("why") if _IS_KNOWN else os.dup(self.null)
        self._spare = os.dup(self._why)  # of a pipe it would be the other end, which the child closes first

    def spawn(
        self, arguments: list[str], environment: Mapping[str, str], directory: str | None, *, stdin: int, output: int
    ) -> Leader:
        """Start a process with those descriptors and no others; a name is looked for in the PATH of its environment.

        Raises:
            OSError: it cannot be started.
            ValueError: an argument or a variable holds what none can hold.
        """
        if not _IS_KNOWN:
            return subprocess.Popen(  # noqa: S603 - to run what the job says is what a worker is for
                arguments,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=directory,
                process_group=0,
            )
        descriptors = (stdin, -1, -1, output, -1, output, self._spare, self._why)
        more: tuple[Any, ...] = (
            *(*_CLOSE_NONE, directory, _variables(environment), *descriptors),
            *(*_SIGNALS_SESSION_GROUP, *_SAME_USER_AND_MASK, *_NO_FUNCTION),
        )
        process = fork_exec(arguments, _places(arguments[0], environment.get("PATH")), *more)
        why = os.pread(self._why, 4096, 0)
        if not why:
            return _Spawned(process)
        os.truncate(self._why, 0)
        os.lseek(self._why, 0, os.SEEK_SET)
        if not _gone(process):  # an emulator has `fork` for `vfork`: another child's, which ends with 255
            return _Spawned(process)
        raise _error(why, arguments[0], directory)

    def close(self) -> None:
        """Close its descriptors."""
        for descriptor in (self.null, self._why, self._spare):
            os.close(descriptor)


@lru_cache(maxsize=1024)
def _places(name: str, path: str | None) -> tuple[bytes, ...]:
    """Where a program may be, in turn."""
    if "/" in name:
        return (os.fsencode(name),)
    directories = os.defpath if path is None else path
    # a place without a name is the current directory
    return tuple(os.fsencode(f"{place}/{name}" if place else name) for place in directories.split(os.pathsep))


def _variables(environment: Mapping[str, str]) -> list[bytes]:
    if "" in environment or "=" in "".join(environment):
        raise ValueError("a variable has no name, or one with '='")
    # encoded together: one by one they cost three times as much
    variables = os.fsencode("\0".join([f"{name}={value}" for name, value in environment.items()])).split(b"\0")
    if len(variables) != len(environment):
        raise ValueError("a variable holds a null byte")
    return variables


def _gone(process: int) -> bool:
    """Whether the child ends within a moment, and was reaped."""
    deadline = Deadline(SystemClock(), GONE_SECONDS)
    while not deadline.passed:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        os.sched_yield()
    return False


def _error(why: bytes, name: str, directory: str | None) -> OSError:
    """Of what the child said: a class, the error's number in hexadecimal, and how far it came."""
    _, number, came_to = why.split(b":", 2)
    code = int(number, 16)
    before_exec = directory is not None and came_to.startswith(b"noexec")
    return OSError(code, os.strerror(code), directory if before_exec else name)
