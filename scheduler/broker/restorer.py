"""A process that restores partitions for a replica: a restore is bound by its interpreter, and this one has its own.

It is told what to read on its standard input and reports on its standard output. It decides nothing: what it passes on
is an engine that has read its log up to somewhere and goes on to restore under an owner, as one of the standby's does.
It ends when its input does, be it that the replica was killed.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from scheduler import __version__
from scheduler.broker.failures import PASSING
from scheduler.broker.feed import feed
from scheduler.clock import Clock, Deadline, SystemClock
from scheduler.engine.partition import PartitionEngine
from scheduler.runtime.interpreter import tune
from scheduler.runtime.kafka import meet
from scheduler.runtime.polling import by_partition, poll_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Key = tuple[str, int]

PROTOCOL = 5
BATCH = 500
"""Records that are taken from the client in one go: they are looked at while the caches have them."""
POLL_SECONDS = 0.1
PROGRESS_SECONDS = 0.5
"""How often it is said how far it is, also where nothing comes."""

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code


class Job(NamedTuple):
    """A partition to be restored."""

    topic: str
    partition: int
    end: int
    """Of its log: so far it is read."""
    horizon_ms: int
    """The bodies of what is due until then are kept."""

    @property
    def key(self) -> Key:
        """Its partition."""
        return self.topic, self.partition


class Far(NamedTuple):
    """How far the job of a partition is."""

    key: Key
    read_to: int
    pending: int


class Progress(NamedTuple):
    """How far all jobs are that are not done."""

    jobs: list[Far]


class Restored(NamedTuple):
    """A job is done, or was asked for as far as it is."""

    job: Job
    read_to: int
    """Every record below this offset is in the engine, and none behind."""
    engine: PartitionEngine


class Failed(NamedTuple):
    """The jobs cannot be done here; nothing more comes."""

    reason: str


Report = Progress | Restored | Failed


class RestoreError(Exception):
    """A log cannot be read here; a sentence that says why."""


class Reading:
    """A job that is being done."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.engine = PartitionEngine()
        self.engine.horizon_ms = job.horizon_ms
        self.read_to = 0
        self._at_end = False
        self._foresees = True

    @property
    def done(self) -> bool:
        """Whether it is: the log has no more, or had no more when the job was given."""
        return self._at_end or self.read_to >= self.job.end

    def hear(self, given: Sequence[Message]) -> None:
        """Take in records, or the end of the partition.

        Raises:
            RestoreError: the log is not what it was.
        """
        first, last = given[0], given[-1]
        if first.offset() < self.read_to:
            raise RestoreError(f"the log was cut: {first.offset()} comes again, and {self.read_to} was read")
        feed(self.engine, given)
        # the end of a partition has the offset of the record to come
        self._at_end = last.error() is not None
        self.read_to = last.offset() + (not self._at_end)
        if self._foresees:
            self._foresees = False
            self.engine.foresee(first.offset(), last.offset(), self.job.end)

    def restored(self) -> Restored:
        """What it has come to."""
        return Restored(self.job, self.read_to, self.engine)


class Restorer:
    """Reads the logs of all its jobs side by side.

    Args:
        consumer: of its own, without partitions.
        topics: of all its jobs.
        report: is told what there is to be told; it may take its time.
        clock: for how often it is told how far it is.
    """

    def __init__(
        self, consumer: Consumer, topics: Sequence[str], report: Callable[[Report], None], clock: Clock
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._report = report
        self._clock = clock
        self._readings: dict[Key, Reading] = {}
        self._said = Deadline(clock, 0.0)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to be done."""
        return not self._readings

    def take(self, jobs: Sequence[Job]) -> None:
        """Do these, too."""
        self._readings |= {job.key: Reading(job) for job in jobs}
        self._consumer.incremental_assign([TopicPartition(*job.key, OFFSET_BEGINNING) for job in jobs])

    def give(self, key: Key) -> None:
        """Pass one on as far as it is; nothing where it was passed on already."""
        reading = self._readings.pop(key, None)
        if reading is not None:
            self._consumer.incremental_unassign([TopicPartition(*key)])
            self._report(reading.restored())

    def read(self) -> None:
        """Read some more.

        Raises:
            RestoreError: a log is no more what it was, or cannot be read.
            KafkaException: the client has failed.
        """
        messages = poll_batch(self._consumer, POLL_SECONDS, BATCH)
        for key, run in by_partition(messages, self._topics):
            given = _sound(run)
            reading = self._readings.get(key)
            if reading is not None and given:
                reading.hear(given)
                if reading.done:
                    self.give(key)
        if self._said.passed:
            far = [Far(key, each.read_to, len(each.engine.pending)) for key, each in self._readings.items()]
            self._report(Progress(far))
            self._said = Deadline(self._clock, PROGRESS_SECONDS)


def _sound(messages: list[Message]) -> list[Message]:
    """Records and ends of partitions.

    Raises:
        RestoreError: there is an error that does not pass.
    """
    errors = [error for message in messages if (error := message.error()) is not None and error.code() != _EOF]
    if not errors:
        return messages
    for error in errors:
        if error.fatal() or error.code() not in PASSING:
            raise RestoreError(error.str())
    return [message for message in messages if (error := message.error()) is None or error.code() == _EOF]


def _listen(orders: IO[bytes], told: SimpleQueue[dict[str, Any]]) -> None:
    for line in orders:
        told.put(json.loads(line))
    os._exit(0)  # nobody wants anything of this process any more, whatever it does just now


def _work(told: SimpleQueue[dict[str, Any]], report: Callable[[Report], None]) -> None:
    about = told.get()
    if about["version"] != __version__:
        raise RestoreError(f"version {__version__} is installed by now, and {about['version']} runs")
    # nobody waits at the end of a log
    consumer = Consumer({**about["conf"], "fetch.wait.max.ms": 1})
    for topic in about["topics"]:
        meet(consumer, topic)  # else the client takes half a second to look again for who leads a partition
    restorer = Restorer(consumer, about["topics"], report, SystemClock())
    while True:
        while restorer.idle or not told.empty():
            order = told.get()
            if "take" in order:
                restorer.take([Job(*job) for job in order["take"]])
            else:
                topic, partition = order["give"]
                restorer.give((topic, partition))
        restorer.read()


def main() -> None:
    """Do what is told, until nothing is told any more."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # they are for the replica; this one ends with it
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever prints does not do so between reports
    tune()
    told: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, told), name="orders", daemon=True).start()

    whole = True  # whether nothing was said by half

    def report(what: Report) -> None:
        nonlocal whole
        whole = False
        pickle.dump(what, out, PROTOCOL)
        out.flush()
        whole = True

    try:
        _work(told, report)
    except Exception as error:  # noqa: BLE001 - whatever it was, the replica reads the logs itself
        if whole:
            report(Failed(str(error) or type(error).__name__))
    finally:
        os._exit(1)  # without a goodbye to the brokers, which know of no member
