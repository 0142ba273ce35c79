"""What is written of an attempt that ended, and of a message that is no job. Pure.

A **result** (results topic, key = run id) is a JSON object: `run_id`, `id`, `job`, `cluster`, `attempt`,
`max_attempts`, `intended_start`, `due`, `started`, `ended` (RFC 3339), `outcome`, `exit`, `exit_code`, `signal`,
`error`, `then` (`retry`, `dead-letter` or null), `retry_at`, `output`, `output_bytes`,
`worker`, and `source` (`topic`, `partition`, `offset` of the message that was run). An attempt that nobody may make
twice has one before it begins too: the same without what only its end tells, `outcome` is `started`.

A **retry** is a schedule (key = `<run id>#<attempt>`) of the job, due after its delay, to the cluster's retry topic.

A **dead letter** is the job with all its errors (or the message as it came) and the `dead-letter-*` headers below.
`worker dead` and the admin page deal with them (`scheduler.letters`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from scheduler import wire
from scheduler.clock import rfc3339
from scheduler.letters import (
    DEAD_LETTER_FIRST_FAILURE,
    DEAD_LETTER_LAST_FAILURE,
    DEAD_LETTER_OUTPUT,
    DEAD_LETTER_PREFIX,
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
)
from scheduler.records import Write
from scheduler.topics import retry_topic_name
from worker.attempts import DeadLetter, RetryAt
from worker.outcome import Outcome
from worker.runner import Finished, error_text
from worker.runs import Poison

if TYPE_CHECKING:
    from scheduler.job import Job
    from scheduler.runtime.settings import Settings
    from scheduler.schedule import Header
    from worker.runs import Run, Started

STARTED = "started"
_SUCCEEDED = Outcome.SUCCEEDED
OUTPUT_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Books:
    """Where a worker writes, and its name."""

    schedules_topic: str
    results_topic: str
    dead_letter_topic: str
    cluster: str
    worker: str

    @classmethod
    def of(cls, settings: Settings, *, cluster: str, worker: str) -> Books:
        """The topics that the settings name; retries go to the first of the schedules topics."""
        return cls(settings.schedules_topics[0], settings.results_topic, settings.dead_letter_topic, cluster, worker)

    def records(self, entry: Finished | Poison, *, brief: bool = False) -> list[Write]:
        """All records of one entry.

        Args:
            entry: an attempt that ended, or a message that is no job.
            brief: without what makes a record too large for Kafka: no output, and a job that does not fit
                becomes a dead letter without a value, whose headers say where the message stands.
        """
        if isinstance(entry, Poison):
            return [self._poison(entry, brief=brief)]
        result = self._result(entry, brief=brief)
        match entry.then:
            case None if not entry.ended.follows:
                return [result]
            case None:
                return [result, *(self._follow(entry, job, brief=brief) for job in entry.ended.follows)]
            case RetryAt() as retry if not brief:
                return [result, self._retry(entry.run, retry)]
            case RetryAt(job=job):
                return [result, self._dead_letter(entry.run, DeadLetter(job, "too large to be scheduled again"), None)]
            case DeadLetter(job=job) as dead:
                letter = self._dead_letter(entry.run, dead, None if brief else job.to_json())
                if entry.ended.output.text and not brief:
                    letter.headers.append((DEAD_LETTER_OUTPUT, entry.ended.output.text[-OUTPUT_CHARACTERS:].encode()))
                return [result, letter]

    def started(self, started: Started) -> Write:
        """The record of an attempt that is about to begin."""
        result = {
            **self._about(started.run),
            "started": rfc3339(started.at_ms),
            "outcome": STARTED,
            "worker": self.worker,
            "source": started.run.source._asdict(),
        }
        return Write(self.results_topic, started.run.run_id.encode(), to_json(result))

    def _about(self, run: Run) -> dict[str, Any]:
        job = run.job
        return {
            "run_id": run.run_id,
            "id": job.id,
            "job": job.job,
            "cluster": self.cluster,
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
            "intended_start": run.intended_start,
            "due": rfc3339(run.due_ms),
        }

    def _result(self, finished: Finished, *, brief: bool) -> Write:
        run, ended, output = finished.run, finished.ended, finished.ended.output
        topic, partition, offset = run.source
        result = self._about(run)
        # one display: item by item, or merged with another dictionary, it costs twice as much
        result |= {
            "started": rfc3339(finished.started_ms),
            "ended": rfc3339(finished.ended_ms),
            "outcome": ended.outcome.value,
            "exit": ended.exit,
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "error": None if ended.outcome is _SUCCEEDED else error_text(ended),
            "then": None,
            "retry_at": None,
            "output": "" if brief else output.text,
            "output_bytes": output.total_bytes,
            "worker": self.worker,
            "source": {"topic": topic, "partition": partition, "offset": offset},
        }
        match finished.then:
            case None:
                pass
            case RetryAt(due_ms=due_ms) if not brief:
                result |= {"then": "retry", "retry_at": rfc3339(due_ms)}
            case RetryAt() | DeadLetter():
                result["then"] = "dead-letter"
        return Write(self.results_topic, run.run_id.encode(), to_json(result))

    def _retry(self, run: Run, retry: RetryAt) -> Write:
        headers = wire.schedule_headers(
            retry_topic_name(self.cluster),
            due_ms=retry.due_ms,
            target_key=run.job.id.encode(),
            headers=run.headers,
        )
        key = f"{run.run_id}#{retry.job.attempt}"
        return Write(self.schedules_topic, key.encode(), retry.job.to_json(), headers)

    def _follow(self, finished: Finished, job: Job, *, brief: bool) -> Write:
        if not brief:
            return Write(self.cluster, job.id.encode(), job.to_json(), [*finished.run.headers])
        at = rfc3339(finished.ended_ms)
        about = _dead_letter_headers(f"{job.job}: too large to be enqueued", at, at, str(finished.run.source))
        return Write(self.dead_letter_topic, job.id.encode(), None, [*finished.run.headers, *about])

    def _dead_letter(self, run: Run, dead: DeadLetter, value: bytes | None) -> Write:
        errors = dead.job.errors
        headers = [
            *run.headers,
            *_dead_letter_headers(dead.reason, errors[0].ended, errors[-1].ended, str(run.source)),
        ]
        return Write(self.dead_letter_topic, run.job.id.encode(), value, headers)

    def _poison(self, poison: Poison, *, brief: bool) -> Write:
        at = rfc3339(poison.timestamp_ms)
        own = [] if brief else [header for header in poison.headers if not header[0].startswith(DEAD_LETTER_PREFIX)]
        headers = [*own, *_dead_letter_headers(poison.reason, at, at, str(poison.source))]
        return Write(self.dead_letter_topic, poison.key, None if brief else poison.value, headers)


def _dead_letter_headers(reason: str, first: str, last: str, source: str) -> list[Header]:
    return [
        (DEAD_LETTER_REASON, reason.encode()),
        (DEAD_LETTER_FIRST_FAILURE, first.encode()),
        (DEAD_LETTER_LAST_FAILURE, last.encode()),
        (DEAD_LETTER_SOURCE, source.encode()),
    ]
