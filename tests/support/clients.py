"""Clients that write by a timetable, steadily, or with a timestamp of their own; and a log that is read as it grows."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

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


class LogReader:
    """Reads the committed records of a topic as they are written, so that none is missed that compaction removes."""

    def __init__(self, installation: Installation, topic: str) -> None:
        conf: dict[str, Any] = {
            "bootstrap.servers": installation.broker,
            "group.id": "reads-without-joining",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
        self._consumer = Consumer(conf)
        partitions = self._consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        self._found: dict[tuple[int, int], Record] = {}
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="log-reader", daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def with_rest(self, rest: Sequence[Record]) -> list[Record]:
        """Everything that was read, and what stands in the log now."""
        if self._failure is not None:
            raise self._failure
        return list({**dict(self._found), **{(each.partition, each.offset): each for each in rest}}.values())

    def _main(self) -> None:
        try:
            while not self._stop.is_set():
                message = self._consumer.poll(0.1)
                if message is None:
                    continue
                if message.error() is not None:
                    raise KafkaException(message.error())
                self._found[message.partition(), message.offset()] = Record.of(message)
        except Exception as error:  # noqa: BLE001 - raised to whoever asks
            self._failure = error
