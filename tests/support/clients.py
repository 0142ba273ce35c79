"""Clients that write by a timetable, steadily, or with a timestamp of their own; and a log that is read as it grows."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Producer

from tests.support.records import Put, Record
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from confluent_kafka import KafkaError, Message

    from tests.support.schedules import Installation


class Entry(NamedTuple):
    """A line of a timetable: when to write what, and which client does."""

    at_ms: int
    put: Put
    client: str
    """Its partitioner."""


def write_by_timetable(broker: str, entries: Sequence[Entry]) -> list[Record]:
    """Write each record when its time has come and say where they stand, in order of time.

    A machine that is busy is late; nothing that is judged afterwards may depend on the times.
    """
    stood: dict[int, Record] = {}
    producers = {
        name: Producer({"bootstrap.servers": broker, "log_level": 0, "linger.ms": 0, "partitioner": name})
        for name in {entry.client for entry in entries}
    }
    for producer in producers.values():
        producer.list_topics(timeout=SECONDS)  # or its first record waits for the leaders
    ordered, never = sorted(entries, key=lambda entry: entry.at_ms), threading.Event()
    for number, entry in enumerate(ordered):
        clock.wait(never, max(0.0, clock.seconds_until(entry.at_ms)))
        producer = producers[entry.client]
        entry.put.to(producer, _noted(stood, number, entry.put))
        producer.poll(0)
    for producer in producers.values():
        assert producer.flush(SECONDS) == 0, "the broker has not taken every record"
    return [stood[number] for number in range(len(ordered))]


def _noted(stood: dict[int, Record], number: int, put: Put) -> Callable[[KafkaError | None, Message], None]:
    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        stood[number] = replace(Record.of(message), headers=put.headers)  # a delivery report has no headers

    return delivered


@dataclass(frozen=True)
class StampedPut(Put):
    """A record whose Kafka timestamp the client states, right or wrong."""

    timestamp_ms: int = 0

    def to(self, producer: Producer, delivered: Callable[[KafkaError | None, Message], None] | None = None) -> None:
        """Hand the record to a client."""
        place = {} if self.partition is None else {"partition": self.partition}
        producer.produce(
            self.topic,
            self.value,
            self.key,
            headers=self.headers,
            timestamp=self.timestamp_ms,
            on_delivery=delivered,
            **place,
        )


@contextmanager
def steady_writer(installation: Installation, make: Callable[[int], Put], *, a_second: int) -> Iterator[list[Record]]:
    """A client that writes so many records a second until the block ends; yields those that were acknowledged.

    The block begins once it has got under way.
    """
    stood: dict[int, Record] = {}
    written: list[Record] = []
    stop = threading.Event()
    producer = Producer({"bootstrap.servers": installation.broker, "log_level": 0, "linger.ms": 1})

    def main() -> None:
        number, started = 0, clock.monotonic()
        while not stop.is_set():
            behind = int((clock.monotonic() - started) * a_second) - number
            for _ in range(min(behind, a_second // 10)):
                put = make(number)
                put.to(producer, _noted(stood, number, put))
                number += 1
            producer.poll(0)
            clock.wait(stop, 0.001)

    thread = threading.Thread(target=main, name="steady-writer", daemon=True)
    thread.start()
    try:
        wait_until(lambda: len(stood) > a_second // 10, "the steady writer writes")
        yield written
    finally:
        stop.set()
        thread.join(SECONDS)
        left = producer.flush(SECONDS)
        written.extend(stood[number] for number in sorted(stood))
    assert left == 0, "the broker has not taken every record"
