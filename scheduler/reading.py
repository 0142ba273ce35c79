"""Reads schedules topics and the history, as a client does: without joining the replicas' group."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from scheduler import drafts
from scheduler.broker.cluster import Cluster
from scheduler.broker.reader import read
from scheduler.clock import Clock, SystemClock
from scheduler.errors import InputError, NotFoundError
from scheduler.history import Filter, HistoryEvent, read_event
from scheduler.lookup import endings_of, in_force, log_of
from scheduler.records import LogEntry, Stored
from scheduler.runtime.kafka import unavailable
from scheduler.runtime.settings import Settings
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    from scheduler.broker.reader import Stop
    from scheduler.runtime.progress import Progress


class ScheduleReader:
    """What there is, and what became of it; holds no connection between calls."""

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, client_id: str = "scheduler-client"
    ) -> None:
        self._settings = settings or Settings.load()
        self._clock = clock or SystemClock()
        self._client_id = client_id
        self._known: dict[str, int] = {}
        self._known_since = 0.0

    def schedules(self, topic: str, *, prefix: str | bytes = b"", progress: Progress | None = None) -> list[Stored]:
        """Every schedule in force, read to the end of the topic as it is now.

        Args:
            topic: one of the schedules topics.
            prefix: only those whose id begins so.
            progress: is told how far the reading is.

        Raises:
            InputError: the topic does not exist.
        """
        start = drafts.as_key(prefix)
        wanted = (lambda key: key.startswith(start)) if start else None
        return in_force(self._settings, topic, self._clock, wanted=wanted, progress=progress)

    def find(self, *keys: str | bytes, topic: str | None = None, progress: Progress | None = None) -> list[Stored]:
        """The schedules in force under these ids, on all schedules topics or on the one that is given.

        Several for one id are a fault of the topic (partitions were added to it, or two clients partition
        differently) or stand on different topics. Nothing is found: an empty list.

        Raises:
            InputError: a topic does not exist.
        """
        wanted = frozenset(map(drafts.as_key, keys))
        return [
            stored
            for each in self._topics(topic)
            for stored in in_force(self._settings, each, self._clock, wanted=wanted.__contains__, progress=progress)
        ]

    def log(
        self, keys: Collection[bytes], topic: str, *, progress: Progress | None = None
    ) -> tuple[list[Stored], list[LogEntry]]:
        """The schedules in force under these keys, and every record of them that the topic still holds.

        Raises:
            InputError: the topic does not exist.
        """
        return log_of(self._settings, topic, self._clock, keys, progress)

    def endings(
        self, keys: Collection[bytes], topic: str, *, progress: Progress | None = None
    ) -> tuple[list[Stored], dict[bytes, int]]:
        """The schedules in force under these keys, and when others of them ended, as far as the topic still tells.

        Raises:
            InputError: the topic does not exist.
        """
        return endings_of(self._settings, topic, self._clock, keys, progress)

    def history(
        self,
        wanted: Filter | None = None,
        *,
        since_ms: int | None = None,
        start: Mapping[int, int] | None = None,
        follow: Stop | None = None,
        progress: Progress | None = None,
    ) -> Generator[HistoryEvent, None, None]:
        """What became of schedules, partition by partition in order.

        Args:
            wanted: which events; None is all.
            since_ms: from this instant on (Unix ms, by the brokers' clock).
            start: from these offsets on, by partition; see `history_ends`.
            follow: go on with what comes until it is set; None stops at the end as it is now.
            progress: is told how far the reading is; not while following.

        Raises:
            InputError: the history topic does not exist.
        """
        fits = wanted or Filter()
        messages = read(
            self._settings,
            self._settings.history_topic,
            self._clock,
            since_ms=since_ms,
            start=start,
            follow=follow,
            progress=progress,
        )
        return (event for event in map(read_event, messages) if fits.wants(event))

    def history_ends(self) -> dict[int, int]:
        """Where the history ends now, by partition: what is told of a change that follows stands there or later."""
        return self.ends(self._settings.history_topic)

    def ends(self, topic: str) -> dict[int, int]:
        """Where a topic ends now, by partition, open transactions included.

        Raises:
            InputError: there is none of that name.
        """
        cluster = Cluster(self._settings, self._client_id)
        try:
            return {each: cluster.high_watermark(topic, each) for each in range(self._partitions(topic))}
        except KafkaException as error:
            raise unavailable(self._settings, error) from error

    def _topics(self, topic: str | None) -> list[str]:
        return self._settings.schedules_topics if topic is None else [topic]

    def _one(self, which: str | bytes | Stored, topic: str | None) -> Stored:
        if isinstance(which, Stored):
            return which
        found = self.find(which, topic=topic)
        return only(drafts.as_key(which), found, self._topics(topic))

    def _partitions(self, topic: str, max_age: float = math.inf) -> int:
        """How many partitions a topic has; asked once, and again after so many seconds.

        Raises:
            InputError: there is none of that name.
        """
        known, asked = self._known, self._clock.monotonic()  # another thread may put others in its place
        if topic not in known or asked - self._known_since > max_age:
            try:
                known = dict(Cluster(self._settings, self._client_id).topics())
            except KafkaException as error:
                raise unavailable(self._settings, error) from error
            self._known, self._known_since = known, asked
            if topic not in known:
                raise InputError(f"the topic {topic} does not exist; create it with: scheduler topics --create")
        return known[topic]


def only(key: bytes, found: Sequence[Stored], topics: Sequence[str]) -> Stored:
    """The one that was found.

    Raises:
        NotFoundError: none was.
        InputError: several were.
    """
    name = display(key)
    if not found:
        raise NotFoundError(not_found(name, topics))
    if len(found) > 1:
        places = ", ".join(f"{each.topic} partition {each.partition}" for each in found)
        raise InputError(f"{name} stands in {len(found)} places: {places}; choose one (--topic, --partition)")
    return found[0]


def not_found(name: str, topics: Sequence[str]) -> str:
    """What to say of a schedule that is not in force."""
    return (
        f"{name}: no such schedule is in force on {', '.join(topics)}; what became of it: "
        f"scheduler history --key {shlex.quote(name)}"
    )
