"""What the recorder has seen so far, as a run needs it: who fires again, and what has not ended."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tests.support.chaos.cluster import PARTITIONS

if TYPE_CHECKING:
    from scheduler.audit.recorder import Recorder
    from scheduler.audit.records import Record
    from tests.support.chaos.cluster import Names

KEY = "scheduler-key"
REPLACES = "scheduler-replaces"
FIRE_ID = "scheduler-fire-id"


class Firing(NamedTuple):
    """A message at a target."""

    partition: int
    """Of the schedule."""
    due_ms: int
    received_ms: int


class _Story:
    """Of one key, by its records in order: whether the scheduler owes something yet."""

    def __init__(self) -> None:
        self.owes = False
        """A version is in force, or a cancel has not been told, or something in force is hidden."""
        self._stated_at = -1

    def hear(self, record: Record) -> None:
        """The next record."""
        replaces = record.stated(REPLACES)
        if replaces is None:
            if record.value_sha256 is not None:  # a cancel ends nothing: it has to be told
                self.owes, self._stated_at = True, record.offset
        elif record.value_sha256 is not None:
            self.owes = True
        elif int(replaces) >= self._stated_at:
            self.owes = False


class Watch:
    """Looks at each record once."""

    def __init__(self, recorder: Recorder, names: Names) -> None:
        self._names = names
        self._recorder = recorder
        self._looked_at = 0
        self._partitions: dict[bytes, int] = {}
        self._unplaced: list[Record] = []
        self._stories: defaultdict[bytes, _Story] = defaultdict(_Story)
        self.firings: list[Firing] = []

    def look(self) -> None:
        """Take note of what has come since."""
        new = self._recorder.records(self._looked_at)
        self._looked_at += len(new)
        for record in new:
            if record.topic == self._names.schedules and record.key is not None:
                self._partitions[record.key] = record.partition
                self._stories[record.key].hear(record)
        messages = [*self._unplaced, *(record for record in new if record.topic in self._names.targets)]
        self._unplaced = []
        for record in messages:
            partition = self._partitions.get(record.stated(KEY) or b"")
            if partition is None:  # its schedule has been fired before the recorder was given it
                self._unplaced.append(record)
            else:
                due_ms = int((record.stated(FIRE_ID) or b"").rpartition(b"@")[2])
                self.firings.append(Firing(partition, due_ms, record.received_ms or record.timestamp_ms))

    def unended(self) -> int:
        """Ids of which the scheduler owes something."""
        return sum(story.owes for story in self._stories.values())

    def silent(self, since_ms: int) -> list[int]:
        """Schedules partitions from which nothing has come that was due since then."""
        heard = {firing.partition for firing in self.firings if firing.due_ms >= since_ms}
        return [partition for partition in range(PARTITIONS) if partition not in heard]

    def recovery_ms(self, since_ms: int) -> int:
        """Until each partition had fired something that was due since then, at the reader."""
        first: dict[int, int] = {}
        for firing in self.firings:
            if firing.due_ms >= since_ms:
                first[firing.partition] = min(firing.received_ms, first.get(firing.partition, firing.received_ms))
        return max(first.values(), default=since_ms) - since_ms
