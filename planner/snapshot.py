"""What Kafka holds now: the schedules of one source, and those of others that stand under its ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from planner.standing import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scheduler.records import Stored


class Schedules(Protocol):
    """Who knows what is in force: a `SchedulerClient`."""

    def schedules(self, topic: str) -> list[Stored]:
        """Every schedule in force on a topic."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Schedules in force, in the order of topics and partitions."""

    own: tuple[Stored, ...] = ()
    """Those that the source wrote."""
    foreign: tuple[Stored, ...] = ()
    """Those under a key of the source that it did not write."""


def take_snapshot(client: Schedules, topics: Sequence[str], source: str) -> Snapshot:
    """Read every schedules topic once.

    Raises:
        InputError: a topic does not exist.
        BrokerUnavailableError: the brokers do not answer.
    """
    return select((stored for topic in topics for stored in client.schedules(topic)), source)


def select(schedules: Iterable[Stored], source: str) -> Snapshot:
    """Pick what concerns a source."""
    mark, prefix = (SOURCE, source.encode()), f"{source}/".encode()
    own, foreign = [], []
    for stored in schedules:
        # the mark travels with a job to its pending retries; those are one-shot, and not the planner's
        if mark in stored.schedule.headers and stored.schedule.rule is not None:
            own.append(stored)
        elif stored.schedule.key.startswith(prefix):
            foreign.append(stored)
    return Snapshot(tuple(own), tuple(foreign))
