"""What became of schedules and jobs, as far back as it is kept; begun by the first look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scheduler.archive.store import Kind, Store
from scheduler.archive.tail import Tail

if TYPE_CHECKING:
    from scheduler.archive.tail import Reading
    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings


class Source(Protocol):
    """What fills the store; see `Tail`."""

    def look(self) -> None: ...  # noqa: D102
    def reading(self, kind: Kind) -> Reading: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Extent:
    """How much is kept of a kind."""

    reading: Reading
    records: int
    since_ms: int | None
    """The time of the oldest; None where there is none."""
    whole: bool
    """Whether it is all that the topic holds."""


class Archive:
    """Any thread may use it."""

    def __init__(self, store: Store, source: Source) -> None:
        self.store = store
        self._source = source

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Archive:
        """The archive of a replica; nothing is read before somebody looks."""
        store = Store(settings.history_cache)
        return cls(store, Tail(settings, store, clock))

    def look(self, kind: Kind) -> bool:
        """Somebody looks; tell whether all of that kind is read that was there when this began."""
        self._source.look()
        return self._source.reading(kind).caught_up

    def extent(self, kind: Kind) -> Extent:
        """How far back it reaches."""
        reading = self._source.reading(kind)
        records, since_ms, dropped = self.store.extent(kind)
        return Extent(reading, records, since_ms, reading.whole and not dropped)

    def close(self) -> None:
        """Stop reading."""
        self._source.close()
