"""A real Apache Kafka without Docker: `python -m dev.local_kafka`, or `with LocalKafka() as kafka:`."""

from __future__ import annotations

import base64
import shutil
import signal
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dev.kafka_distribution import KAFKA_VERSION, LocalKafkaError, jars, java
from dev.kafka_node import Guard, Node, free_port
from dev.proxy import Proxy
from scheduler.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FrameType, TracebackType

START_SECONDS = 90.0  # 4 to 6 s on an idle machine of two cores, three brokers 15 s
STOP_SECONDS = 20.0
TICK_SECONDS = 0.1
METADATA_SECONDS = 5.0
REPLICAS = 3  # where there are as many brokers; one may be down
# Few partitions of the internal topics, because each is files to create at the first use of the broker.
TEST_DEFAULTS = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.backoff.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


class LocalKafka:
    """A Kafka cluster of this process: it listens on 127.0.0.1 only and ends with this process.

    Each node is broker and controller at once, so that every role survives the loss of one of three.

    Args:
        data_dir: where to keep the data; None is a temporary folder that `stop` removes.
        port: the first broker's port, the others take the next ones; 0 chooses free ports.
        brokers: 1 or more; with 3, topics have three replicas of which two must be in sync.
        heap: the largest heap of each JVM, as `-Xmx` takes it.
        options: of each JVM, besides.
        properties: broker properties that win over the defaults.
        proxied: whether clients reach each broker through a proxy of this process, which can lose and hold up what
            they say; the brokers speak to each other past it.
        start_seconds: for nodes to answer; then they never will.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        brokers: int = 1,
        heap: str = "1g",
        options: Sequence[str] = (),
        properties: dict[str, str] | None = None,
        proxied: bool = False,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._brokers = brokers
        self._options = (f"-Xmx{heap}", *options)
        self._overrides = properties or {}
        self._proxied = proxied
        self._start_seconds = start_seconds
        self.proxies: dict[int, Proxy] = {}
        """By node id; empty unless asked for."""
        self._clock = SystemClock()
        self._temporary: Path | None = None
        self._guard: Guard | None = None
        self._nodes: dict[int, Node] = {}
        self._java = ""
        self._jars = Path()

    @property
    def bootstrap_servers(self) -> str:
        """The brokers' addresses (or their proxies'), separated by commas."""
        return ",".join(node.advertised for node in self._nodes.values())

    @property
    def pids(self) -> dict[int, int]:
        """The process id of each node that runs, by node id (from 1)."""
        return {number: node.pid for number, node in self._nodes.items() if node.pid is not None}

    def start(self) -> None:
        """Start every node and return when all of them answer.

        Raises:
            LocalKafkaError: Java or Maven is missing, or a node ended or did not answer in time.
        """
        self._java = java()
        self._jars = jars()
        try:
            self._guard = Guard()
            self._prepare()
            self._format()
            for proxy in self.proxies.values():
                proxy.start()
            for node in self._nodes.values():
                node.start(self._java, self._jars, self._options, self._guard)
            self._wait_until_ready(list(self._nodes.values()))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the nodes and remove temporary data; a second call does nothing."""
        if self._guard is not None:
            if self._data_dir is not None:
                self._shut_down()
            self._guard.close()
            self._guard = None
        for node in self._nodes.values():
            node.wait(STOP_SECONDS)
        for proxy in self.proxies.values():
            proxy.stop()
        self.proxies = {}
        if self._temporary is not None:
            shutil.rmtree(self._temporary)
            self._temporary = None

    def kill(self, node: int) -> None:
        """End a node as a crash would (`kill -9`), and return when it is gone."""
        self._nodes[node].signal(signal.SIGKILL)
        self._nodes[node].wait(STOP_SECONDS)

    def end(self, node: int) -> None:
        """Let a node hand over and stop (`SIGTERM`), and return when it is gone.

        Raises:
            LocalKafkaError: it did not stop in time, which a node may not where the others are gone.
        """
        self._nodes[node].signal(signal.SIGTERM)
        if not self._nodes[node].wait(STOP_SECONDS):
            raise LocalKafkaError(f"Kafka node {node} has not stopped in {STOP_SECONDS:.0f} s.")

    def freeze(self, node: int) -> None:
        """Let a node stand still, with its connections open (`SIGSTOP`)."""
        self._nodes[node].signal(signal.SIGSTOP)

    def thaw(self, node: int) -> None:
        """Let a frozen node go on (`SIGCONT`)."""
        self._nodes[node].signal(signal.SIGCONT)

    def restart(self, *nodes: int) -> None:
        """Start nodes again, killing those that run first, and return when all of these answer."""
        if self._guard is None:
            raise LocalKafkaError("Kafka was not started.")
        restarted = [self._nodes[node] for node in nodes]
        for node in restarted:
            if node.pid is not None:
                self.kill(node.number)
            node.start(self._java, self._jars, self._options, self._guard)
        self._wait_until_ready(restarted)

    def check(self) -> None:
        """Raise LocalKafkaError with the end of its log where a node has ended by itself."""
        _check(self._nodes.values())

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def _prepare(self) -> None:
        if self._data_dir is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="local-kafka-"))
        folder = (self._temporary or self._data_dir or Path()).resolve()
        kept = len(list(folder.glob("node-*")))
        if kept not in {0, self._brokers}:
            raise LocalKafkaError(f"{folder} holds a cluster of {kept} brokers, not of {self._brokers}.")
        self._nodes = {
            number: Node(
                number,
                folder / f"node-{number}",
                self._port + number - 1 if self._port else free_port(),
                free_port(),
            )
            for number in range(1, self._brokers + 1)
        }
        if self._proxied:
            for node in self._nodes.values():
                node.internal_port, node.proxy_port = free_port(), free_port()
                self.proxies[node.number] = Proxy(node.proxy_port, node.port)
        voters = ",".join(f"{n.number}@127.0.0.1:{n.controller_port}" for n in self._nodes.values())
        for node in self._nodes.values():
            if node.listens():
                raise LocalKafkaError(f"Something listens on {node.address} already: choose another port.")
            node.configure(_properties(node, voters, self._brokers) | self._overrides)

    def _format(self) -> None:
        # the prefix, because an id that begins with a dash would be taken for an option
        cluster_id = base64.urlsafe_b64encode(b"k" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        runs = [(node, node.format(self._java, self._jars, cluster_id)) for node in self._nodes.values()]
        for node, run in runs:
            if run is not None and run.wait() != 0:
                raise LocalKafkaError(f"Kafka's store cannot be formatted; the log ends:\n{node.last_words()}")

    def _wait_until_ready(self, nodes: list[Node]) -> None:
        deadline = Deadline(self._clock, self._start_seconds)
        for node in nodes:
            while not node.listens():
                if node.wait(TICK_SECONDS):
                    _check([node])
                if deadline.passed:
                    raise LocalKafkaError(
                        f"Kafka node {node.number} has not opened {node.address} in {self._start_seconds:.0f} s;"
                        f" its log ends:\n{node.last_words()}"
                    )
        wait_until_answers(
            self.bootstrap_servers,
            brokers={node.number for node in nodes},
            deadline=deadline,
            check=lambda: _check(nodes),  # another one may be down on purpose
        )

    def _shut_down(self) -> None:
        """Let the nodes close their files; whoever is frozen or slow is left to the guard."""
        running = [node for node in self._nodes.values() if node.pid is not None]
        for node in running:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        deadline = Deadline(self._clock, STOP_SECONDS)
        for node in running:
            node.wait(deadline.remaining())


def _check(nodes: Iterable[Node]) -> None:
    for node in nodes:
        if node.pid is None:
            raise LocalKafkaError(f"Kafka node {node.number} has ended; its log ends:\n{node.last_words()}")


def wait_until_answers(
    bootstrap_servers: str, *, brokers: set[int], deadline: Deadline, check: Callable[[], None]
) -> None:
    """Return when a metadata call answers and lists these broker ids; `check` may raise in between.

    Raises:
        LocalKafkaError: the deadline has passed.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "reconnect.backoff.max.ms": 200, "log_level": 0})
    clock, never = SystemClock(), threading.Event()
    last = "no answer"
    while not deadline.passed:
        check()
        try:
            listed = set(admin.list_topics(timeout=METADATA_SECONDS).brokers)
        except KafkaException as error:
            last = error.args[0].str()
        else:
            if brokers <= listed:
                return
            last = f"only the brokers {sorted(listed)}"
        clock.wait(never, TICK_SECONDS)
    raise LocalKafkaError(f"Kafka at {bootstrap_servers} is not ready in time: {last}.")


def _properties(node: Node, voters: str, brokers: int) -> dict[str, str]:
    internal = f",INTERNAL://127.0.0.1:{node.internal_port}" if node.internal_port else ""
    replicas, in_sync = (REPLICAS, REPLICAS - 1) if brokers >= REPLICAS else (1, 1)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://127.0.0.1:{node.controller_port}{internal}",
        "advertised.listeners": f"PLAINTEXT://{node.advertised}{internal}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL" if internal else "PLAINTEXT",
        "log.dirs": str(node.data),
        "default.replication.factor": str(replicas),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": str(in_sync),
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        **TEST_DEFAULTS,
    }


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--port", default=9092, show_default=True, help="Port of the first broker; 0 chooses a free one.")
@click.option("--brokers", default=1, show_default=True, type=click.IntRange(1, 9), help="How many brokers.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the data in this folder.")
def main(port: int, brokers: int, data: Path | None) -> None:
    """Run a real Apache Kafka in the foreground, on 127.0.0.1 only, until Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    clock, never = SystemClock(), threading.Event()
    try:
        with LocalKafka(data, port=port, brokers=brokers) as kafka:
            kept = f"data in {data}" if data else "data is lost at the end"
            click.echo(f"Apache Kafka {KAFKA_VERSION} at {kafka.bootstrap_servers} ({kept}). Ctrl-C stops it.")
            while True:
                kafka.check()
                clock.wait(never, 1.0)
    except KeyboardInterrupt:
        click.echo("Stopped.")
    except LocalKafkaError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
