"""How an attempt ended. Pure, and the same for whatever was run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.job import Job


TIMEOUT_EXIT_CODE = 124
SIGNAL_EXIT_CODE = 128
"""As timeout(1) and the shell have it: 124 for an attempt out of time, 128 and the signal's number for a signal."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    KILLED = "killed"
    SKIPPED = "skipped"
    """An earlier run of the job had not ended, and its overlap is forbidden; or a later one took its place."""
    REPLACED = "replaced"
    """It was ended for a later run of the job."""
    LOST = "lost"
    """Its worker died, and no attempt is left."""


NO_OUTPUT = Output("", "", 0)
FAILURES = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.KILLED, Outcome.LOST})
"""What may be followed by another attempt or a dead letter."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. `exit` is for people: `exit 0`, `killed by SIGKILL`, `timed out after 2s`."""

    outcome: Outcome
    exit: str
    output: Output = NO_OUTPUT
    exit_code: int | None = None
    signal: str | None = None
    stopped: bool = False
    """Ended on request of the worker: nothing is known of the job itself."""
    final: bool = False
    """It failed, and would fail again: no other attempt."""
    retry_after_seconds: float | None = None
    """It failed, and asks for this delay instead of its backoff."""
    follows: tuple[Job, ...] = ()
    """It succeeded, and these are next."""

    @property
    def shell_code(self) -> int | None:
        """The exit code as a shell would tell it; None where nothing was run to its end."""
        if self.outcome is Outcome.TIMED_OUT:
            return TIMEOUT_EXIT_CODE
        if self.signal is not None:
            number = getattr(signal, self.signal, None)
            return None if number is None else SIGNAL_EXIT_CODE + int(number)
        return self.exit_code

    def as_json(self) -> dict[str, Any] | None:
        """For another process."""
        if self is SILENT_SUCCESS:
            return None
        output = self.output
        return {
            "outcome": self.outcome.value,
            "exit": self.exit,
            "output": [output.text, output.last_line, output.total_bytes, output.untold_lines],
            "exit_code": self.exit_code,
            "signal": self.signal,
            "stopped": self.stopped,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> Ended:
        """What `as_json` gave."""
        if told is None:
            return SILENT_SUCCESS
        return cls(**{**told, "outcome": Outcome(told["outcome"]), "output": Output(*told["output"])})


SILENT_SUCCESS = Ended(Outcome.SUCCEEDED, "exit 0", exit_code=0)
"""Of a command that has said nothing: one for all of them, as making it and telling it cost a tenth of a short job."""
