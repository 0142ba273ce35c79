"""A delayed-message scheduler that lives on Kafka alone.

The public API: `Scheduler` runs a replica inside a program, `SchedulerClient` reads and changes
schedules, `Settings` says where the brokers are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Scheduler", "SchedulerClient", "Settings", "__version__"]

if TYPE_CHECKING:
    from scheduler.client import SchedulerClient
    from scheduler.runtime.settings import Settings
    from scheduler.service import Scheduler

_HOMES = {
    "Scheduler": "scheduler.service",
    "SchedulerClient": "scheduler.client",
    "Settings": "scheduler.runtime.settings",
}


def __getattr__(name: str) -> Any:
    # loaded when asked for: the pure modules stay importable without the Kafka client
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415 - only where something is asked for

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
