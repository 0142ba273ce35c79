"""One event as one line, for people or for programs, and the handler that writes such lines to a stream."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any, TextIO

from scheduler.clock import SystemClock, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Line = Callable[[int, str, str, str, Mapping[str, Any]], str]
    """Of Unix milliseconds, level, logger, event, and the event's fields."""

_CLOCK = SystemClock()


def text_line(at_ms: int, level: str, logger: str, event: str, values: Mapping[str, Any]) -> str:
    """`2030-01-01T00:00:00.000Z INFO scheduler restored topic=schedules partition=3`."""
    pairs = "".join([f" {name}={_shown(value)}" for name, value in values.items()])
    return f"{rfc3339(at_ms)} {level} {logger} {event}{pairs}"


def json_line(at_ms: int, level: str, logger: str, event: str, values: Mapping[str, Any]) -> str:
    """One JSON object: time, level, logger, event, and the event's fields."""
    return _JSON({"time": rfc3339(at_ms), "level": level.lower(), "logger": logger, "event": event, **values})


# json.dumps makes an encoder at each call that asks for something, which costs more than the text
_JSON = json.JSONEncoder(default=str, ensure_ascii=False).encode
_ASCII = json.JSONEncoder().encode


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else f"{value:.3f}" if isinstance(value, float) else str(value)
    # an id is a customer's text: what would break the line or steer a terminal is written as \uNNNN
    plain = text and text.isprintable() and " " not in text and '"' not in text
    if plain:
        return text
    return _JSON(text) if text.isprintable() else _ASCII(text)


class Lines(logging.StreamHandler[TextIO]):
    """Writes each event as a line; a thread may have those that it tells together written together."""

    def __init__(self, stream: TextIO, line: Line) -> None:
        super().__init__(stream)
        self._line = line
        self._held: list[str] = []
        self._holder: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event of `logging`, behind all that was told before it."""
        try:
            self._held.append(self.format(record))
            self._write()
        except Exception:  # noqa: BLE001 - as every handler: what cannot be logged stops nobody
            self.handleError(record)

    def tell(self, level: str, logger: str, event: str, values: Mapping[str, Any]) -> None:
        """Write an event without a LogRecord: making one, and finding out who called, costs twice the line."""
        line = self._line(_CLOCK.now_ms(), level, logger, event, values)
        self.acquire()
        try:
            self._held.append(line)
            if self._holder != threading.get_ident():
                self._write_safely()
        finally:
            self.release()

    def hold(self) -> None:
        """What this thread tells from now on may wait until `let_go`, or until another thread has something to say."""
        self._holder = threading.get_ident()

    def let_go(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._holder = None
            if self._held:
                self._write_safely()
        finally:
            self.release()

    def _write_safely(self) -> None:
        try:
            self._write()
        except Exception:  # noqa: BLE001 - as in `emit`
            self.handleError(logging.makeLogRecord({"msg": "lines"}))

    def _write(self) -> None:
        lines, self._held = self._held, []
        self.stream.write("\n".join([*lines, ""]))
        self.stream.flush()
