"""The job message: what the planner writes as a schedule's payload and a worker runs.

JSON. Times are RFC 3339, durations are seconds. Unknown fields are kept and travel on to a retry.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scheduler.errors import InputError

Seconds = Annotated[float, Field(ge=0, le=365 * 86_400, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=249)]
Overlap = Literal["allow", "forbid", "replace"]


class Retry(BaseModel):
    """How long to wait before the next attempt: `delay * factor ** (attempt - 1)`, at most `max_delay`."""

    model_config = ConfigDict(extra="allow", strict=True)

    delay_seconds: Seconds = 10.0
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    max_delay_seconds: Seconds = 3600.0


class FailedAttempt(BaseModel):
    """One attempt that did not succeed, as the next one and the dead letter carry it."""

    model_config = ConfigDict(extra="allow", strict=True)

    attempt: int
    started: str
    ended: str
    error: str


class Job(BaseModel):
    """One run of a command. `attempt` counts from 1; `max_attempts` includes the first."""

    model_config = ConfigDict(extra="allow", strict=True)

    id: Name
    """The crontab entry or the caller's id: the same for every run."""
    job: Name
    """What people call it."""
    cluster: Name
    command: Annotated[str | list[str], Field(min_length=1)]
    """A text for the shell, or an argument list that is run as it is."""
    environment: dict[str, str] = {}
    stdin: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=365 * 86_400, allow_inf_nan=False)] | None = None
    attempt: Annotated[int, Field(ge=1)] = 1
    max_attempts: Annotated[int, Field(ge=1, le=10_000)] = 1
    retry: Retry = Retry()
    overlap: Overlap = "allow"
    """What to do while an earlier run of the job has not ended: run beside it, leave this run out, end that one."""
    user: Name | None = None
    """Whom a crontab with a user column names; the worker decides whether it can and may run as them."""
    run_id: str | None = None
    """The fire id of the first attempt; absent in a first run, whose message header has it."""
    intended_start: str | None = None
    """When the first attempt was due; absent in a first run, whose message header has it."""
    errors: list[FailedAttempt] = []

    @model_validator(mode="after")
    def _within_attempts(self) -> Job:
        if self.attempt > self.max_attempts:
            raise ValueError(f"attempt {self.attempt} of {self.max_attempts}")
        return self

    def to_json(self) -> bytes:
        """The message; fields at their default are left out, so that equal jobs are equal bytes."""
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


def describe_validation(error: ValidationError) -> str:
    """All that is wrong, in one line: `command: Field required; timeout_seconds: Input should be ...`."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
