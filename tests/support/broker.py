"""The broker that a test run uses: the one it is given, or Apache Kafka in Docker, or Apache Kafka from Maven."""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from dev.kafka_distribution import KAFKA_VERSION, LocalKafkaError
from dev.kafka_node import LOG_LINES_SHOWN, free_port
from dev.local_kafka import TEST_DEFAULTS, LocalKafka, wait_until_answers
from scheduler.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
CHOICES = ("docker", "maven")
START_SECONDS = 90.0
PULL_SECONDS = 240
TOPIC_SECONDS = 20.0
TICK_SECONDS = 0.05


class NoBrokerError(Exception):
    """There is no broker to test with; one sentence that says what to install."""


@dataclass(frozen=True)
class Broker:
    """A real Kafka: where it is, and what it is, in words."""

    bootstrap_servers: str
    name: str


@contextmanager
def running_broker(env: Mapping[str, str]) -> Iterator[Broker]:
    """Give the broker that the environment asks for or the machine allows, and end it if it was started here.

    `BOOTSTRAP_SERVERS` names one that runs; else `TEST_BROKER` is `docker` or `maven`, or unset: Docker where
    an engine runs that has or gets the image, Maven otherwise.

    Raises:
        NoBrokerError: there is none, or the given one does not answer.
    """
    choice = env.get("TEST_BROKER", "")
    if choice and choice not in CHOICES:
        raise NoBrokerError(f"TEST_BROKER is {choice!r}; it is docker or maven.")
    try:
        if given := env.get("BOOTSTRAP_SERVERS"):
            _wait(given, lambda: None)
            yield Broker(given, f"given by BOOTSTRAP_SERVERS: {given}")
            return
        refusal = "TEST_BROKER=maven" if choice == "maven" else _docker_refusal()
        if not refusal:
            with _in_docker() as broker:
                yield broker
        elif choice == "docker":
            raise NoBrokerError(f"TEST_BROKER=docker, but {refusal}: start Docker, or unset TEST_BROKER.")
        else:
            with LocalKafka() as kafka:
                where = kafka.bootstrap_servers
                yield Broker(where, f"Apache Kafka {KAFKA_VERSION} from Maven at {where} ({refusal})")
    except LocalKafkaError as error:
        raise NoBrokerError(str(error)) from error


def _wait(bootstrap_servers: str, check: Callable[[], None]) -> None:
    deadline = Deadline(SystemClock(), START_SECONDS)
    wait_until_answers(bootstrap_servers, brokers=set(), deadline=deadline, check=check)


def _docker_refusal() -> str:
    """Say why Docker cannot run the image; empty if it can."""
    if not _docker_says_yes("info"):
        return "no Docker engine answers"
    if _docker_says_yes("image", "inspect", IMAGE) or _docker_says_yes("pull", "--quiet", IMAGE):
        return ""
    return f"Docker cannot get {IMAGE}"


def _docker_says_yes(*command: str) -> bool:
    try:
        run = subprocess.run(["docker", *command], capture_output=True, timeout=PULL_SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


@contextmanager
def _in_docker() -> Iterator[Broker]:
    # Ryuk, testcontainers' own cleaner, is one more image to get, and the registry may be out of reach; this
    # function ends its container itself, so only a killed run (`kill -9`) leaves one behind.
    # The variable must be set when the library is imported.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - see the line above

    # The host's port is chosen before the start, because the broker has to announce it to its clients.
    port = free_port()
    where = f"127.0.0.1:{port}"
    container = DockerContainer(IMAGE).with_envs(**_docker_environment(where))
    container.ports["9092/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]  # Docker's own form, undeclared

    def check() -> None:
        running = container.get_wrapped_container()
        running.reload()
        if running.status == "exited":
            said = running.logs(tail=LOG_LINES_SHOWN).decode(errors="replace")
            raise LocalKafkaError(f"The container of {IMAGE} has ended; it said:\n{said}")

    with container:
        _wait(where, check)
        yield Broker(where, f"{IMAGE} in Docker by testcontainers at {where}")


def _docker_environment(advertised: str) -> dict[str, str]:
    """Return the broker's properties as the image reads them; with any of them set, it takes none of its defaults."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        # The broker asks itself whether a transaction is open before it takes its records, and the host's port
        # cannot be reached from inside: without a listener of its own, every transaction hangs.
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093,INTERNAL://localhost:9094",
        "advertised.listeners": f"PLAINTEXT://{advertised},INTERNAL://localhost:9094",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        **TEST_DEFAULTS,
    }
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in properties.items()}


class Topics:
    """Creates topics under names that nobody else uses, and deletes them at the end."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._clock = SystemClock()
        self._created: list[str] = []

    def create(
        self,
        name: str,
        *,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
        replication_factor: int = -1,
    ) -> str:
        """Create a topic and return its full name, `<name>-<8 hex digits>`, once every partition has a leader.

        Args:
            name: what the topic is for.
            partitions: how many.
            config: topic settings.
            replication_factor: -1 is the broker's default.
        """
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        topic = NewTopic(unique, partitions, replication_factor, config=dict(config or {}))
        self._admin.create_topics([topic])[unique].result(TOPIC_SECONDS)
        self._created.append(unique)
        self._wait_for_leaders(unique, partitions)
        return unique

    def adopt(self, *names: str) -> None:
        """Delete these as well, which somebody else makes."""
        self._created += names

    def delete(self) -> None:
        """Delete every topic created here; one that a test has deleted itself is no error."""
        if not self._created:
            return
        for deletion in self._admin.delete_topics(self._created).values():
            try:
                deletion.result(TOPIC_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        self._created.clear()

    def _wait_for_leaders(self, topic: str, partitions: int) -> None:
        deadline = Deadline(self._clock, TOPIC_SECONDS)
        while not deadline.passed:
            found = self._admin.list_topics(topic, timeout=deadline.remaining()).topics[topic].partitions
            if len(found) == partitions and all(partition.leader >= 0 for partition in found.values()):
                return
        raise TimeoutError(f"The partitions of {topic} have no leaders after {TOPIC_SECONDS:.0f} s.")
