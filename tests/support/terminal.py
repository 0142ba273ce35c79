"""A program whose standard output, standard error, or both, are a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 60.0
OBEYED = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What a terminal does not show, but obey."""


class Ended(NamedTuple):
    """What a program has said and how it ended; lines of a terminal end as those of a file do."""

    code: int
    out: str
    err: str


class _Stream:
    """One of a program's outputs, read as it comes: a full pipe would hold the program up."""

    def __init__(self, *, terminal: bool, columns: int, until: str, said: threading.Event) -> None:
        self._ours, self.theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._read = bytearray()
        self._until, self._said = until.encode(), said
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def text(self) -> str:
        self._reader.join(SECONDS)
        os.close(self._ours)
        return self._read.decode().replace("\r\n", "\n")

    def _drain(self) -> None:
        while True:
            try:
                some = os.read(self._ours, 65_536)
            except OSError:  # so a terminal tells that nobody writes to it any more
                return
            if not some:
                return
            self._read += some
            if self._until and self._until in self._read:
                self._said.set()


def run(
    command: Sequence[str],
    *,
    out: bool = False,
    err: bool = True,
    columns: int = 80,
    interrupt_at: str = "",
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        out: whether standard output is a terminal.
        err: whether standard error is one.
        columns: how wide they are.
        interrupt_at: press Ctrl-C once the program has said this.
        env: beside the variables of this process.
    """
    said = threading.Event()
    streams = [_Stream(terminal=each, columns=columns, until=interrupt_at, said=said) for each in (out, err)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=streams[0].theirs,
        stderr=streams[1].theirs,
        env={**environment, "TERM": "xterm-256color", **(env or {})},
    ) as process:
        for stream in streams:
            os.close(stream.theirs)
        try:
            if interrupt_at:
                assert said.wait(SECONDS), f"it has not said {interrupt_at!r}"
                process.send_signal(signal.SIGINT)
            code = process.wait(SECONDS)
        finally:
            process.kill()
    return Ended(code, *(stream.text() for stream in streams))


def shown(text: str) -> str:
    """What a person reads of it."""
    return OBEYED.sub("", text)
