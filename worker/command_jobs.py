"""Jobs that are commands: what a command gets of the worker's environment, and what it is told of its run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scheduler.errors import InputError
from worker.execution import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler.job import Job
    from worker.commands import Attempt, Commands
    from worker.outcome import Ended
    from worker.runs import Run

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a command gets of the worker's environment; the rest may hold the worker's own secrets."""


class CommandJobs:
    """Runs the commands of jobs."""

    def __init__(self, commands: Commands, environment: Mapping[str, str] = os.environ) -> None:
        self._commands = commands
        self._passed_on = {name: environment[name] for name in PASSED_ON if name in environment}

    def accept(self, job: Job) -> Job:
        """Any job that is a command.

        Raises:
            InputError: it is not.
        """
        if job.command is None:
            raise InputError(f"handler: {job.handler!r} is to be called, and this worker runs commands: --handlers")
        return job

    def start(self, run: Run, tell: Callable[[str], None], done: Callable[[Ended], None]) -> Attempt:
        """Run the job's command."""
        return self._commands.start(command_of(run, self._passed_on), tell=tell, done=done)

    def close(self) -> None:
        """Kill what runs."""
        self._commands.close()


def command_of(run: Run, passed_on: Mapping[str, str]) -> Command:
    """The command of a run, with its environment."""
    job = run.job
    environment = {
        **passed_on,
        **job.environment,
        "JOB_NAME": job.job,
        "JOB_ID": job.id,
        "JOB_CLUSTER": job.cluster,
        "JOB_FIRE_ID": run.run_id,
        "JOB_ATTEMPT": str(job.attempt),
        "JOB_MAX_ATTEMPTS": str(job.max_attempts),
        "JOB_DUE_AT": run.intended_start,
    }
    command = job.command or []
    # the worker's own SHELL is its user's taste; the job's is what its command is written for
    if isinstance(command, str) and (shell := job.environment.get("SHELL")):
        command = [shell, "-c", command]
    return Command(command, environment, job.stdin, job.timeout_seconds, job.working_directory)
