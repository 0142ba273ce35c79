"""How the call of a handler ended, as the end of an attempt. The same for threads, coroutines and processes."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from scheduler.job import Job
from scheduler.runtime.logs import fields
from worker.context import GiveUp, RetryLater
from worker.outcome import NO_OUTPUT, Ended, Outcome
from worker.output import LAST_LINE_CHARACTERS, Output
from worker.registry import Failure

if TYPE_CHECKING:
    from scheduler.errors import InputError
    from worker.context import JobContext
    from worker.registry import Handler

log = logging.getLogger("worker")

OUTPUT_BYTES = 64 * 1024
CHAINED_BYTES = 512 * 1024
"""What a handler may pass on: a record has room for 1 MB at the brokers' default."""


_RETURNED_NONE = Ended(Outcome.SUCCEEDED, "returned")


@dataclass(frozen=True, slots=True)
class Raised:
    """A call that did not return. It can be sent from one process to another."""

    error: str
    """The name of the exception's class."""
    message: str
    traceback: str
    final: bool = False
    retry_after_seconds: float | None = None

    @classmethod
    def of(
        cls, error: BaseException, retry_on: tuple[type[BaseException], ...], never_on: tuple[type[BaseException], ...]
    ) -> Raised:
        """What follows from an exception."""
        # without the frames that made the call: they are the worker's
        shown = "".join(traceback.format_exception(type(error), error, _without_caller(error)))
        later = error.delay_seconds if isinstance(error, RetryLater) else None
        final = isinstance(error, (GiveUp, *never_on)) or (later is None and not isinstance(error, retry_on))
        return cls(type(error).__name__, str(error), shown, final, later)


def wrong_arguments(error: InputError) -> Raised:
    """The arguments do not fit: they never will."""
    return Raised("wrong arguments", str(error), "", final=True)


def returned(job: Job, value: Any) -> Ended:
    """It returned that."""
    if value is None and not job.chain:
        return _RETURNED_NONE
    output = _output(value) if value is not None else NO_OUTPUT
    if not job.chain:
        return Ended(Outcome.SUCCEEDED, "returned", output)
    try:
        follows = _next(job, value)
    except (PydanticSerializationError, ValueError) as error:
        told = f"what it returned cannot be passed on to {job.chain[0]}: {error}"
        return Ended(Outcome.FAILED, "cannot be chained", _said(told), final=True)
    return Ended(Outcome.SUCCEEDED, "returned", output, follows=(follows,))


def failed(raised: Raised, outcome: Outcome = Outcome.FAILED, exit: str | None = None) -> Ended:  # noqa: A002 - the field's name
    """It did not return."""
    return Ended(
        outcome,
        exit or raised.error,
        _said(raised.traceback or raised.message, raised.message),
        final=raised.final,
        retry_after_seconds=raised.retry_after_seconds,
    )


def failure_of(job: Job, ended: Ended) -> Failure:
    """The same for a hook."""
    last_line = ended.output.last_line
    error = f"{ended.exit}: {last_line}" if last_line else ended.exit
    return Failure(error, ended.output.text, ended.final or job.attempt >= job.max_attempts)


def hook(handler: Handler, context: JobContext, job: Job, ended: Ended, value: Any) -> Any:
    """Call the hook that is due; what it returned. What is wrong with it is told, and changes nothing."""
    try:
        if ended.outcome is Outcome.SUCCEEDED:
            return handler.on_success(context, value) if handler.on_success else None
        return handler.on_failure(context, failure_of(job, ended)) if handler.on_failure else None
    except Exception as error:  # noqa: BLE001 - a customer's code; the job has ended as it has
        tell_of_hook(context, error)
        return None


def tell_of_hook(context: JobContext, error: BaseException) -> None:
    """A hook failed."""
    about = fields(job=context.handler, run_id=context.run_id, error=f"{type(error).__name__}: {error}")
    log.error("hook failed", extra=about, exc_info=error)


def _next(job: Job, value: Any) -> Job:
    name, *rest = job.chain
    argument = to_jsonable_python(value)
    size = len(to_json(argument))
    if size > CHAINED_BYTES:
        raise ValueError(f"it has {size} bytes, more than {CHAINED_BYTES}")
    more: dict[str, Any] = {"chain": tuple(rest)} if rest else {}
    run_id = f"{job.run_id}/{name}"
    return Job(id=job.id, job=name, cluster=job.cluster, handler=name, arguments=(argument,), run_id=run_id, **more)


def _output(value: Any) -> Output:
    try:
        raw = to_json(value, fallback=repr)
    except Exception as error:  # noqa: BLE001 - a customer's repr, or a value that holds itself: it was returned all the same
        raw = f"a {type(value).__name__} that cannot be shown: {error}".encode()
    text = raw[:OUTPUT_BYTES].decode(errors="replace")
    return Output(text, text[:LAST_LINE_CHARACTERS], len(raw))


def _said(text: str, message: str | None = None) -> Output:
    lines = (text if message is None else message).strip().splitlines()
    return Output(text[-OUTPUT_BYTES:], lines[-1][:LAST_LINE_CHARACTERS] if lines else "", len(text.encode()))


def _without_caller(error: BaseException) -> Any:
    frames = error.__traceback__
    return frames.tb_next if frames is not None else None
