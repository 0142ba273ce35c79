"""The judge: compares what was written with what became of it, by the contract alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from scheduler.audit.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.audit.journal import Entry
    from scheduler.audit.recording import Recording
    from scheduler.audit.records import Record


class Hanging(NamedTuple):
    """A partition whose last stable offset stays below its high watermark."""

    topic: str
    partition: int
    last_stable_offset: int
    high_watermark: int


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run."""

    schedules_topics: Sequence[str]
    schedules: Sequence[Record]
    """What stands in the schedules topics, read committed from the beginning; so with the others."""
    history: Sequence[Record]
    targets: Sequence[Record]
    now_ms: int
    """What was due by then has to have ended."""
    dead_letters: Sequence[Record] | None = None
    """None: not read, not judged."""
    journal: Sequence[Entry] | None = None
    """What was written; None: unknown, what the topics alone can show is judged."""
    alone: bool = True
    """The journal has everything that customers wrote to the schedules topics."""
    recording: Recording | None = None
    """What a reader had that ran the whole time."""
    hanging: Sequence[Hanging] = ()
    whole_since: Mapping[str, int] = field(default_factory=dict)
    """For topics of which the beginning is gone, or compacted: since when (Unix ms) nothing is missing."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Judge occurrences that were due in between."""
    at_least_once: bool = False
    """The targets are on another cluster: copies are allowed."""


def judge(evidence: Evidence) -> Verdict:
    """Compare."""
    raise NotImplementedError
