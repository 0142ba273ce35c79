"""A delayed-message scheduler that lives on Kafka alone.

The public API: `Scheduler` runs a replica inside a program, `SchedulerClient` and `AsyncSchedulerClient` read
and change schedules, `Settings` says where the brokers are. docs/library.md shows them at work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AsyncDeduplicator",
    "AsyncSchedulerClient",
    "BrokerUnavailableError",
    "ConfigurationError",
    "Deduplicator",
    "HistoryEvent",
    "HistoryFilter",
    "InputError",
    "Misfire",
    "NotFoundError",
    "Outcome",
    "OvertakenError",
    "Reason",
    "Receipt",
    "RetriesExhaustedError",
    "RetryPolicy",
    "Schedule",
    "Scheduler",
    "SchedulerClient",
    "SchedulerError",
    "Settings",
    "Stored",
    "Write",
    "__version__",
    "fire_id",
    "is_retried_message",
    "is_scheduler_message",
    "original_timestamp_ms",
    "retry_attempts",
]

if TYPE_CHECKING:
    from scheduler.aio import AsyncSchedulerClient
    from scheduler.client import SchedulerClient
    from scheduler.dedupe import AsyncDeduplicator, Deduplicator
    from scheduler.errors import (
        BrokerUnavailableError,
        ConfigurationError,
        InputError,
        NotFoundError,
        OvertakenError,
        RetriesExhaustedError,
        SchedulerError,
    )
    from scheduler.history import Filter as HistoryFilter
    from scheduler.history import HistoryEvent
    from scheduler.messages import (
        fire_id,
        is_retried_message,
        is_scheduler_message,
        original_timestamp_ms,
        retry_attempts,
    )
    from scheduler.records import Receipt, Stored, Write
    from scheduler.retry import RetryPolicy
    from scheduler.runtime.settings import Settings
    from scheduler.schedule import Misfire, Outcome, Reason, Schedule
    from scheduler.service import Scheduler

_HOMES = {
    "Scheduler": "scheduler.service",
    "SchedulerClient": "scheduler.client",
    "AsyncSchedulerClient": "scheduler.aio",
    "RetryPolicy": "scheduler.retry",
    "Settings": "scheduler.runtime.settings",
    "HistoryEvent": "scheduler.history",
    "HistoryFilter": "scheduler.history:Filter",
    **dict.fromkeys(("AsyncDeduplicator", "Deduplicator"), "scheduler.dedupe"),
    **dict.fromkeys(
        ("fire_id", "is_retried_message", "is_scheduler_message", "original_timestamp_ms", "retry_attempts"),
        "scheduler.messages",
    ),
    **dict.fromkeys(("Receipt", "Stored", "Write"), "scheduler.records"),
    **dict.fromkeys(("Misfire", "Outcome", "Reason", "Schedule"), "scheduler.schedule"),
    **dict.fromkeys(
        (
            "BrokerUnavailableError",
            "ConfigurationError",
            "InputError",
            "NotFoundError",
            "OvertakenError",
            "RetriesExhaustedError",
            "SchedulerError",
        ),
        "scheduler.errors",
    ),
}


def __getattr__(name: str) -> Any:
    # loaded when asked for: the pure modules stay importable without the Kafka client
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415 - only where something is asked for

        module, _, called = _HOMES[name].partition(":")
        return getattr(import_module(module), called or name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
