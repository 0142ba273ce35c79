"""What a command writes: told line by line, kept as head and tail, in memory that does not grow with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.clock import Clock

HEAD_BYTES = TAIL_BYTES = 32 * 1024
LINE_BYTES = 8 * 1024
"""A longer line is cut here, and says so."""
LAST_LINE_CHARACTERS = 200

LINES_PER_SECOND = 1_000
LINES_AT_ONCE = 5_000
"""A command that writes `y` for ever would fill the log's disk in minutes: after a burst, lines beyond this rate are
counted instead of told. Head and tail keep what they keep regardless."""


@dataclass(frozen=True, slots=True)
class Output:
    """What is known of a command's output after its end."""

    text: str
    """All of it, or head and tail around a mark that says how many bytes are left out."""
    last_line: str
    """The last line that is not blank, cut at 200 characters."""
    total_bytes: int
    untold_lines: int = 0


class Capture:
    """Takes bytes as they come; standard output and standard error are one stream."""

    def __init__(self, tell: Callable[[str], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._total = 0
        self._line = bytearray()
        self._line_cut = 0
        self._allowance = float(LINES_AT_ONCE)
        self._allowance_at = clock.monotonic()
        self._untold = 0

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        self._keep(chunk)
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            if not self._line and self._spent():
                # the rest of this chunk is more than may be told: count its lines, without looking at them
                last = chunk.rfind(b"\n", start)
                self._untold += chunk.count(b"\n", start)
                start = last + 1
                break
            self._extend_line(chunk[start:end])
            self._end_line()
            start = end + 1
        self._extend_line(chunk[start:])

    def close(self) -> Output:
        """The output has ended."""
        if self._line or self._line_cut:
            self._end_line()
        kept = bytes(self._head) + b"".join(self._tail)
        left_out = self._total - len(kept)
        if left_out > 0:
            tail = b"".join(self._tail)
            text = f"{_text(bytes(self._head))}\n[... {left_out} bytes left out ...]\n{_text(tail)}"
        else:
            text = _text(kept)
        return Output(text, _last_line(kept), self._total, self._untold)

    def _keep(self, chunk: bytes) -> None:
        self._total += len(chunk)
        room = HEAD_BYTES - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        chunk = chunk[-TAIL_BYTES:]
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes > TAIL_BYTES:
            oldest = self._tail.popleft()
            excess = self._tail_bytes - TAIL_BYTES
            self._tail_bytes -= min(excess, len(oldest))
            if excess < len(oldest):
                self._tail.appendleft(oldest[excess:])

    def _extend_line(self, part: bytes) -> None:
        room = LINE_BYTES - len(self._line)
        self._line += part[:room]
        self._line_cut += max(0, len(part) - room)

    def _end_line(self) -> None:
        mark = f" [... {self._line_cut} bytes cut]" if self._line_cut else ""
        line = _text(bytes(self._line).rstrip(b"\r")) + mark
        self._line.clear()
        self._line_cut = 0
        if self._spent():
            self._untold += 1
            return
        self._allowance -= 1
        self._tell(line)

    def _spent(self) -> bool:
        now = self._clock.monotonic()
        self._allowance = min(LINES_AT_ONCE, self._allowance + (now - self._allowance_at) * LINES_PER_SECOND)
        self._allowance_at = now
        return self._allowance < 1


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _last_line(kept: bytes) -> str:
    for raw in reversed(kept.splitlines()):
        if line := _text(raw).strip():
            return line if len(line) <= LAST_LINE_CHARACTERS else line[: LAST_LINE_CHARACTERS - 1] + "…"
    return ""
