"""One Kafka node as a process, and the guard that lets no node outlive the process that started it."""

from __future__ import annotations

import socket
import subprocess
from secrets import randbelow
from typing import TYPE_CHECKING

from dev.kafka_distribution import LOGGING, LocalKafkaError

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from pathlib import Path

# Below the range that Linux and macOS give to outgoing connections: a client that keeps dialling a killed
# node could otherwise be given that very port as its own, talk to itself, and keep the node from coming back.
PORTS = range(20_000, 32_000)
LOG_LINES_SHOWN = 15


class Guard:
    """A process group that the kernel's own bookkeeping ends: a shell in it reads a pipe that only we hold.

    When this process is gone, however it went (`kill -9` too), the pipe closes and the shell kills the group.
    Chosen over Linux's PR_SET_PDEATHSIG, which fires when the starting *thread* ends and needs a preexec hook;
    no pid is remembered, so none can be reused for a stranger.
    """

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", "trap '' HUP INT TERM; read -r _; kill -s KILL 0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    @property
    def group(self) -> int:
        """The process group in which to start what must not survive."""
        return self._shell.pid

    def close(self) -> None:
        """Kill whatever is left in the group, frozen or not."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()


class Node:
    """A broker and controller in one JVM, with its folder, its ports and its log."""

    def __init__(self, number: int, folder: Path, port: int, controller_port: int) -> None:
        self.number = number
        self.port = port
        self.controller_port = controller_port
        self.internal_port: int | None = None
        """Where the other brokers reach it; None where they use the clients' port."""
        self.proxy_port: int | None = None
        """What clients are told instead of its port."""
        self.log = folder / "kafka.log"
        self.data = folder / "data"
        self._folder = folder
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def advertised(self) -> str:
        """Where clients are told that it is."""
        return f"127.0.0.1:{self.proxy_port or self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the JVM; None where it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def configure(self, properties: dict[str, str]) -> None:
        """Write `server.properties`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = (f"{name}={value}\n" for name, value in properties.items())
        self._properties.write_text("".join(lines))

    def format(self, java: str, jars: Path, cluster_id: str) -> subprocess.Popen[bytes] | None:
        """Start to format the store, where that was not done before."""
        if (self.data / "meta.properties").exists():
            return None
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_jvm(java, jars, "-Xmx256m", "-XX:TieredStopAtLevel=1"), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, java: str, jars: Path, options: Sequence[str], guard: Guard) -> None:
        """Start the JVM; it answers some seconds later."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_jvm(java, jars, *options), "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                process_group=guard.group,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send the JVM a signal.

        Raises:
            LocalKafkaError: it does not run.
        """
        if self._process is None or self.pid is None:
            raise LocalKafkaError(f"Kafka node {self.number} does not run.")
        self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait for the JVM's end; tell whether it came."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def listens(self) -> bool:
        """Whether something accepts connections on the clients' port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_LINES_SHOWN:]) or "(its log is empty)"


def _jvm(java: str, jars: Path, *options: str) -> list[str]:
    return [java, *options, f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{jars}/*"]


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    for _ in PORTS:
        port = PORTS[randbelow(len(PORTS))]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LocalKafkaError(f"No free port between {PORTS.start} and {PORTS.stop}.")
