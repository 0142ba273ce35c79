"""An installation on a real broker: any client's records in, replicas in between, committed records out."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from scheduler.audit.installation import Case, Source, gather
from scheduler.audit.judge import judge
from scheduler.audit.recorder import Recorder
from scheduler.clock import Clock, Deadline, SystemClock
from scheduler.engine.life import State
from scheduler.runtime.settings import Settings
from scheduler.service import Scheduler
from scheduler.topics import history_topic, schedules_topic
from tests.support.records import Header, Put, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.trace import TracerProvider

    from scheduler.audit.verdict import Verdict
    from tests.support.broker import Topics

SECONDS = 30.0
"""After this a test fails; nothing takes so long when all is well."""
TICK_SECONDS = 0.02
JAVA = "murmur2_random"
"""The partitioner of Java's client; librdkafka's own is `consistent_random`."""

clock = SystemClock()


def wait_until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline, never = Deadline(clock, seconds), threading.Event()
    while not condition():
        if deadline.passed:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        clock.wait(never, TICK_SECONDS)


def epoch(instant_ms: int) -> str:
    """Unix seconds with milliseconds, as `scheduler-epoch` takes them."""
    return f"{instant_ms // 1000}.{instant_ms % 1000:03}"


@dataclass(frozen=True)
class Installation:
    """Topics and a group that no other test has."""

    broker: str
    schedules_topics: tuple[str, ...]
    history: str
    dead_letters: str
    target: str
    group_id: str
    partitions: int

    @classmethod
    def make(
        cls,
        broker: str,
        topics: Topics,
        *,
        partitions: int = 1,
        schedules_topics: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> Installation:
        """Create the topics.

        Args:
            broker: its address.
            topics: creates and deletes them.
            partitions: of each schedules topic.
            schedules_topics: how many of them.
            config: settings of the schedules topics that win over the product's.
        """
        kept = {**schedules_topic("").config, **(config or {})}
        names = [topics.create("schedules", partitions=partitions, config=kept) for _ in range(schedules_topics)]
        # stamped by the broker, so that a message's timestamp says when it stood in the log
        stamped = {"message.timestamp.type": "LogAppendTime"}
        return cls(
            broker,
            tuple(names),
            topics.create("history", config=history_topic("").config),
            topics.create("dead-letters"),
            topics.create("target", config=stamped),
            f"group-of-{names[0]}",
            partitions,
        )

    @property
    def schedules(self) -> str:
        """The schedules topic, the first one."""
        return self.schedules_topics[0]

    def environment(self) -> dict[str, str]:
        """Variables of the product's commands."""
        return {
            "BOOTSTRAP_SERVERS": self.broker,
            "SCHEDULES_TOPICS": ",".join(self.schedules_topics),
            "HISTORY_TOPIC": self.history,
            "DEAD_LETTER_TOPIC": self.dead_letters,
            "GROUP_ID": self.group_id,
            "METRICS_HTTP_ADDR": "127.0.0.1:0",
            "SERVER_ADDR": "127.0.0.1:0",
            "TARGET_GRACE": "300",
        }

    def settings(self, **other: Any) -> Settings:
        """The same for a replica in this process, which serves nothing; `other` settings win."""
        given = {name.lower(): value for name, value in self.environment().items()}
        return Settings.load(**{**given, "metrics_http_addr": "off", "server_addr": "off", **other})

    def remake(self) -> None:
        """Delete the schedules topic and make it anew, under the same name."""
        admin = AdminClient({"bootstrap.servers": self.broker, "log_level": 0})
        admin.delete_topics([self.schedules])[self.schedules].result(SECONDS)

        def made() -> bool:
            new = NewTopic(self.schedules, self.partitions, 1, config=schedules_topic("").config)
            return admin.create_topics([new])[self.schedules].exception(SECONDS) is None

        wait_until(made, "the topic is made anew")

    # -- records in ----------------------------------------------------------------------------------

    def schedule(
        self,
        key: bytes,
        value: bytes = b"payload",
        *,
        due_ms: int | None = None,
        topic: str | None = None,
        partition: int | None = None,
        headers: Sequence[Header] = (),
        **stated: bytes | str | int | None,
    ) -> Put:
        """A schedule record; `misfire_grace="5s"` is the header `scheduler-misfire-grace`, None leaves one out."""
        said: dict[str, bytes | str | int | None] = {"epoch": None if due_ms is None else epoch(due_ms)}
        said |= {"target_topic": self.target, **stated}
        own: list[Header] = [
            (f"scheduler-{name.replace('_', '-')}", raw if isinstance(raw, bytes) else str(raw).encode())
            for name, raw in said.items()
            if raw is not None
        ]
        return Put(topic or self.schedules, key, value, [*headers, *own], partition)

    def cancel(self, key: bytes, *, partition: int | None = None) -> Put:
        """A record that cancels."""
        return Put(self.schedules, key, None, [], partition)

    def write(self, *puts: Put, **conf: Any) -> list[Record]:
        """Write the records with a client of this configuration and say where they stand, in the given order."""
        stood: dict[int, Record] = {}

        def report(number: int) -> Callable[[KafkaError | None, Message], None]:
            def delivered(error: KafkaError | None, message: Message) -> None:
                assert error is None, error
                # a delivery report has no headers
                stood[number] = replace(Record.of(message), headers=puts[number].headers)

            return delivered

        producer = Producer({"bootstrap.servers": self.broker, "log_level": 0, "linger.ms": 0, **conf})
        for number, put in enumerate(puts):
            put.to(producer, report(number))
        assert producer.flush(SECONDS) == 0, "the broker has not taken every record"
        return [stood[number] for number in range(len(puts))]

    def transaction(self, transactional_id: str, *puts: Put) -> Producer:
        """A client whose transaction holds the records and is open; they stand in the log, uncommitted."""
        producer = Producer({"bootstrap.servers": self.broker, "log_level": 0, "transactional.id": transactional_id})
        producer.init_transactions(SECONDS)
        producer.begin_transaction()
        for put in puts:
            put.to(producer)
        assert producer.flush(SECONDS) == 0, "the broker has not taken every record"
        return producer

    # -- committed records out -----------------------------------------------------------------------

    def read(self, topic: str) -> list[Record]:
        """Every committed record of the topic, up to its end as it is now."""
        found: list[Record] = []
        with self._reader(topic) as (consumer, partitions):
            left = set(partitions)
            for message in _messages(consumer, topic, SECONDS):
                if message.error() is None:
                    found.append(Record.of(message))
                else:
                    left.discard(message.partition())
                if not left:
                    return found
        raise AssertionError(f"{topic} was not read to its end; read: {found}")

    def wait_for(
        self, topic: str, count: int = 1, *, key: bytes | None = None, seconds: float = SECONDS
    ) -> list[Record]:
        """Every committed record of the topic (of that key), as soon as there are so many."""
        found: list[Record] = []
        with self._reader(topic) as (consumer, _):
            for message in _messages(consumer, topic, seconds):
                if message.error() is None and (key is None or message.key() == key):
                    found.append(Record.of(message))
                if len(found) >= count:
                    return found
        raise AssertionError(f"{topic} has {len(found)} records, expected {count}: {found}")

    def fired(self, *keys: bytes) -> list[Record]:
        """Whatever stands in the target topic as soon as each of the schedules has fired."""
        left = set(keys)
        found: list[Record] = []
        with self._reader(self.target) as (consumer, _):
            for message in _messages(consumer, self.target, SECONDS):
                if message.error() is None:
                    found.append(Record.of(message))
                    left.discard(found[-1]["scheduler-key"] or b"")
                if not left:
                    return found
        raise AssertionError(f"never fired: {sorted(left)}; fired: {found}")

    @contextmanager
    def _reader(self, topic: str) -> Iterator[tuple[Consumer, list[int]]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker,
                "group.id": "reads-without-joining",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # how long the broker waits before it says that there is nothing more
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            partitions = list(consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            yield consumer, partitions
        finally:
            consumer.close()

    # -- what came of it -------------------------------------------------------------------------------

    def recorder(self) -> Recorder:
        """A reader of everything, while the block lasts."""
        topics = (*self.schedules_topics, self.history, self.target)
        return Recorder({"bootstrap.servers": self.broker}, topics, clock)

    def judged(self, written: Sequence[Record], recorder: Recorder | None = None) -> Verdict:
        """What the judge says now; `written` is all that clients have written, as it was acknowledged."""
        conf = {"bootstrap.servers": self.broker}
        source = Source(conf, self.schedules_topics, self.history, self.dead_letters, [self.target])
        return judge(gather(source, clock, Case([each.entry for each in written]), recorder=recorder))

    # -- replicas ------------------------------------------------------------------------------------

    @contextmanager
    def replica(
        self,
        *,
        restored: bool = True,
        clock: Clock = clock,
        tracer_provider: TracerProvider | None = None,
        **settings: Any,
    ) -> Iterator[Scheduler]:
        """A replica in this process; `restored` waits until it fires in every partition."""
        scheduler = Scheduler(self.settings(**settings), clock=clock, tracer_provider=tracer_provider)
        scheduler.start()
        try:
            if restored:
                self.wait_until_restored(scheduler)
            yield scheduler
        finally:
            scheduler.close()
        assert scheduler.failure is None

    def wait_until_restored(self, scheduler: Scheduler) -> None:
        """Return once the replica fires in every partition of the schedules topics."""
        count = self.partitions * len(self.schedules_topics)
        wait_until(
            lambda: [each.state for each in scheduler.standings().values()] == [State.RUNNING] * count,
            f"{count} partitions are restored",
        )


def wait_until_pending(scheduler: Scheduler, count: int) -> None:
    """Return once the replica has so many schedules in force."""
    wait_until(
        lambda: sum(each.pending for each in scheduler.standings().values()) == count, f"{count} schedules are pending"
    )


def starts(replica: Scheduler) -> dict[str, int]:
    """How its partitions were restored, and how many in each way."""
    kinds = ("cold", "warm", "rejected", "standby")
    found = {kind: replica.registry.get_sample_value("scheduler_restores_total", {"kind": kind}) for kind in kinds}
    return {kind: int(count) for kind, count in found.items() if count}


def in_force(replica: Scheduler) -> list[tuple[int, int]]:
    """Due time and offset of all that is pending, by partition."""
    return [
        (version.due_ms, version.offset)
        for _, owner in sorted(replica.owners().items())
        for version in owner.engine.page(-1, 10_000)
    ]


def _messages(consumer: Consumer, topic: str, seconds: float) -> Iterator[Message]:
    """Records and ends of partitions, until the time is over."""
    deadline = Deadline(clock, seconds)
    while not deadline.passed:
        message = consumer.poll(deadline.remaining())
        if message is None:
            continue
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(f"{topic}: {error}")
        yield message
