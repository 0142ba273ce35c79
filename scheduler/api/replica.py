"""What the API asks of a replica; the service has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.broker.owner import Owner, Standing
    from scheduler.runtime.settings import Settings


class Replica(Protocol):
    """A running replica, seen from outside; every member may be read from any thread."""

    @property
    def settings(self) -> Settings:
        """What it was made with."""
        ...

    @property
    def joined(self) -> bool:
        """Whether the group has told it which partitions it has."""
        ...

    def standings(self) -> Mapping[tuple[str, int], Standing]:
        """Where each of its partitions stands, by topic and number."""
        ...

    def owners(self) -> Mapping[tuple[str, int], Owner]:
        """Its partitions, by topic and number."""
        ...
