"""The worker itself: a poll loop that never waits for a job, and hands over without losing one.

Polling goes on while jobs run, so that a job may take longer than `max.poll.interval.ms`; partitions with enough
under way are paused. A partition that is revoked gets its running jobs drained first; one that is lost has them killed
at once, because another worker may be making the same attempt already.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from scheduler.clock import Deadline
from scheduler.runtime.kafka import consumer_conf, unavailable
from scheduler.runtime.logs import fields
from scheduler.runtime.polling import poll_batch
from worker.bookkeeping import Bookkeeper
from worker.command_jobs import CommandJobs
from worker.commands import Commands
from worker.connections import ledger_opener
from worker.execution import Patience
from worker.handlers import HandlerJobs
from worker.partitions import Key, Partition
from worker.runner import Runner
from worker.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings
    from worker.metrics import Metrics
    from worker.options import Options
    from worker.registry import Registry
    from worker.runner import Performer
    from worker.runs import Run

log = logging.getLogger("worker")

POLL_SECONDS = 0.05
BUSY_POLL_SECONDS = 0.005
"""While something runs: its end, or its beginning, waits so long to be put into the books."""
DRAIN_POLL_SECONDS = 0.02
BATCH = 250
"""Messages taken in before the books are tended again."""
BOOKS_SECONDS = 10.0
"""How long a leaving worker tries to put what has ended into the books."""
UNBOOKED_BYTES = 64 * 2**20
"""With more that is not in the books, because Kafka is away or slow, nothing is begun: each run says up to 64 KiB."""
DEFAULT_MAX_POLL_MS = 300_000


class Worker:
    """Consumes one topic until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        *,
        clock: Clock,
        metrics: Metrics,
        registry: Registry | None = None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._closed = False
        self._owned: dict[Key, Partition] = {}
        self._group_metadata = b""
        self._last_error: str | None = None
        self._came_round = clock.monotonic()
        self._performer: Performer
        if registry is None:
            self._performer = CommandJobs(Commands(clock, self._cannot_run, Patience(grace=options.grace_seconds)))
        else:
            self._performer = HandlerJobs(registry, options.slots, self._cannot_run)
        self._slots = Slots(options.slots, Runner(self._performer, clock=clock, metrics=metrics))
        metrics.running.set_function(self._slots.running)
        metrics.waiting.set_function(self._slots.waiting)
        metrics.oldest_waiting_seconds.set_function(self._oldest_waiting_seconds)
        conf = {
            **consumer_conf(settings, f"worker-{self._name}", options.group),
            # jobs are few and what is fetched waits in the broker just as well
            "queued.min.messages": 1000,
            "queued.max.messages.kbytes": 8192,
            "enable.partition.eof": False,
            # a topic that does not exist yet is found this long after it came into being
            "topic.metadata.refresh.interval.ms": 2000,
        }
        # while a revocation drains nothing polls: leave the group time for the rest of it
        self._revoke_seconds = min(
            options.drain_seconds, int(conf.get("max.poll.interval.ms", DEFAULT_MAX_POLL_MS)) / 1000 / 3
        )
        self._consumer = Consumer(conf)
        self._bookkeeper = Bookkeeper(
            ledger_opener(settings, options, self._name, clock), metrics, clock, self._slots.go
        )

    def stop(self) -> None:
        """Ask for the end: the first time running jobs are drained, the second time they are killed."""
        (self._hurried if self._stopping.is_set() else self._stopping).set()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            BrokerUnavailableError: an error that no waiting mends.
        """
        options = self._options
        self._consumer.subscribe([options.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        about = fields(topic=options.topic, group=options.group, slots=options.slots, worker=self._name)
        log.info("worker started", extra=about)
        try:
            while not self._stopping.is_set():
                self._receive(BUSY_POLL_SECONDS if self._slots.running() else POLL_SECONDS)
                self._tend()
            self._leave()
        finally:
            self.close()
        log.info("worker stopped", extra=about)

    def close(self) -> None:
        """Kill what runs, and let go of the group."""
        self._closed = True
        self._slots.close()
        self._performer.close()
        self._bookkeeper.close()
        self._consumer.close()

    def idle_seconds(self) -> float:
        """How long ago the poll loop last came round."""
        return self._clock.monotonic() - self._came_round

    def _oldest_waiting_seconds(self) -> float:
        due_ms = self._slots.oldest_due_ms()
        return 0.0 if due_ms is None else max(0, self._clock.now_ms() - due_ms) / 1000

    def _receive(self, seconds: float) -> None:
        messages = poll_batch(self._consumer, seconds, BATCH)
        if not messages:
            return
        runs = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._tell(error)
            elif not self._stopping.is_set() and (run := self._take_in(message)) is not None:
                runs.append(run)
        self._slots.add(runs)

    def _take_in(self, message: Message) -> Run | None:
        self._last_error = None
        partition = self._owned.get((message.topic() or "", message.partition() or 0))
        # a message of a partition that was revoked in this very poll belongs to the next owner
        return None if partition is None else partition.receive(message, lambda: self._end_of(message))

    def _end_of(self, message: Message) -> int:
        """Where its partition's end was when it was fetched."""
        place = TopicPartition(message.topic() or "", message.partition() or 0)
        _, end = self._consumer.get_watermark_offsets(place, cached=True)
        return int(end)

    def _cannot_run(self, error: BaseException) -> None:
        self._slots.fail(error)

    def _tell(self, error: KafkaError) -> None:
        if error.fatal():
            raise unavailable(self._settings, error)
        if error.name() == self._last_error:
            return
        self._last_error = error.name()
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            create = "scheduler topics --create"
            if self._options.cluster not in self._settings.clusters:  # a slip of the pen, perhaps
                create = f"CLUSTERS={','.join([*self._settings.clusters, self._options.cluster])} {create}"
            log.warning("waiting for the topic", extra=fields(topic=self._options.topic, create_it_with=create))
        else:
            log.warning("consumer error", extra=fields(error=error.str(), name=error.name()))

    def _tend(self, seconds: float = 0.0, *, leaving: bool = False) -> None:
        self._came_round = self._clock.monotonic()
        for finished in self._slots.ended(seconds):
            source = finished.run.source
            partition = self._owned.get((source.topic, source.partition))
            if partition is not None and partition.has(finished.run):
                partition.ended(finished)
        for run in self._slots.to_note():
            partition = self._owned.get((run.source.topic, run.source.partition))
            if partition is not None and partition.has(run):
                partition.note(run)
        self._bookkeeper.tend(self._owned, self._group_metadata)
        self._slots.hold(sum(partition.unbooked_bytes for partition in self._owned.values()) > UNBOOKED_BYTES)
        for key, partition in () if leaving else self._owned.items():  # who leaves takes nothing more in
            if partition.wants_pause() != partition.paused:
                self._turn(key, partition)

    def _turn(self, key: Key, partition: Partition) -> None:
        """Pause what runs, let what is paused run: at first from where the group stands."""
        if not partition.paused:
            self._consumer.pause([TopicPartition(*key)])
        else:
            if partition.start is not None:
                try:
                    self._consumer.seek(TopicPartition(*key, partition.start))
                except KafkaException as error:
                    if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - librdkafka's name
                        raise
                    return  # the assignment is still on its way: once more, next time
                partition.start = None
            self._consumer.resume([TopicPartition(*key)])
        partition.paused = not partition.paused

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closed:
            return  # while the client closes, what it is asked may fail, and it ends the process with a SystemError
        # also called without a new partition, after each rebalance: the generation is another one then
        self._group_metadata = bytes(consumer.consumer_group_metadata())
        if not partitions:
            return
        # with an offset, so that the client does not ask for the committed one, for ever where it is unstable
        consumer.incremental_assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions])
        consumer.pause(partitions)
        for partition in partitions:
            key = (partition.topic, partition.partition)
            self._owned[key] = Partition(self._options.cluster, self._performer.accept, self._clock)
        log.info("partitions assigned", extra=fields(partitions=_numbers(partitions)))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions revoked", extra=fields(partitions=_numbers(partitions)))
        if self._closed:
            self._part_with(partitions)
            return  # nobody is left to keep the books, and the client gives them back by itself
        # the group's new generation already; these partitions are this member's until the callback returns
        self._group_metadata = bytes(consumer.consumer_group_metadata())
        of_these = _of(partitions)
        self._slots.forget(of_these)
        leaving = [self._owned[key] for p in partitions if (key := (p.topic, p.partition)) in self._owned]
        self._drain(of_these, leaving, 0 if self._hurried.is_set() else self._revoke_seconds)
        self._part_with(partitions)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("partitions lost", extra=fields(partitions=_numbers(partitions)))
        self._group_metadata = b""
        of_these = _of(partitions)
        self._slots.forget(of_these)
        self._slots.stop(of_these)
        self._part_with(partitions)
        if not self._closed:
            consumer.incremental_unassign(partitions)

    def _part_with(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._owned.pop((partition.topic, partition.partition), None)

    def _leave(self) -> None:
        """Drain while still polling, so that the partitions stay this worker's."""
        self._slots.forget(_any)
        running = self._slots.running()
        log.info("worker stopping", extra=fields(running=running, drain_seconds=self._options.drain_seconds))
        drain_seconds = self._options.drain_seconds
        self._drain(_any, list(self._owned.values()), drain_seconds, meanwhile=lambda: self._receive(0))

    def _drain(
        self,
        which: Callable[[Run], bool],
        leaving: Iterable[Partition],
        seconds: float,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Let the runs end; stop those that do not; put into the books what has ended, and that the owner leaves."""

        def tend_until(satisfied: Callable[[], bool], seconds: float, *, hurried: bool = True) -> None:
            deadline = Deadline(self._clock, seconds)
            while not satisfied() and not deadline.passed and not (hurried and self._hurried.is_set()):
                meanwhile()
                self._tend(DRAIN_POLL_SECONDS, leaving=True)

        tend_until(lambda: not self._slots.running(which), seconds)
        self._slots.stop(which)
        tend_until(lambda: not self._slots.running(which), self._options.grace_seconds + BOOKS_SECONDS, hurried=False)
        self._tend(leaving=True)
        tend_until(self._all_booked, BOOKS_SECONDS, hurried=False)
        for partition in leaving:
            partition.leave()
        tend_until(self._all_booked, BOOKS_SECONDS, hurried=False)

    def _all_booked(self) -> bool:
        return not self._bookkeeper.busy and not any(partition.has_news for partition in self._owned.values())


def _any(_: Run) -> bool:
    return True


def _of(partitions: list[TopicPartition]) -> Callable[[Run], bool]:
    keys = {(partition.topic, partition.partition) for partition in partitions}
    return lambda run: (run.source.topic, run.source.partition) in keys


def _numbers(partitions: list[TopicPartition]) -> str:
    return ",".join(str(partition.partition) for partition in partitions)
