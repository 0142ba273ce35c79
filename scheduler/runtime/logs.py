"""Logs: one line per event that matters, as text for people or JSON for programs, on standard error.

An event is a fixed phrase plus fields: `log.info("restored", extra=fields(topic="schedules", partition=3))`.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scheduler.runtime.lines import Lines, json_line, text_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scheduler.runtime.lines import Line

_FIELDS = "event_fields"


def fields(**values: Any) -> dict[str, Any]:
    """Fields of an event, for `extra=`."""
    return {_FIELDS: values}


def names(keys: Iterable[tuple[str, int]]) -> str:
    """Partitions as one field: `schedules/3,schedules/4`."""
    return ",".join(f"{topic}/{partition}" for topic, partition in keys)


def silence_client() -> None:
    """For commands that end: what the Kafka client has to say reaches the user as the command's own error."""
    logging.getLogger("kafka").disabled = True


def tell(logger: logging.Logger, event: str, values: Mapping[str, Any]) -> None:
    """`logger.info(event, extra=fields(**values))` at a third of the cost: for what is told of each job.

    The logger's own handlers and filters are not asked; it is to have none.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    lines = _ours()
    if lines is None:  # a program of its own uses us, or a test listens
        logger.info(event, extra=fields(**values))
    else:
        lines.tell("INFO", logger.name, event, values)


@contextmanager
def together() -> Iterator[None]:
    """Lines that this thread tells meanwhile are written together, in order with those of other threads."""
    lines = _ours()
    if lines is None:
        yield
        return
    lines.hold()
    try:
        yield
    finally:
        lines.let_go()


def _ours() -> Lines | None:
    """The handler, where nobody else listens."""
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], Lines):
        return handlers[0]
    return None


class _Formatter(logging.Formatter):
    """Renders what comes by way of `logging` as the lines that do not."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def _of(self, record: logging.LogRecord, **more: Any) -> str:
        values = {**getattr(record, _FIELDS, {}), **more}
        return self._line(int(record.created * 1000), record.levelname, record.name, record.getMessage(), values)


class TextFormatter(_Formatter):
    """`lines.text_line`; a traceback, where there is one, follows it."""

    def __init__(self) -> None:
        super().__init__(text_line)

    def format(self, record: logging.LogRecord) -> str:
        """Render one event on one line."""
        line = self._of(record)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(_Formatter):
    """`lines.json_line`, with a traceback where there is one."""

    def __init__(self) -> None:
        super().__init__(json_line)

    def format(self, record: logging.LogRecord) -> str:
        """Render one event."""
        return self._of(record, **({"traceback": self.formatException(record.exc_info)} if record.exc_info else {}))


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
    handler = Lines(sys.stderr, json_line if form == "json" else text_line)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    client = logging.getLogger("kafka")
    client.disabled = False
    client.filters[:] = [OncePer(30.0)] if level != "debug" else []
    # the access log of the HTTP server and its own start lines say nothing an operator needs
    # nor does what the HTTP client asks whom, whose addresses may hold secrets besides
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
