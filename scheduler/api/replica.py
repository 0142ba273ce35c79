"""What the API asks of a replica; the service has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from scheduler.archive.archive import Archive
    from scheduler.broker.cluster import Member
    from scheduler.broker.gateway import Written
    from scheduler.broker.requests import Requests
    from scheduler.broker.standing import Standing
    from scheduler.clock import Clock
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.targets import TargetPolicy
    from scheduler.letters import Action, Letter
    from scheduler.records import LogEntry, Write
    from scheduler.runtime.settings import Settings
    from scheduler.schedule import Schedule


class Partition(Protocol):
    """A partition of this replica; its engine is its own thread's, `requests` are for the others."""

    standing: Standing
    read_to: int
    requests: Requests

    @property
    def engine(self) -> PartitionEngine:
        """Only its pending versions are looked at from outside, all at once, for `/schedules`."""
        ...


class Kafka(Protocol):
    """See `scheduler.broker.gateway.Gateway`; every method waits for Kafka."""

    def members(self) -> list[Member] | None: ...  # noqa: D102
    def partitions(self, topic: str) -> int: ...  # noqa: D102
    def end(self, topic: str, partition: int) -> int: ...  # noqa: D102
    def append(self, write: Write) -> Written: ...  # noqa: D102
    def hold(self, partitions: Mapping[str, int], *, on: bool) -> None: ...  # noqa: D102
    def log(self, topic: str, partition: int | None, keys: Collection[bytes]) -> list[LogEntry]: ...  # noqa: D102
    def settle(self, action: Action, ids: frozenset[str]) -> list[Letter]: ...  # noqa: D102


class Replica(Protocol):
    """A running replica, seen from outside; every member may be read from any thread."""

    @property
    def settings(self) -> Settings:
        """What it was made with."""
        ...

    @property
    def clock(self) -> Clock:
        """Its clock."""
        ...

    @property
    def policy(self) -> TargetPolicy:
        """Which topics it fires to."""
        ...

    @property
    def kafka(self) -> Kafka:
        """What it can ask of Kafka."""
        ...

    @property
    def archive(self) -> Archive:
        """What became of schedules and jobs."""
        ...

    @property
    def joined(self) -> bool:
        """Whether the group has told it which partitions it has."""
        ...

    @property
    def member_id(self) -> str | None:
        """Its name in the group; None before it has joined."""
        ...

    @property
    def client_id(self) -> str:
        """What it calls itself in the group."""
        ...

    def read_again(self, where: tuple[str, int], offsets: Sequence[int], seconds: float) -> list[Schedule]:
        """The schedules that stand at these offsets of a partition, as far as they are there and come in time."""
        ...

    @property
    def stuck(self) -> list[str]:
        """Calls of Kafka's client that do not return."""
        ...

    def standings(self) -> Mapping[tuple[str, int], Standing]:
        """Where each of its partitions stands, by topic and number."""
        ...

    def owners(self) -> Mapping[tuple[str, int], Partition]:
        """Its partitions, by topic and number."""
        ...

    def lags(self) -> Mapping[tuple[str, int], int]:
        """How many records stand in each of its partitions and are not read yet, as last noted."""
        ...
