"""What Kafka holds now: the schedules of one source, and those of others that stand under its ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from planner.occurrences import planned_instant
from planner.standing import SOURCE
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler.records import Stored
    from scheduler.runtime.progress import Progress
    from scheduler.schedule import Schedule


class Schedules(Protocol):
    """Who knows what is in force: a `SchedulerClient`."""

    def schedules(self, topic: str, *, progress: Progress | None = None) -> list[Stored]:
        """Every schedule in force on a topic."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Schedules in force, in the order of topics and partitions."""

    own: tuple[Stored, ...] = ()
    """The standing ones that the source wrote."""
    planned: tuple[Stored, ...] = ()
    """Its occurrences, planned one by one."""
    foreign: tuple[Stored, ...] = ()
    """Those under a key of the source that it did not write."""
    others: tuple[Stored, ...] = ()
    """The standing ones of other sources."""


def in_force(client: Schedules, topics: Iterable[str], reading: Progress | None = None) -> Iterator[Stored]:
    """Every schedule in force on the topics, one topic after another; `reading` is told how far that is."""
    return (stored for topic in topics for stored in client.schedules(topic, progress=reading))


def take_snapshot(
    client: Schedules, topics: Sequence[str], source: str, *, reading: Progress | None = None
) -> Snapshot:
    """Read every schedules topic once; `reading` is told how far that is.

    Raises:
        InputError: a topic does not exist.
        BrokerUnavailableError: the brokers do not answer.
    """
    return select(in_force(client, topics, reading), source)


def select(schedules: Iterable[Stored], source: str) -> Snapshot:
    """Pick what concerns a source."""
    mark, prefix = (SOURCE, source.encode()), f"{source}/".encode()
    own, planned, foreign, others = [], [], [], []
    for stored in schedules:
        schedule = stored.schedule
        marked = mark in schedule.headers
        # the mark travels with a job to its pending retries; those are one-shot, and not the planner's
        if marked and schedule.rule is not None:
            own.append(stored)
        elif marked and schedule.key.startswith(prefix) and planned_instant(schedule.key) is not None:
            planned.append(stored)
        elif schedule.key.startswith(prefix):
            foreign.append(stored)
        elif schedule.rule is not None and source_of(schedule) is not None:
            others.append(stored)
    return Snapshot(tuple(own), tuple(planned), tuple(foreign), tuple(others))


def source_of(schedule: Schedule) -> str | None:
    """Whose schedule it is; None where no planner wrote it."""
    return next((display(value) for name, value in schedule.headers if name == SOURCE), None)
