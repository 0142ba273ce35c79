"""Workers as processes on a real broker, the jobs that they are sent, and a look at what they write."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from scheduler.clock import Deadline, SystemClock
from scheduler.instants import format_epoch
from scheduler.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from tests.support.broker import Broker, Topics

SECONDS = 40.0
CLOCK = SystemClock()
PARTITIONS = 4
_NO_COORDINATOR = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}

Event = dict[str, Any]


class WorkerProcess:
    """`python -m worker`, or another module that starts one, and the events that it logs."""

    def __init__(self, environment: dict[str, str], *arguments: str, module: str = "worker") -> None:
        self.events: list[Event] = []
        self._new: queue.Queue[Event] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **environment, "LOG_FORMAT": "json"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            assert line.startswith("{"), f"not an event: {line}{self._process.stderr.read()}"
            self._new.put(json.loads(line))

    def wait_for(self, event: str, which: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first such event that was not waited for or passed over yet."""
        deadline = Deadline(CLOCK, SECONDS)
        while True:
            try:
                found = self._new.get(timeout=deadline.remaining())
            except queue.Empty:
                pytest.fail(f"no {event!r} in {SECONDS:.0f} s; the worker said: {self.events}")
            self.events.append(found)
            if found["event"] == event and which(found):
                return found

    def all(self, event: str) -> list[Event]:
        """Every such event so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.events.append(self._new.get_nowait())
        return [found for found in self.events if found["event"] == event]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def end(self) -> None:
        """End it, and with it the jobs that it runs."""
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGINT):  # two of a kind may arrive as one
            self.signal(number)
        try:
            self.ended()
        finally:
            self._process.kill()
            assert self._process.stderr is not None
            self._process.stderr.close()


class Bench:
    """A cluster's topics, workers on them, and a look at what they write."""

    def __init__(self, broker: Broker, topics: Topics, *, partitions: int = PARTITIONS) -> None:
        self._servers = broker.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        self._producer = Producer({"bootstrap.servers": self._servers, "log_level": 0})
        self._numbers = itertools.count(1)
        self._workers: list[WorkerProcess] = []
        self._created: list[str] = []
        self.cluster = topics.create("cluster", partitions=partitions)
        self.schedules = topics.create("schedules")
        self.results = topics.create("results")
        self.dead_letters = topics.create("dead-letters")

    def create(self, name: str) -> str:
        """A topic of exactly that name, with one partition."""
        self._admin.create_topics([NewTopic(name, 1)])[name].result(SECONDS)
        self._created.append(name)
        return name

    def environment(self) -> dict[str, str]:
        """Where the product finds the topics."""
        return {
            "BOOTSTRAP_SERVERS": self._servers,
            "SCHEDULES_TOPICS": self.schedules,
            "RESULTS_TOPIC": self.results,
            "DEAD_LETTER_TOPIC": self.dead_letters,
        }

    def limit_records(self, topic: str, size: int) -> None:
        """Let the broker refuse what is larger on that topic."""
        entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        (altered,) = self._admin.incremental_alter_configs([resource]).values()
        altered.result(SECONDS)

    def worker(self, *arguments: str, cluster: str | None = None, **environment: str) -> WorkerProcess:
        started = WorkerProcess(
            {
                **self.environment(),
                "WORKER_CLUSTER": cluster or self.cluster,
                "WORKER_KILL_GRACE": "1s",
                **environment,
            },
            *arguments,
        )
        self._workers.append(started)
        return started

    def ready_worker(self, *arguments: str, **environment: str) -> WorkerProcess:
        """A worker that has partitions."""
        started = self.worker(*arguments, **environment)
        started.wait_for("partitions assigned")
        return started

    def send(self, command: str, *, partition: int = 0, name: str | None = None, topic: str = "", **more: Any) -> Job:
        """A job as the scheduler would fire it, due now."""
        job = self.put(command, partition=partition, name=name, topic=topic, **more)
        self.flush()
        return job

    def put(
        self,
        command: str | list[str] | None,
        *,
        partition: int = 0,
        name: str | None = None,
        topic: str = "",
        **more: Any,
    ) -> Job:
        """The same, on its way with others until `flush`; without a command where `more` names a handler."""
        name = name or f"job-{next(self._numbers)}"
        job = Job.model_validate({"id": name, "job": name, "cluster": self.cluster, "command": command, **more})
        due_ms = CLOCK.now_ms()
        headers: list[tuple[str, bytes]] = [
            ("scheduler-fire-id", f"{name}@{due_ms}".encode()),
            ("scheduler-epoch", format_epoch(due_ms)),
            ("scheduler-key", name.encode()),
        ]
        self._producer.produce(topic or self.cluster, job.to_json(), b"key", partition=partition, headers=headers)
        return job

    def send_raw(
        self, value: bytes, *, partition: int = 0, headers: list[tuple[str, bytes]] | None = None, topic: str = ""
    ) -> None:
        self._producer.produce(topic or self.cluster, value, b"key", partition=partition, headers=headers or [])
        self.flush()

    def flush(self) -> None:
        """Wait until what was put is acknowledged."""
        assert self._producer.flush(SECONDS) == 0

    def read(self, topic: str, count: int) -> list[Message]:
        """The topic's committed records, once there are that many; to its end, so that more would be seen."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "reads-without-joining",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Message] = []
        deadline = Deadline(CLOCK, SECONDS)
        try:
            while True:
                message = consumer.poll(deadline.remaining())
                if message is None:
                    pytest.fail(f"{topic}: {len(found)} records instead of {count} after {SECONDS:.0f} s")
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    pytest.fail(str(error))
                elif len(found) >= count:
                    return found
        finally:
            consumer.close()

    def read_results(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(message.value() or b"") for message in self.read(self.results, count)]

    def committed(self, partition: int = 0, *, topic: str = "") -> int:
        """The group's offset."""
        topic = topic or self.cluster
        asked = ConsumerGroupTopicPartitions(f"worker-{topic}", [TopicPartition(topic, partition)])
        (answer,) = self._admin.list_consumer_group_offsets([asked]).values()
        return int(answer.result(SECONDS).topic_partitions[0].offset)

    def owned(self) -> list[int]:
        """How many partitions each member of the group has, the fewest first; none while Kafka does not say."""
        (answer,) = self._admin.describe_consumer_groups([f"worker-{self.cluster}"]).values()
        try:
            members = answer.result(SECONDS).members
        except KafkaException as error:
            if error.args[0].code() in _NO_COORDINATOR:
                return []
            raise
        return sorted(len(member.assignment.topic_partitions) for member in members)

    def metadata(self, partition: int = 0) -> bytes:
        """What stands beside the group's offset."""
        asked = ConsumerGroupTopicPartitions(f"worker-{self.cluster}", [TopicPartition(self.cluster, partition)])
        (answer,) = self._admin.list_consumer_group_offsets([asked]).values()
        return (answer.result(SECONDS).topic_partitions[0].metadata or "").encode()

    def dead(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`worker dead`, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "worker", "dead", *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        if self._created:
            for deletion in self._admin.delete_topics(self._created).values():
                deletion.result(SECONDS)
