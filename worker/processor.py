"""How a worker of commands, and its guardian, share the processor with the commands."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

USUAL: dict[str, Any] = {} if sys.platform != "linux" else {"scheduler": (os.SCHED_OTHER, os.sched_param(0))}
"""For `posix_spawn`: a process that shares it as any other does."""


def give_way() -> None:
    """Let who has the processor use up its turn before this process, or one that it starts, gets it; Linux only.

    The guardian is woken by each command that ends, and the worker by the guardian. Each time, a command that would
    have ended in a moment loses the processor first: 0.76 of a bare loop of commands that do nothing, on one processor,
    and 0.79 without that.
    """
    if sys.platform == "linux":
        with suppress(PermissionError):  # a sandbox may forbid it, and takes the speed, no more
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def gives_way() -> bool:
    """Whether it does so."""
    return sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_BATCH


def give_back(process: int) -> None:
    """Let a child that was started without `USUAL` share it as any other does; what it has started already does not."""
    with suppress(ProcessLookupError):
        os.sched_setscheduler(process, *USUAL["scheduler"])
