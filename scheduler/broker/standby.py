"""Follows the partitions of the other replicas, so that this one need not restore what it takes over.

One thread and one consumer, which is no member of the group. It reads what is committed and has an engine for each
partition restore from it: no more, so that an owner goes on from there as from a restore that has taken long. Wherever
it is not sure that this comes to the same, it is dropped and followed afresh.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scheduler.broker.bodies import AHEAD_MS
from scheduler.broker.failures import PASSING
from scheduler.broker.feed import read
from scheduler.runtime.exhaustion import exhausted
from scheduler.runtime.logs import fields
from scheduler.runtime.polling import by_partition, poll_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from scheduler.broker.cluster import Cluster
    from scheduler.broker.followed import Followed
    from scheduler.broker.roster import Roster
    from scheduler.clock import Clock
    from scheduler.runtime.kafka import Conf
    from scheduler.runtime.watchdog import Watchdog

    Key = tuple[str, int]

BATCH = 500
"""Records that are taken from the client in one go: while they are, nothing here fires."""
PAUSE_SECONDS = 0.2
"""Between two looks at what came, where it is caught up: an owner reads the rest in milliseconds."""
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 10.0
ROUND_SECONDS = 10.0

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code

log = logging.getLogger("scheduler.standby")


class Standby:
    """Runs on a thread of its own, which alone touches the consumer.

    Args:
        conf: of a consumer.
        roster: knows what is to be followed, and is told what was read.
        cluster: that of the schedules.
        clock: for pauses.
        watchdog: knows of calls that do not return.
        report: is told how many partitions are followed and caught up, and how many schedules are pending in them.
        caught_up: is called whenever all that there is to follow is caught up with.
        stop: ends it.
    """

    def __init__(
        self,
        conf: Conf,
        roster: Roster,
        cluster: Cluster,
        clock: Clock,
        watchdog: Watchdog,
        report: Callable[[int, int], None],
        caught_up: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._conf = {
            **conf,
            # where the log no longer has what comes next, nobody is to go on elsewhere unasked
            "auto.offset.reset": "error",
            "queued.min.messages": 5_000,
            "fetch.wait.max.ms": 500,
        }
        self._roster = roster
        self._cluster = cluster
        self._clock = clock
        self._watchdog = watchdog
        self._report = report
        self._caught_up = caught_up
        self._stop = stop
        self._assigned: dict[Key, Followed] = {}
        """As the consumer was told."""
        self._told: tuple[int, int] | None = None
        self._is_ready = False
        self._thread = threading.Thread(target=self._main, name="standby", daemon=True)

    def start(self) -> None:
        """Follow what there is."""
        self._thread.start()

    def join(self) -> None:
        """Return when it has stopped."""
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def _main(self) -> None:
        consumer: Consumer | None = None
        try:
            while not self._stop.is_set():
                try:
                    if self._cluster.embedded:
                        log.warning("STANDBY has no effect with the embedded broker, which has one replica")
                        return
                    self._roster.look_around()
                    consumer = consumer or Consumer(self._conf)
                    self._clock.wait(self._stop, self._round(consumer))
                except KafkaException as error:
                    log.warning("the standby cannot read, trying on", extra=fields(detail=error.args[0].str()))
                    self._close(consumer)
                    consumer = None
                    self._clock.wait(self._stop, RETRY_SECONDS)
        except Exception as error:
            if isinstance(error, MemoryError):
                exhausted()
            # a defect: whoever takes over does so from the log
            log.exception("the standby has ended")
        finally:
            self._roster.clear()
            self._report(0, 0)
            self._close(consumer)

    def _close(self, consumer: Consumer | None) -> None:
        self._assigned = {}
        if consumer is not None:
            with self._watchdog.call("consumer.close", CLOSE_SECONDS):
                consumer.close()

    def _round(self, consumer: Consumer) -> float:
        """Read what there is, some of it; how long to wait before the next time."""
        self._assign(consumer)
        started = self._clock.monotonic()
        with self._watchdog.call("consumer.poll", ROUND_SECONDS, what="standby"):
            messages = poll_batch(consumer, 0, BATCH)
        self._hear(messages)
        self._tell()
        if len(messages) < BATCH:
            return PAUSE_SECONDS
        # whatever fires here has the interpreter for half of the time at least
        return self._clock.monotonic() - started

    def _assign(self, consumer: Consumer) -> None:
        followed = self._roster.followed()
        gone = [key for key, each in self._assigned.items() if followed.get(key) is not each]
        if gone:
            consumer.incremental_unassign([TopicPartition(*key) for key in gone])
        new = [key for key, each in followed.items() if self._assigned.get(key) is not each]
        if new:
            consumer.incremental_assign([TopicPartition(*key, followed[key].offset) for key in new])
        self._assigned = followed

    def _hear(self, messages: Sequence[Message]) -> None:
        # what is due later, or was stated long before, comes near when an owner looks ahead
        horizon_ms = self._clock.now_ms() + AHEAD_MS
        for key, given in by_partition(messages):
            errors = [error for message in given if (error := message.error()) is not None and error.code() != _EOF]
            followed = self._assigned.get(key)
            if errors:
                self._failed(key, errors[0])
            elif followed is not None:
                self._roster.hear(key, followed, given, list(read(given, horizon_ms)))

    def _failed(self, key: tuple[str | None, int | None], error: KafkaError) -> None:
        """What concerns a partition, or a topic, ends the following of it: it may be another log by now."""
        if error.fatal():
            raise KafkaException(error)
        if error.code() in PASSING:
            return
        topic, partition = key
        concerned = [each for each in self._assigned if each[0] == topic and partition in (None, -1, each[1])]
        for each in concerned:
            self._roster.drop(each, error.str())
        if concerned:
            raise KafkaException(error)  # a new client has no old knowledge of a topic; it reads the others on
        log.warning("consumer", extra=fields(what="standby", topic=topic, detail=error.str()))

    def _tell(self) -> None:
        partitions, schedules, is_ready = self._roster.sums()
        if (partitions, schedules) != self._told:
            self._told = partitions, schedules
            self._report(partitions, schedules)
        if is_ready and not self._is_ready:
            log.info("stands by", extra=fields(partitions=partitions, schedules=schedules))
            self._caught_up()
        self._is_ready = is_ready
