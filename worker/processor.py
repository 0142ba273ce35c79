"""How a worker of commands, and its guardian, share the processor with the commands."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def give_way() -> None:
    """Let who has the processor use up its turn before this process, or one that it starts, gets it; Linux only.

    The guardian is woken by each command that ends, and the worker by the guardian. Each time, a command that would
    have ended in a moment loses the processor first: 0.76 of a bare loop of commands that do nothing, on one processor,
    and 0.79 without that.
    """
    if sys.platform == "linux":
        _share(os.SCHED_BATCH)


def gives_way() -> bool:
    """Whether it does so."""
    return sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_BATCH


@contextmanager
def as_any_other() -> Iterator[None]:
    """Give way to nobody meanwhile: what is started then does not either."""
    if not gives_way():
        yield
        return
    _share(os.SCHED_OTHER)
    try:
        yield
    finally:
        give_way()


def _share(policy: int) -> None:
    with suppress(PermissionError):  # a sandbox may forbid it, and takes the speed, no more
        os.sched_setscheduler(0, policy, os.sched_param(0))
