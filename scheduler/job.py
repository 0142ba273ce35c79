"""The job message: what the planner writes as a schedule's payload and a worker runs.

JSON. Times are RFC 3339, durations are seconds. Unknown fields are kept and travel on to a retry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Seconds = Annotated[float, Field(ge=0, le=365 * 86_400, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=249)]
ExitCode = Annotated[int, Field(ge=0, le=255)]

_KEPT = ConfigDict(extra="allow", strict=True, use_attribute_docstrings=True)

Overlap = Literal["allow", "forbid", "replace"]
"""What becomes of a run whose job has an earlier run that has not ended: it runs beside it; it is skipped; the earlier
one is ended."""
Delivery = Literal["at-least-once", "at-most-once"]
"""What becomes of an attempt whose end nobody knows, because its worker died: it is made again; or it is not, and the
job is a dead letter."""


class _Nothing(dict[str, Any]):
    """An empty dictionary that stays empty, so that all jobs may have the same one."""

    def _refuse(self, *_args: Any, **_keywords: Any) -> Any:
        raise TypeError("a job's default is that of every job: make a copy of the job with another value")

    __setitem__ = setdefault = update = __ior__ = _refuse


_NOTHING = _Nothing()


def _nothing() -> Any:
    """The default of a dictionary, the same for all jobs; by a factory, as pydantic copies what cannot be hashed."""
    # one of its own for each job, and lists instead of tuples, are five objects more for the cyclic collector to walk
    # while the job waits: with 30,000 of them, 6 us of the 15 that reading one ahead cost
    return Field(default_factory=lambda: _NOTHING, json_schema_extra={"default": {}})


Several = Field(strict=False)
"""A tuple, of which a program may give a list."""


class Retry(BaseModel):
    """How long to wait before the next attempt: `delay * factor ** (attempt - 1)`, at most `max_delay`."""

    # frozen and of tuples, so that the default is one object for all jobs: pydantic copies what cannot be hashed
    model_config = ConfigDict(**_KEPT, frozen=True)

    delay_seconds: Seconds = 10.0
    """After the first attempt."""
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    """By which the delay grows with each attempt."""
    max_delay_seconds: Seconds = 3600.0
    """Beyond which it does not grow."""
    on_exit_codes: Annotated[tuple[ExitCode, ...], Field(min_length=1, strict=False)] | None = None
    """Only these are retried; any other end is final. 124 is a timeout, 128 and the signal's number a signal."""
    never_on: Annotated[tuple[ExitCode, ...], Field(strict=False)] = ()
    """These are final, whatever else is retried."""

    def covers(self, exit_code: int | None) -> bool:
        """Whether an attempt that ended so may be made again; None is an attempt without an exit code."""
        if exit_code is None:
            return True
        return exit_code not in self.never_on and (self.on_exit_codes is None or exit_code in self.on_exit_codes)


class FailedAttempt(BaseModel):
    """One attempt that did not succeed, as the next one and the dead letter carry it."""

    model_config = _KEPT

    attempt: int
    started: str
    """RFC 3339."""
    ended: str
    """RFC 3339."""
    error: str
    """How it ended, and the last line that it said."""


class Job(BaseModel):
    """One run of a command or of a handler. `attempt` counts from 1; `max_attempts` includes the first."""

    model_config = ConfigDict(**_KEPT, json_schema_extra={"oneOf": [{"required": [n]} for n in ("command", "handler")]})

    id: Name
    """The crontab entry or the caller's id: the same for every run."""
    job: Name
    """What people call it."""
    cluster: Name
    """Where it runs; the topic's name."""
    handler: Name | None = None
    """A function that its worker knows by this name, instead of a command. What is not stated of its attempts, retry,
    timeout and chain is then as it was registered."""
    arguments: Annotated[tuple[JsonValue, ...], Several] = ()
    """What the handler is called with."""
    keyword_arguments: dict[str, JsonValue] = _nothing()
    """What the handler is called with by name."""
    chain: Annotated[tuple[Name, ...], Several] = ()
    """Handlers to call after this one, one after the other, each with what the one before returned."""
    command: Annotated[str | list[str], Field(min_length=1)] | None = Field(None, validate_default=True)
    """A text for the shell (/bin/sh, or SHELL of its environment), or an argument list that is run as it is."""
    environment: dict[str, str] = _nothing()
    """Variables for the command, beside the few that it has from the worker and the JOB_ ones."""
    stdin: str | None = None
    """Its standard input; empty without it."""
    working_directory: Annotated[str, Field(min_length=1)] | None = None
    """Where it starts; the worker's own without it."""
    timeout_seconds: Annotated[float, Field(gt=0, le=365 * 86_400, allow_inf_nan=False)] | None = None
    """After which it and all its processes are ended; unlimited without it."""
    overlap: Overlap | None = None
    """While an earlier run has not ended: `allow` runs beside it, `forbid` skips this one, `replace` ends the earlier
    one. Without it a run waits for those before it."""
    delivery: Delivery = "at-least-once"
    """Whether an attempt is made again that was lost with its worker."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """Which one this is."""
    max_attempts: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many there may be."""
    retry: Retry = Retry()
    """When a failed attempt is made again."""
    user: Name | None = None
    """Whom a crontab with a user column names; a worker runs everything as its own user."""
    run_id: str | None = None
    """The fire id of the first attempt; absent in a first run, whose message header has it."""
    intended_start: str | None = None
    """When the first attempt was due, RFC 3339; absent in a first run, whose message header has it."""
    errors: Annotated[tuple[FailedAttempt, ...], Several] = ()
    """The attempts that failed."""

    @field_validator("command")
    @classmethod
    def _command_or_handler(cls, command: str | list[str] | None, info: ValidationInfo) -> str | list[str] | None:
        if "handler" not in info.data:
            return command  # there is one, and it is wrong
        if command is None and info.data["handler"] is None:
            raise PydanticKnownError("missing")
        if command is not None and info.data["handler"] is not None:
            raise PydanticCustomError("command_and_handler", "a job has a command or a handler, not both")
        return command

    @model_validator(mode="after")
    def _within_attempts(self) -> Job:
        if self.attempt > self.max_attempts:
            raise ValueError(f"attempt {self.attempt} of {self.max_attempts}")
        return self

    def fill_in(self, values: Mapping[str, Any]) -> None:
        """Set fields as stated, unchecked and all at once: one by one, seven cost 2 us, as much as to read the job."""
        self.__dict__.update(values)
        self.model_fields_set.update(values)

    def to_json(self) -> bytes:
        """The message; fields at their default are left out, so that equal jobs are equal bytes.

        A handler's job has all that was stated: what is left out is the handler's to say.
        """
        if self.handler is not None:
            return self.model_dump_json(exclude_unset=True).encode()
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> Job:
        """Read a message.

        Raises:
            InputError: it is not a job; the message names every field that is wrong.
        """
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise InputError(describe_validation(error)) from None


def json_schema() -> dict[str, Any]:
    """The job message as a JSON Schema document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Job.model_json_schema(),
        "title": "Job message",
    }


def describe_validation(error: ValidationError) -> str:
    """All that is wrong, in one line: `command: Field required; timeout_seconds: Input should be ...`."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
