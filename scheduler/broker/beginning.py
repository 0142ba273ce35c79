"""From what the owner of a partition begins, and for how long what was known of a log is enough to go on from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING

from scheduler.engine.partition import PartitionEngine

if TYPE_CHECKING:
    from scheduler.clock import Clock
    from scheduler.engine.kept import Kept

SHARE = 0.8
"""What was known is good for so much of `min.compaction.lag.ms`; the rest is for clocks, and to read what is new."""


class Start(StrEnum):
    """From what a restore begins."""

    COLD = "cold"
    """From the log's beginning."""
    WARM = "warm"
    """From a snapshot."""
    REJECTED = "rejected"
    """From the log's beginning, as the snapshot that there was would not do."""
    STANDBY = "standby"
    """From where the partition was followed to while it was another's."""


class StartError(Exception):
    """What an owner began with will not do, as it turns out; a sentence that says why."""


@dataclass
class Beginning:
    """Where an owner begins to read, with what it knows of what stands before that."""

    start: Start = Start.COLD
    kept: Kept | None = None
    """To be resumed, where the engine is a new one."""
    engine: PartitionEngine = field(default_factory=PartitionEngine)
    followed_to: int | None = None
    """Where the engine is no new one."""

    @property
    def read_to(self) -> int | None:
        """Every record below this offset is known; None: none is."""
        return self.followed_to if self.kept is None else self.kept.read_to

    @property
    def offset(self) -> int:
        """For the consumer."""
        return OFFSET_BEGINNING if self.read_to is None else self.read_to


class Instant(NamedTuple):
    """A point in time by both clocks: the wall's may be set, and the other may stand still with the machine."""

    ms: int
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> Self:
        """This one."""
        return cls(clock.now_ms(), clock.monotonic())

    def ms_since(self, other: Instant) -> int:
        """At least so long ago was the other."""
        return max(self.ms - other.ms, int((self.monotonic - other.monotonic) * 1000))


def lasts_ms(*compaction_lags_ms: int) -> int:
    """For how long what is known of a log is enough to go on from, with what came since.

    Compaction may have taken some of what came before: what a cancel or a continuation was about, or all of it.
    """
    return int(min(compaction_lags_ms) * SHARE)


def too_old(age_ms: int, *compaction_lags_ms: int) -> str | None:
    """Why what was known so long ago is not to be gone on from; None where it is."""
    good_for_ms = lasts_ms(*compaction_lags_ms)
    if age_ms <= good_for_ms:
        return None
    return (
        f"it is {age_ms / 1000:.0f} s old, and good for {good_for_ms / 1000:.0f} s, {SHARE:.0%} of the topic's "
        "min.compaction.lag.ms"
    )
