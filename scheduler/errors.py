"""Errors that reach a user: one sentence each that says what to do, and the exit code that goes with it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the commands return; the numbers from 64 to 78 are those of `sysexits.h`."""

    OK = 0
    FAILED = 1
    CHANGES = 2  # `planner plan`: something would change
    FAULTS = 3  # `scheduler audit`: something is lost, doubled, or otherwise not as it should be
    USAGE = 64  # a wrong option or argument
    BAD_INPUT = 65  # a crontab, a record or a header that cannot be read
    UNAVAILABLE = 69  # the broker does not answer
    CONFIGURATION = 78  # a setting that does not parse
    INTERRUPTED = 130


class SchedulerError(Exception):
    """The base of every error that is meant for a user."""

    exit_code = ExitCode.FAILED


class ConfigurationError(SchedulerError):
    """A setting is wrong; the message names the variable."""

    exit_code = ExitCode.CONFIGURATION


class InputError(SchedulerError):
    """Something a user wrote cannot be read; the message names the place."""

    exit_code = ExitCode.BAD_INPUT


class BrokerUnavailableError(SchedulerError):
    """Kafka does not answer, or refuses; the message names the address."""

    exit_code = ExitCode.UNAVAILABLE


class NotFoundError(SchedulerError):
    """No schedule of that id is in force: it was never there, has fired or was cancelled."""


class RetriesExhaustedError(SchedulerError):
    """A message has been retried as often as its policy allows."""


class OvertakenError(SchedulerError):
    """A schedule changed or fired while a change to it was being written; both stand in the log."""
