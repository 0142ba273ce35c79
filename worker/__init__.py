"""The worker: consumes the jobs of one cluster, runs them, and keeps the books in Kafka.

The way of a message through the modules:
`runs` reads it, `lanes` lets it wait its turn, `slots` gives it a slot, `runner` performs the attempt with
`command_jobs` (`commands`, `guardian`, `execution`, `output`, `processes`) or `handlers` (`registry`, `calls`,
`handler_processes`), `attempts` says what follows a failure, `records` writes that down, `bookkeeping` has the `ledger`
make it one transaction with the `offsets` that are done, and `service` keeps polling meanwhile.

The public API is the job queue: docs/job-queue.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "Enqueued",
    "Failure",
    "GiveUp",
    "ImmediateQueue",
    "JobContext",
    "JobFailedError",
    "JobQueue",
    "QueueConfig",
    "QueueWorker",
    "Registry",
    "Retry",
    "RetryLater",
    "current",
]

if TYPE_CHECKING:
    from scheduler.job import Retry
    from worker.context import GiveUp, JobContext, RetryLater, current
    from worker.immediate import ImmediateQueue, JobFailedError
    from worker.queue import Enqueued, JobQueue, QueueConfig
    from worker.queue_worker import QueueWorker
    from worker.registry import Failure, Registry

_HOMES = {
    "Retry": "scheduler.job",
    **dict.fromkeys(("GiveUp", "JobContext", "RetryLater", "current"), "worker.context"),
    **dict.fromkeys(("ImmediateQueue", "JobFailedError"), "worker.immediate"),
    **dict.fromkeys(("Enqueued", "JobQueue", "QueueConfig"), "worker.queue"),
    "QueueWorker": "worker.queue_worker",
    **dict.fromkeys(("Failure", "Registry"), "worker.registry"),
}


def __getattr__(name: str) -> Any:
    # loaded when asked for: the guardian process needs none of it
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415 - only where something is asked for

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
