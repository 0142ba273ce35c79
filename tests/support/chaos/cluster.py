"""What faults can reach: three brokers behind proxies, the topics of one installation, and its replicas."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from dev.local_kafka import LocalKafka
from scheduler.clock import Deadline, SystemClock
from scheduler.topics import dead_letter_topic, history_topic, schedules_topic
from tests.support.chaos.roles import Roles
from tests.support.processes import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from tests.support.processes import Replica

BROKERS = (1, 2, 3)
HEAP = "320m"
PARTITIONS = 8
TARGET_PARTITIONS = 2
INTERNAL_PARTITIONS = 3  # one for each broker, so that the roles are spread; each is files to create
START_SECONDS = 240.0  # 10 s on an idle machine of two cores; a shared one may be ten times as slow
SECONDS = 150.0
TICK_SECONDS = 0.1
ADMIN_SECONDS = 20.0

DEFECTS = ("partition failed",)
"""Events that no fault of the world explains."""
COMMAND = ("tests.support.chaos.replica",)

clock = SystemClock()
never = threading.Event()


class NotInTimeError(Exception):
    """What has to come by itself after a fault has not come."""


def wait_until(condition: Callable[[], object], what: Callable[[], str], seconds: float = SECONDS) -> None:
    """Return once the condition holds; a cluster that does not answer yet does not hold it.

    Raises:
        NotInTimeError: it does not in time; `what` is asked then.
    """
    deadline = Deadline(clock, seconds)
    while True:
        try:
            if condition():
                return
            failure = ""
        except KafkaException as error:
            failure = f" ({error.args[0].str()})"
        if deadline.passed:
            raise NotInTimeError(f"not within {seconds:g} s: {what()}{failure}")
        clock.wait(never, TICK_SECONDS)


@dataclass(frozen=True)
class Names:
    """Of an installation; on one cluster each run has its own."""

    run: str

    @property
    def schedules(self) -> str:
        """The schedules topic."""
        return f"schedules-{self.run}"

    @property
    def history(self) -> str:
        """The history."""
        return f"history-{self.run}"

    @property
    def dead_letters(self) -> str:
        """What cannot be delivered."""
        return f"dead-letters-{self.run}"

    @property
    def targets(self) -> tuple[str, ...]:
        """Where schedules are fired to."""
        return tuple(f"target-{letter}-{self.run}" for letter in "abc")

    @property
    def topics(self) -> tuple[str, ...]:
        """What the judge wants to see."""
        return (self.schedules, self.history, self.dead_letters, *self.targets)

    @property
    def nowhere(self) -> str:
        """A target that does not exist."""
        return f"nowhere-{self.run}"

    @property
    def group(self) -> str:
        """The replicas'."""
        return f"group-{self.run}"

    @property
    def partitions(self) -> set[str]:
        """Of the schedules topic, as replicas name them."""
        return {f"{self.schedules}/{number}" for number in range(PARTITIONS)}

    def transactional_id(self, partition: int) -> str:
        """Of the owner of a partition."""
        return f"{self.group}-{self.schedules}-{partition}"


@dataclass
class Member:
    """A replica, and where its orders are written."""

    replica: Replica
    orders: Path
    frozen: bool = False
    condemned: bool = False
    """Killed by a fault, or told to end: that it is gone is no finding."""
    defects: int = 0
    """How many it has told that were found."""

    @property
    def name(self) -> str:
        """Of its log."""
        return self.replica.name

    def order(self, **orders: object) -> None:
        """Tell it what to do; see `tests.support.chaos.replica`."""
        self.orders.write_text(json.dumps(orders), encoding="utf-8")
        self.replica.signal(signal.SIGUSR1)


@dataclass
class Fleet:
    """The replicas of the installation, those that are gone too."""

    replicas: Replicas
    folder: Path
    prefix: str
    members: list[Member] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What replicas have done that they must not: end by themselves, or otherwise than told."""

    def start(self) -> Member:
        """Start one more."""
        name = f"{self.prefix}-replica-{len(self.members) + 1}"
        orders = self.folder / f"{name}.orders"
        member = Member(self.replicas.start(name, COMMAND, ORDERS=str(orders)), orders)
        self.members.append(member)
        return member

    @property
    def running(self) -> list[Member]:
        """Those that are neither gone nor frozen."""
        return [member for member in self.members if member.replica.runs and not member.frozen]

    def kill(self, member: Member) -> None:
        """`kill -9`."""
        member.condemned = True
        member.replica.kill()

    def freeze(self, member: Member) -> None:
        """SIGSTOP."""
        member.frozen = True
        member.replica.freeze()

    def thaw(self, member: Member) -> None:
        """SIGCONT."""
        member.frozen = False
        member.replica.thaw()

    def leave(self, *members: Member) -> None:
        """SIGTERM, and wait until they are gone."""
        for member in members:
            member.condemned = True
            member.replica.ask_to_stop()
        for member in members:
            try:
                code = member.replica.exit_code(SECONDS)
            except AssertionError as error:
                self.findings.append(str(error))
                member.replica.kill()
            else:
                if code and not (code == -signal.SIGTERM and not member.replica.events()):
                    # (one that has not said a word yet was still being loaded, and ends as any process does)
                    said = member.replica.last_words()
                    self.findings.append(f"{member.name} ended with {code} when it was told to stop; {said}")

    def partitions(self) -> set[str]:
        """In which somebody fires, by the replicas' own accounts."""
        return set().union(*(member.replica.partitions() for member in self.running))

    def look(self) -> None:
        """Find those that no fault has ended, and what none of them may say, whatever fails."""
        for member in self.members:
            if not member.condemned and not member.replica.runs:
                member.condemned = True  # told once
                self.findings.append(f"{member.name} ended by itself; {member.replica.last_words()}")
            defects = member.replica.events(*DEFECTS)
            self.findings += [f"{member.name}: {defect}" for defect in defects[member.defects :]]
            member.defects = len(defects)

    def stop(self) -> None:
        """Let all of them leave."""
        self.look()
        self.leave(*(member for member in self.members if member.replica.runs))


class Cluster:
    """Three brokers from `with` to its end; one installation on it at a time.

    Args:
        folder: for the logs and orders of replicas.
        compaction_lag_ms: how long the schedules topic keeps what is replaced: longer than any outage.
    """

    def __init__(self, folder: Path, *, compaction_lag_ms: int = 45_000) -> None:
        self._folder = folder
        self._compaction_lag_ms = compaction_lag_ms
        self.kafka = LocalKafka(
            brokers=len(BROKERS),
            heap=HEAP,
            proxied=True,
            start_seconds=START_SECONDS,
            properties={
                "offsets.topic.num.partitions": str(INTERNAL_PARTITIONS),
                "transaction.state.log.num.partitions": str(INTERNAL_PARTITIONS),
            },
        )
        self.names: Names
        self.fleet: Fleet
        self.roles: Roles
        self.admin: AdminClient

    def __enter__(self) -> Self:
        """Start the brokers."""
        self.kafka.start()
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "client.id": "suite"})
        self.roles = Roles(self.admin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self.kafka.stop()

    @property
    def bootstrap_servers(self) -> str:
        """The proxies."""
        return self.kafka.bootstrap_servers

    @contextmanager
    def installed(self, run: str) -> Iterator[None]:
        """Make an installation: empty topics, a fleet without replicas. What runs of it at the end is killed."""
        self.names = Names(run)
        topics = self._topics()
        for created in self.admin.create_topics(topics).values():
            created.result(ADMIN_SECONDS)
        self.wait_until_in_sync()
        with Replicas(self._environment(), self._folder, clock) as replicas:
            self.fleet = Fleet(replicas, self._folder, run)
            yield
        for deleted in self.admin.delete_topics([topic.topic for topic in topics]).values():
            deleted.result(ADMIN_SECONDS)

    def wait_until_in_sync(self, seconds: float = SECONDS) -> None:
        """Return once every partition of any topic has all its replicas in sync."""
        wait_until(
            lambda: not self.roles.out_of_sync(),
            lambda: f"every replica is in sync, not so {self.roles.out_of_sync()}",
            seconds,
        )

    def wait_until_owned(self, seconds: float = SECONDS) -> None:
        """Return once somebody fires in every schedules partition."""
        wait_until(
            lambda: self.fleet.partitions() >= self.names.partitions,
            lambda: f"somebody fires in {sorted(self.names.partitions - self.fleet.partitions())}",
            seconds,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SCHEDULES_TOPICS": self.names.schedules,
            "HISTORY_TOPIC": self.names.history,
            "DEAD_LETTER_TOPIC": self.names.dead_letters,
            "GROUP_ID": self.names.group,
            "TARGET_GRACE": "5000",
        }

    def _topics(self) -> list[NewTopic]:
        names = self.names
        compacted = {
            **schedules_topic(names.schedules).config,
            "segment.ms": "5000",
            "segment.bytes": str(1 << 20),  # the smallest that Kafka takes
            "min.cleanable.dirty.ratio": "0.01",
            "min.compaction.lag.ms": str(self._compaction_lag_ms),
            "max.compaction.lag.ms": str(self._compaction_lag_ms),
            "delete.retention.ms": "300000",  # longer than any restore is held up
        }
        stamped = {"message.timestamp.type": "LogAppendTime"}
        return [
            NewTopic(names.schedules, PARTITIONS, config=compacted),
            NewTopic(names.history, TARGET_PARTITIONS, config=history_topic(names.history).config),
            NewTopic(names.dead_letters, 1, config=dead_letter_topic(names.dead_letters).config),
            *(NewTopic(name, TARGET_PARTITIONS, config=stamped) for name in names.targets),
        ]
