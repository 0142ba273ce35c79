"""How the interpreter of a process that is a replica is set."""

from __future__ import annotations

import gc

GC_THRESHOLD = 200_000
"""Objects more than at the last look of the cyclic collector: at its default of 700 a restore takes three times as
long, for it walks millions of live schedules over and over and finds nothing."""


def tune() -> None:
    """Set it; to be called by programs, not by libraries: a replica in another's process leaves cycles when it ends."""
    gc.set_threshold(GC_THRESHOLD, 20, 100)
