"""In which a replica stands while it takes over, and writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.engine.changes import Change


class Fencing(StrEnum):
    """What a replica has to do before it may fire."""

    ASK = "ask whether it is the owner"
    INIT = "fence"
    MARK = "ask for the high watermark"
    DONE = "nothing"


@dataclass
class Circumstances:
    """Of one transaction: what the judge has to know."""

    replica: str
    now_ms: int
    since_delta: int | None
    read_to: int
    """The last record that was applied before the batch was taken."""
    asked: dict[bytes, Change] = field(default_factory=dict)
    given_up: set[bytes] = field(default_factory=set)
    """Schedules whose target was not there, when their grace was over."""
