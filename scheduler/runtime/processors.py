"""How many processors this process may use, and how its threads share them."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from scheduler.runtime.logs import fields

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container: microseconds of processor time in a period, and the period."""

log = logging.getLogger("scheduler")


def take_turns() -> None:
    """Let no thread of this process interrupt another when it wakes: it runs when a processor is free, or in its turn.

    For programs, before they start threads. A firing takes some forty turns of five threads of the client and the
    interpreter, each woken by the one before, which still holds the lock that it wants: at 1,000/s each firing takes
    a sixth less of the processor so, and comes sooner. Beside two processes that never sleep it comes no later.
    """
    if not hasattr(os, "SCHED_BATCH"):  # Linux has it
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:  # whoever has chosen another knows why
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:
        log.info("threads interrupt each other", extra=fields(detail=f"SCHED_BATCH: {error.strerror}"))


def usable(quota: Path = _QUOTA) -> int:
    """At least one; a container's share of one is no second one."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or one without a quota
        time, period = map(int, quota.read_text(encoding="ascii").split())
        count = min(count, time // period)
    return max(1, count)
