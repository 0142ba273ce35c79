"""Reads what the auditor judges: the live reader while a run lasts, and every topic to its end afterwards."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from scheduler.clock import Deadline
from tests.support.auditor import Evidence, Hanging, Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from scheduler.clock import Clock

BATCH = 10_000
POLL_SECONDS = 0.1
REQUEST_SECONDS = 10.0
READ_SECONDS = 60.0
SETTLE_SECONDS = 20.0
"""For the markers of the last transactions, and for the broker to abort one that a dead replica has left."""
TICK_SECONDS = 0.1

Bounds = dict[int, int]
"""For each partition, the offset up to which to read."""


class LiveReader:
    """A read_committed reader of one topic from its beginning, on a thread of its own, while the block lasts."""

    def __init__(self, bootstrap_servers: str, topic: str, clock: Clock) -> None:
        self._consumer = _reader(bootstrap_servers, topic)
        self._clock = clock
        self._seen: list[Seen] = []
        self._reached: Bounds = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._main, name="live-reader", daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait_until(self, condition: Callable[[list[Seen]], bool], seconds: float) -> bool:
        """Wait until what was seen so far satisfies the condition; tell whether it does.

        Raises:
            KafkaException: the reader has failed.
        """
        with self._news:
            held = self._news.wait_for(lambda: self._failure is not None or condition(self._seen), seconds)
            if self._failure is not None:
                raise self._failure
            return held

    def read_to(self, ends: Bounds, seconds: float = READ_SECONDS) -> list[Seen]:
        """Everything seen, once the reader has come to the ends or the time is over: the judge will tell."""
        self.wait_until(lambda _: all(self._reached.get(place, 0) >= end for place, end in ends.items()), seconds)
        with self._news:
            return list(self._seen)

    def _main(self) -> None:
        try:
            while not self._stop.is_set():
                messages = _take(self._consumer)
                now_ms = self._clock.now_ms()
                with self._news:
                    for message in messages:
                        if message.error() is None:
                            self._seen.append(_seen(message, now_ms))
                        else:
                            self._reached[message.partition()] = message.offset()
                    self._news.notify_all()
        except Exception as error:  # noqa: BLE001 - raised to whoever waits
            with self._news:
                self._failure = error
                self._news.notify_all()


def gather(
    bootstrap_servers: str, clock: Clock, *, schedules: str, history: str, target: str, live: LiveReader
) -> Evidence:
    """Read the three topics to their ends, when nobody writes any more.

    Raises:
        TimeoutError: a topic could not be read to its end.
        KafkaException: the brokers do not answer.
    """
    ends, hanging = _settled(bootstrap_servers, (schedules, history, target), clock)
    return Evidence(
        schedules,
        target=_read(bootstrap_servers, target, ends[target], clock),
        history=_read(bootstrap_servers, history, ends[history], clock),
        schedules=_read(bootstrap_servers, schedules, ends[schedules], clock),
        live=live.read_to(ends[target]),
        hanging=hanging,
    )


def _settled(bootstrap_servers: str, topics: tuple[str, ...], clock: Clock) -> tuple[dict[str, Bounds], list[Hanging]]:
    """Where each partition ends once no transaction is open; and those where one stays so."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    places = [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in admin.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions
    ]
    deadline, never = Deadline(clock, SETTLE_SECONDS), threading.Event()
    while True:
        high = _ends(admin, places, IsolationLevel.READ_UNCOMMITTED)
        stable = _ends(admin, places, IsolationLevel.READ_COMMITTED)
        hanging = [
            Hanging(place.topic, place.partition, stable[place], high[place])
            for place in places
            if stable[place] != high[place]
        ]
        if not hanging or deadline.passed:
            break
        clock.wait(never, TICK_SECONDS)
    ends: dict[str, Bounds] = {topic: {} for topic in topics}
    for place in places:
        ends[place.topic][place.partition] = stable[place]
    return ends, hanging


def _ends(admin: AdminClient, places: list[TopicPartition], isolation: IsolationLevel) -> dict[TopicPartition, int]:
    """High watermarks where open transactions count, last stable offsets where they do not."""
    answers = admin.list_offsets(
        {place: OffsetSpec.latest() for place in places}, isolation_level=isolation, request_timeout=REQUEST_SECONDS
    )
    return {place: answer.result(REQUEST_SECONDS).offset for place, answer in answers.items()}


def _read(bootstrap_servers: str, topic: str, ends: Bounds, clock: Clock) -> list[Seen]:
    consumer = _reader(bootstrap_servers, topic)
    try:
        found: list[Seen] = []
        left = dict(ends)
        deadline = Deadline(clock, READ_SECONDS)
        while left:
            if deadline.passed:
                raise TimeoutError(f"{topic} was not read to its end in {READ_SECONDS:g} s; left: {left}")
            for message in _take(consumer):
                if message.error() is None:
                    found.append(_seen(message))
                elif message.offset() >= left.get(message.partition(), 0):
                    left.pop(message.partition(), None)
        return found
    finally:
        consumer.close()


def _reader(bootstrap_servers: str, topic: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reads-without-joining",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    partitions = consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    return consumer


def _take(consumer: Consumer) -> list[Message]:
    """Records and ends of partitions, as soon as there are any."""
    first = consumer.poll(POLL_SECONDS)
    messages = [] if first is None else [first, *consumer.consume(BATCH, 0)]
    for message in messages:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
    return messages


def _seen(message: Message, received_ms: int | None = None) -> Seen:
    try:
        headers = message.headers() or []
    except UnicodeDecodeError:
        headers = None
    return Seen(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers,
        received_ms,
    )
