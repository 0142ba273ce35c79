"""A partition that another replica owns, as far as it is followed: what a restore that takes long would know by now.

Nothing here fires or proves anything. Its engine restores, and goes on to do so under the owner that it is given to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from scheduler.broker.beginning import Beginning, Instant, Start, StartError, too_old
from scheduler.broker.feed import tell
from scheduler.engine.partition import PartitionEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from scheduler.broker.cluster import Cluster, Identity
    from scheduler.broker.feed import Fact
    from scheduler.engine.kept import Kept

FEW_CANCELS = 10_000
"""Remembered cancels that are not worth a look at which of them can be forgotten; 150 bytes each."""
MOST_CANCELS = 100_000
"""Or twice as many as the log has held when it was read first: with more, it is read afresh."""


class Sight:
    """When a reader stood at the end of its log for certain.

    Whoever has read up to where the log ended when that was asked has read all that stood there then. What it was
    given says less: it may have lain in a buffer for as long as the process was frozen.
    """

    def __init__(self, topic: Identity, sure: Instant) -> None:
        self.topic = topic
        """As it was before anything of it was read."""
        self._sure = sure
        """From then on the reader has to have come by everything, before compaction has."""
        self._mark: tuple[Instant, int] | None = None
        self.reached = False
        """Whether a mark was."""

    def note(self, asked: Instant, end: int) -> None:
        """The log ended there, as was asked at that time."""
        self._mark = self._mark or (asked, end)

    @property
    def end(self) -> int | None:
        """Where the log ended, as far as that is not read yet."""
        return None if self._mark is None else self._mark[1]

    def fault(self, now: Instant, compaction_lag_ms: int | None = None) -> str | None:
        """Why what the reader has read until now is not to be gone on from; None where it is.

        Args:
            now: not before anything that it has read was given to it.
            compaction_lag_ms: of the topic now, where that was asked.
        """
        lags = (self.topic.compaction_lag_ms, *(() if compaction_lag_ms is None else (compaction_lag_ms,)))
        return too_old(now.ms_since(self._sure), *lags)

    def has_read(self, to: int) -> None:
        """It has read so far, and nothing is the matter with it."""
        if self._mark is not None and to >= self._mark[1]:
            self._sure, self._mark, self.reached = self._mark[0], None, True


class Followed:
    """Used by one thread at a time.

    Args:
        sight: of its log, from before anything is read.
        kept: to go on from; None: it is read from its beginning.
    """

    def __init__(self, sight: Sight, kept: Kept | None = None) -> None:
        self.sight = sight
        self.engine = PartitionEngine()
        self.read_to: int | None = None
        self._look_at = FEW_CANCELS
        self._at_first: int | None = None
        """Cancels that are remembered of what stood in the log at the beginning."""
        if kept is not None:
            self.engine.resume(kept.reduced())
            self.read_to = kept.read_to

    @property
    def offset(self) -> int:
        """From where on it is to be read."""
        return OFFSET_BEGINNING if self.read_to is None else self.read_to

    def hear(self, messages: Sequence[Message], facts: Sequence[Fact], now: Instant) -> str | None:
        """Take in what was read by now; why it is not to be followed on, None where it is."""
        if (fault := self.sight.fault(now)) is not None:
            return fault
        first, last = messages[0], messages[-1]
        if self.read_to is not None and first.offset() < self.read_to:
            return f"the log was cut: {first.offset()} comes again, and {self.read_to} was read"
        tell(self.engine, facts)
        if self.read_to is None and self.sight.end is not None:
            self.engine.foresee(first.offset(), last.offset(), self.sight.end)
        # the end of a partition has the offset of the record to come
        self.read_to = last.offset() + (last.error() is None)
        self.sight.has_read(self.read_to)
        return self._bounded()

    def _bounded(self) -> str | None:
        """Have cancels forgotten, where they have become many."""
        if self.sight.reached and self._at_first is None:
            self._at_first = self.engine.cancels
        if self.engine.cancels <= self._look_at:
            return None
        left = self.engine.forget()
        self._look_at = max(FEW_CANCELS, 2 * left)
        if self._at_first is not None and left > max(MOST_CANCELS, 2 * self._at_first):
            return f"{left} cancels of what was not pending, and nobody has fired anything since"
        return None

    def beginning(self) -> Beginning:
        """For the owner that the partition is given to; it is not followed any more."""
        if self.read_to is None:
            return Beginning()
        return Beginning(Start.STANDBY, engine=self.engine, followed_to=self.read_to)

    def prove(self, cluster: Cluster, end: int) -> None:
        """Make sure that what was followed is what stands there; asked once a fence is up.

        Args:
            cluster: to be asked.
            end: of the log, from behind the fence.

        Raises:
            StartError: it is another topic, or another log.
            KafkaException: the cluster does not answer.
        """
        topic = self.sight.topic
        if cluster.topic_id(topic.name) != topic.id:
            raise StartError("the topic was deleted and made anew since it was followed")
        if self.read_to is not None and end < self.read_to:
            raise StartError(f"the log ends at {end}, and was read up to {self.read_to}: it was cut")
