"""Reads records again by their offsets: the bodies of schedules that are due before long, or that are asked for.

One thread and one consumer for all partitions of a replica. What is wanted lies close together where schedules were
written in the order of their due times, and is read in one go; over gaps it jumps.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scheduler.clock import Deadline
from scheduler.runtime.logs import fields
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.runtime.kafka import Conf

BATCH = 2_000
POLL_SECONDS = 0.1
JUMP = 5_000
"""Offsets that are not wanted, in a row, over which it jumps: reading them takes as long as a jump's round trip."""
SILENT_SECONDS = 10.0
"""With nothing read for so long, a new consumer tries."""
PAUSE_SECONDS = 1.0

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code

log = logging.getLogger("scheduler.collector")


class Collected(NamedTuple):
    """Some of what was asked for: records, and offsets at which none stands any more."""

    records: Sequence[Message]
    gone: Sequence[int]


class _Asked(NamedTuple):
    topic: str
    partition: int
    offsets: list[int]
    give: Callable[[Collected], None]
    wanted: Callable[[], bool]


class Collector:
    """Used from any thread; begins with the first request.

    Args:
        conf: of its consumer.
        clock: for pauses and deadlines.
        stop: ends it.
    """

    def __init__(self, conf: Conf, clock: Clock, stop: threading.Event) -> None:
        # what it read was committed when it was read first: it need not wait for what others have open
        self._conf = {
            **conf,
            "isolation.level": "read_uncommitted",
            # what is fetched ahead is thrown away at a jump
            "queued.min.messages": 5_000,
            "fetch.message.max.bytes": 256 * 1024,
        }
        self._clock = clock
        self._stop = stop
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        give: Callable[[Collected], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Have records read; `give` is called on its thread, some at a time, until all offsets are accounted for.

        Nothing is lost but the time where Kafka does not answer: it goes on trying as long as it is `wanted`.
        """
        self._asked.put(_Asked(topic, partition, sorted(offsets), give, wanted))
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="collector", daemon=True)
                self._thread.start()

    def read(self, topic: str, partition: int, offsets: Sequence[int], seconds: float) -> list[Message]:
        """The records at these offsets, as far as they are still there and come in time; waits for them."""
        if not offsets:
            return []
        found: list[Message] = []
        left = set(offsets)
        over, deadline = threading.Event(), Deadline(self._clock, seconds)

        def give(come: Collected) -> None:
            found.extend(come.records)
            left.difference_update(come.gone, (message.offset() for message in come.records))
            if not left:
                over.set()

        self.ask(topic, partition, offsets, give, lambda: not deadline.passed)
        self._clock.wait(over, seconds)
        return list(found)

    def close(self) -> None:
        """End the thread; what was asked for and not given is forgotten."""
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join()

    def _main(self) -> None:
        consumer: Consumer | None = None
        try:
            while (asked := self._asked.get()) is not None and not self._stop.is_set():
                left = asked.offsets
                while left and asked.wanted() and not self._stop.is_set():
                    try:
                        consumer = consumer or Consumer(self._conf)
                        left = self._read(consumer, asked._replace(offsets=left))
                    except KafkaException as error:
                        about = fields(topic=asked.topic, partition=asked.partition, detail=error.args[0].str())
                        log.warning("cannot read schedules again, trying on", extra=about)
                        self._clock.wait(self._stop, PAUSE_SECONDS)
                    if left and consumer is not None:
                        consumer.close()
                        consumer = None
                if consumer is not None:
                    consumer.unassign()  # or it would go on fetching
        finally:
            if consumer is not None:
                consumer.close()

    def _read(self, consumer: Consumer, asked: _Asked) -> list[int]:
        """Read on until all is given; the offsets that are left where the broker has fallen silent."""
        left = asked.offsets
        place = TopicPartition(asked.topic, asked.partition, left[0])
        consumer.assign([place])
        silence = Deadline(self._clock, SILENT_SECONDS)
        while left and not silence.passed and not self._stop.is_set():
            messages = poll_batch(consumer, POLL_SECONDS, BATCH)
            if not messages:
                continue
            silence = Deadline(self._clock, SILENT_SECONDS)
            found, left, reached = _sift(messages, left)
            if found.records or found.gone:
                asked.give(found)
            if left and left[0] - reached > JUMP:
                consumer.assign([TopicPartition(asked.topic, asked.partition, left[0])])
        return left


def _sift(messages: Sequence[Message], wanted: list[int]) -> tuple[Collected, list[int], int]:
    """What of the wanted offsets is among the messages, what is not there any more, and what is left."""
    records: list[Message] = []
    found: set[int] = set()
    reached = 0
    for message in messages:
        error = message.error()
        offset = message.offset()
        if error is not None and error.code() != _EOF:
            if error.fatal() or not error.retriable():
                raise KafkaException(error)
            continue
        reached = max(reached, offset)
        at = bisect_left(wanted, offset)
        if error is None and at < len(wanted) and wanted[at] == offset:
            records.append(message)
            found.add(offset)
    last = messages[-1]
    # an end has the offset of the record to come: what was wanted below is gone
    passed = bisect_left(wanted, reached + (last.error() is None))
    gone = [offset for offset in wanted[:passed] if offset not in found]
    return Collected(records, gone), wanted[passed:], reached
