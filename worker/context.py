"""What a handler may ask of its own run, and what it may raise to say what is to follow."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from scheduler.durations import parse_duration
from scheduler.errors import InputError

if TYPE_CHECKING:
    from scheduler.job import Job


_ONE_BY_ONE = threading.Lock()


@dataclass(slots=True)
class JobContext:
    """The attempt that calls a handler."""

    run_id: str
    """The same for every attempt and every copy of it: dedupe by it."""
    id: str
    """The key that the job was enqueued with; its run id without one."""
    handler: str
    attempt: int
    """From 1."""
    max_attempts: int
    intended_start: str
    """When the first attempt was due, RFC 3339."""
    stops: bool = field(default=False, compare=False, repr=False)
    """Whether the worker wants the attempt to end. A function in a thread cannot be made to: it may look here."""
    _stopping: threading.Event | None = field(default=None, compare=False, repr=False)

    @property
    def stopping(self) -> threading.Event:
        """The same as an event, to wait for; made when it is first asked for, as it costs more than a call."""
        with _ONE_BY_ONE:
            if self._stopping is None:
                self._stopping = threading.Event()
                if self.stops:
                    self._stopping.set()
            return self._stopping

    def stop(self) -> None:
        """The worker wants it to end."""
        with _ONE_BY_ONE:
            self.stops = True
            if self._stopping is not None:
                self._stopping.set()

    @classmethod
    def of(cls, job: Job, intended_start: str) -> JobContext:
        """Of a job whose run id is filled in."""
        return cls(job.run_id or "", job.id, job.handler or "", job.attempt, job.max_attempts, intended_start)

    def facts(self) -> tuple[str, str, str, int, int, str]:
        """What another process makes the same context of."""
        return self.run_id, self.id, self.handler, self.attempt, self.max_attempts, self.intended_start


CURRENT: ContextVar[JobContext] = ContextVar("job")


def current() -> JobContext:
    """The attempt that this code runs in.

    Raises:
        LookupError: none; only a handler may ask.
    """
    return CURRENT.get()


class RetryLater(Exception):  # noqa: N818 - a request, not an error
    """Raised by a handler: this attempt failed, and the next is due after this delay, whatever the backoff."""

    def __init__(self, delay: str | float | timedelta, reason: str = "asked to be called later") -> None:
        super().__init__(delay, reason)
        self.delay_seconds = seconds(delay)

    def __str__(self) -> str:
        """The reason."""
        return str(self.args[1])


class GiveUp(Exception):  # noqa: N818 - a request, not an error
    """Raised by a handler: another attempt would fail too, so the job is a dead letter at once."""


def seconds(duration: str | float | timedelta) -> float:
    """A duration in seconds: a number of them, a timedelta, or `15m`.

    Raises:
        InputError: it is negative, or none.
    """
    try:
        if isinstance(duration, str):
            return parse_duration(duration) / 1000
        found = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from None
    if not 0 <= found < float("inf"):
        raise InputError(f"{duration!r} is not a duration: it must be finite and not negative")
    return found
