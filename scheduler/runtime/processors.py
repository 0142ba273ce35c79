"""How many processors this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container: microseconds of processor time in a period, and the period."""


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
