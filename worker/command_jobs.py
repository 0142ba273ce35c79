"""Jobs that are commands, and what a command is told of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.errors import InputError
from worker.execution import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.job import Job
    from worker.commands import Attempt, Commands
    from worker.outcome import Ended
    from worker.runs import Run


class CommandJobs:
    """Runs the commands of jobs."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

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
        return self._commands.start(command_of(run), tell=tell, done=done)

    def close(self) -> None:
        """Kill what runs."""
        self._commands.close()


def command_of(run: Run) -> Command:
    """The command of a run, with what its environment has beside `guardian.PASSED_ON`."""
    job = run.job
    environment = {
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
