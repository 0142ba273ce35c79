"""Who wants to know what the owners of partitions do; called from their threads, never for each record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.broker.beginning import Start
    from scheduler.broker.failures import Kind
    from scheduler.engine.settlement import Place, Settlement


class Observer:
    """Told after the fact, and wants to know nothing unless it says so; the partition waits while it is told."""

    def settled(self, place: Place, batch: Sequence[Settlement], seconds: float, *, running_since_ms: int) -> None:
        """A transaction is committed, so many seconds after the decision."""

    def failed(self, place: Place, kind: Kind) -> None:
        """A transaction did not end well."""

    def fenced(self, place: Place, seconds: float) -> None:
        """Nobody else can write for the partition any more; how long that took, all attempts together."""

    def not_fenced(self, place: Place) -> None:
        """An attempt to put up a fence has failed; another one follows."""

    def restored(self, place: Place, start: Start) -> None:
        """All that stands in the log is read, and what is due is about to fire."""

    def accepted(self, place: Place, schedules: int) -> None:
        """So many more versions were read and found sound."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def settled(self, place: Place, batch: Sequence[Settlement], seconds: float, *, running_since_ms: int) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.settled(place, batch, seconds, running_since_ms=running_since_ms)

    def failed(self, place: Place, kind: Kind) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.failed(place, kind)

    def fenced(self, place: Place, seconds: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.fenced(place, seconds)

    def not_fenced(self, place: Place) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.not_fenced(place)

    def restored(self, place: Place, start: Start) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.restored(place, start)

    def accepted(self, place: Place, schedules: int) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.accepted(place, schedules)
