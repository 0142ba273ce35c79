"""Logs: one line per event that matters, as text for people or JSON for programs, on standard error.

An event is a fixed phrase plus fields: `log.info("restored", extra=fields(topic="schedules", partition=3))`.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from scheduler.clock import rfc3339

_FIELDS = "event_fields"


def fields(**values: Any) -> dict[str, Any]:
    """Fields of an event, for `extra=`."""
    return {_FIELDS: values}


def silence_client() -> None:
    """For commands that end: what the Kafka client has to say reaches the user as the command's own error."""
    logging.getLogger("kafka").disabled = True


class TextFormatter(logging.Formatter):
    """`2030-01-01T00:00:00.000Z INFO scheduler restored topic=schedules partition=3`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one event on one line; a traceback, where there is one, follows it."""
        pairs = "".join(f" {name}={_shown(value)}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{rfc3339(int(record.created * 1000))} {record.levelname} {record.name} {record.getMessage()}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one event."""
        event: dict[str, Any] = {
            "time": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=False)


def _shown(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    # an id is a customer's text: what would break the line or steer a terminal is written as \uNNNN
    plain = text and text.isprintable() and " " not in text and '"' not in text
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


class OncePer(logging.Filter):
    """Lets the same complaint through once in a while: an unreachable broker is one event, not thirty a minute."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether nothing of this kind was let through lately."""
        kind = record.getMessage().partition(" ")[0]
        if record.created - self._last.get(kind, 0.0) < self._seconds:
            return False
        self._last[kind] = record.created
        return True


def configure(level: str, form: str) -> None:
    """Send every logger's events to standard error in the given form."""
    # what no line of ours tells need not be asked for at each event: a tenth of what it costs
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    client = logging.getLogger("kafka")
    client.disabled = False
    client.filters[:] = [OncePer(30.0)] if level != "debug" else []
    # the access log of the HTTP server and its own start lines say nothing an operator needs
    # nor does what the HTTP client asks whom, whose addresses may hold secrets besides
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
