"""Reads the ends of the history, results and dead-letter topics into the store, on a thread, while somebody looks."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scheduler.archive.kept import event_row, letter_row, run_row
from scheduler.archive.store import MOST, Kind, Store
from scheduler.backoff import grown
from scheduler.clock import Deadline
from scheduler.letters import Marker
from scheduler.runtime.kafka import consumer_conf
from scheduler.runtime.logs import fields
from scheduler.runtime.polling import gather_batch

if TYPE_CHECKING:
    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings

IDLE_SECONDS = 600.0
"""After the last look it stops, and forgets: nobody looks, nothing is spent."""
BATCH = 500
PACE_SECONDS = 0.02
"""After a full batch: a long topic is read beside the firing, not before it (a batch takes some 10 ms)."""
POLL_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 15.0
"""For a topic that was not there, or has more partitions now."""
REQUEST_SECONDS = 10.0
QUEUE_KILOBYTES = 2048
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code

log = logging.getLogger("scheduler.archive")


@dataclass(frozen=True)
class Reading:
    """How a topic is being read."""

    topic: str
    caught_up: bool = False
    """Whether its end was reached, once."""
    whole: bool = True
    """Whether it is read from its beginning."""
    why: str | None = None
    """Why it is not read."""


class Tail:
    """Any thread may call it."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._topics = {
            settings.history_topic: Kind.EVENT,
            settings.results_topic: Kind.RUN,
            settings.dead_letter_topic: Kind.LETTER,
        }
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._looked = 0.0
        self._left: set[tuple[str, int]] = set()
        self._counts: dict[str, int] = {}
        self._readings: dict[str, Reading] = {}

    def look(self) -> None:
        """Somebody looks: read, if it is not done already."""
        with self._lock:
            self._looked = self._clock.monotonic()
            if self._thread is None and not self._settings.history_cache:
                why = "HISTORY_CACHE is 0: nothing of the past is kept; set it to some megabytes"
                self._readings = {topic: Reading(topic, caught_up=True, why=why) for topic in self._topics}
            elif self._thread is None and not self._stop.is_set():
                self._readings = {topic: Reading(topic) for topic in self._topics}
                self._thread = threading.Thread(target=self._main, name="archive", daemon=True)
                self._thread.start()

    def reading(self, kind: Kind) -> Reading:
        """How the topic of that kind is being read."""
        topic = next(topic for topic, each in self._topics.items() if each is kind)
        return self._readings.get(topic) or Reading(topic)

    def close(self) -> None:
        """Stop for good."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    # -- on its own thread ---------------------------------------------------------------------------

    def _main(self) -> None:
        failures = 0
        while not self._nobody_looks():
            self._store.clear()
            try:
                self._read()
            except KafkaException as error:
                self._failed(error.args[0].str())
                failures += 1
                self._clock.wait(self._stop, grown(1.0, 2.0, 30.0, failures))
            except Exception:
                self._failed("it is a defect of the scheduler; its log has the details")
                log.exception("the archive ended")
                with self._lock:
                    self._thread = None
                raise

    def _nobody_looks(self) -> bool:
        with self._lock:
            if not self._stop.is_set() and self._clock.monotonic() - self._looked < IDLE_SECONDS:
                return False
            # under the lock: a look that comes now starts another thread
            self._thread = None
        self._store.clear()
        return True

    def _failed(self, why: str) -> None:
        self._readings = {topic: Reading(topic, why=why) for topic in self._topics}

    def _read(self) -> None:
        consumer = Consumer(
            {
                **consumer_conf(self._settings, "scheduler-archive", "scheduler-archive"),
                "queued.min.messages": 1000,
                "queued.max.messages.kbytes": QUEUE_KILOBYTES,
                "fetch.message.max.bytes": QUEUE_KILOBYTES * 512,
            }
        )
        try:
            self._counts, self._left = {}, set()
            look_again = Deadline(self._clock, 0.0)
            while not self._stop.is_set() and self._clock.monotonic() - self._looked < IDLE_SECONDS:
                if look_again.passed:
                    self._find_topics(consumer)
                    look_again = Deadline(self._clock, LOOK_AGAIN_SECONDS)
                messages = gather_batch(consumer, POLL_SECONDS, BATCH)
                self._keep(messages)
                if len(messages) == BATCH:
                    self._clock.wait(self._stop, PACE_SECONDS)
        finally:
            consumer.close()

    def _find_topics(self, consumer: Consumer) -> None:
        """Begin with topics and partitions that are not being read yet."""
        for topic, kind in self._topics.items():
            found = consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
            if found.error is not None:
                self._note(topic, caught_up=True, why=found.error.str())
                continue
            known, count = self._counts.get(topic, 0), len(found.partitions)
            if count <= known:
                continue
            new = [self._start(consumer, topic, partition, MOST[kind] // count) for partition in range(known, count)]
            self._left |= {(topic, place.partition) for place in new}
            self._counts[topic] = count
            consumer.incremental_assign(new)
            self._note(topic, caught_up=False)

    def _start(self, consumer: Consumer, topic: str, partition: int, most: int) -> TopicPartition:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_SECONDS)
        start = max(low, high - most)
        if start > low:
            self._note(topic, whole=False)
        return TopicPartition(topic, partition, start)

    def _keep(self, messages: list[Message]) -> None:
        events, runs, letters, marks = [], [], [], []
        for message in messages:
            topic = message.topic()
            if message.error() is not None:
                self._trouble(topic, message)
                continue
            match self._topics[topic]:
                case Kind.EVENT:
                    events.append(event_row(message))
                case Kind.RUN:
                    run = run_row(message)
                    if run is None:
                        log.debug("no result", extra=fields(topic=topic, offset=message.offset()))
                    else:
                        runs.append(run)
                case Kind.LETTER:
                    letter = letter_row(message)
                    if isinstance(letter, Marker):
                        marks.append((letter.letter_id, letter.action, letter.at_ms))
                    else:
                        letters.append(letter)
        self._store.add(Kind.EVENT, events)
        self._store.add(Kind.RUN, runs)
        self._store.add(Kind.LETTER, letters)
        self._store.settle(marks)
        # after what came with it is kept: a reader that is told so finds it
        self._ends(messages)

    def _ends(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None and error.code() == _EOF:
                topic = message.topic()
                self._left.discard((topic, message.partition()))
                if all(each != topic for each, _ in self._left):
                    self._note(topic, caught_up=True)

    def _trouble(self, topic: str | None, message: Message) -> None:
        error = message.error()
        if error.code() == _EOF:
            return
        if topic in self._topics and not error.retriable():
            self._note(topic, caught_up=True, why=error.str())
        elif error.fatal():
            raise KafkaException(error)

    def _note(
        self, topic: str, *, caught_up: bool | None = None, whole: bool | None = None, why: str | None = None
    ) -> None:
        before = self._readings.get(topic) or Reading(topic)
        now = Reading(
            topic,
            before.caught_up if caught_up is None else caught_up,
            before.whole if whole is None else whole,
            why,
        )
        self._readings = {**self._readings, topic: now}
