"""Wires the embedded broker, what stands before it, a replica and its clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from scheduler.broker.cluster import Cluster
from scheduler.broker.embedded import EmbeddedBroker
from scheduler.clock import Deadline
from scheduler.engine.life import State
from scheduler.errors import BrokerUnavailableError, ConfigurationError, InputError
from scheduler.mini.api import routes
from scheduler.mini.clock import VirtualClock
from scheduler.mini.front import Front
from scheduler.mini.protocol import LONGEST_HOST
from scheduler.mini.timekeeper import Timekeeper
from scheduler.runtime.settings import Address, Settings
from scheduler.service import Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

HERE = Address("127.0.0.1", 0)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - recognised; listened on where it is asked for
READY_SECONDS = 60.0
"""The embedded broker takes 3 s to form a group; a machine that is busy takes longer."""
TICK_SECONDS = 0.02


class MiniSettings(Settings):
    """Nothing of it comes from the environment: what that says is about a real Kafka, which a test must not reach."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - as pydantic calls it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given."""
        return (init_settings,)


class Mini:
    """A broker, a replica and its clock in this process, from `start` to `close`; nothing outlives them.

    Args:
        listen: where Kafka clients find it; a free port of this machine without it.
        advertised: what clients are told to connect to, where that is another address: of a container, say.
        api: where the API listens.
        topics: made at the start. Others are made when a client first asks for them.
        clock: goes with the machine's time without it.
        anybody: whether other machines may change things through the API.
    """

    def __init__(
        self,
        *,
        listen: Address = HERE,
        advertised: Address | None = None,
        api: Address = HERE,
        topics: Sequence[str] = (),
        clock: VirtualClock | None = None,
        anybody: bool = False,
    ) -> None:
        if advertised is not None and not 0 < len(advertised.host) <= LONGEST_HOST:
            raise InputError(f"--advertise: a host has 1 to {LONGEST_HOST} characters")
        self.clock = clock or VirtualClock()
        self.bootstrap_servers = ""
        """For Kafka clients."""
        self.topics = [*dict.fromkeys(topics)]
        self._listen, self._advertised, self._api = listen, advertised, api
        self._anybody = anybody
        self._broker = EmbeddedBroker()
        self._front: Front | None = None
        self._replica: Scheduler | None = None
        self._timekeeper: Timekeeper | None = None

    def start(self, stop: threading.Event | None = None) -> None:
        """Return once schedules are fired, or `stop` is set.

        Raises:
            ConfigurationError: an address cannot be listened on.
            BrokerUnavailableError: the embedded broker does not come up.
        """
        self._broker.start()
        host, _, port = self._broker.bootstrap_servers.rpartition(":")
        front = self._front = Front(Address(host, int(port)), self.clock.now_ms)
        inside = front.listen(HERE)
        outside = front.listen(self._listen, self._advertised)
        self.bootstrap_servers = f"{outside}"
        settings = MiniSettings.load(
            bootstrap_servers=str(inside),
            server_addr=str(self._api),
            metrics_http_addr="off",
            # its broker shows what was aborted, and its clock may stand still just before something is due
            prepare_ahead=False,
        )
        self.topics = [
            *settings.schedules_topics,
            settings.history_topic,
            settings.dead_letter_topic,
            *(topic for topic in self.topics if topic not in settings.schedules_topics),
        ]
        self._broker.create(self.topics)
        replica = Scheduler(
            settings, clock=self.clock, routers=[routes(lambda: self.timekeeper)], anybody=self._anybody
        )
        self._replica = replica
        self._timekeeper = Timekeeper(self.clock, replica)
        try:
            replica.start()
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("SERVER_ADDR", "--api")) from error
        self._wait(replica, stop or threading.Event())

    def _wait(self, replica: Scheduler, stop: threading.Event) -> None:
        wanted = sum(replica.kafka.partitions(topic) for topic in replica.settings.schedules_topics)
        deadline = Deadline(self.clock, READY_SECONDS)
        while not stop.is_set():
            if replica.failure is not None:
                raise replica.failure
            states = [standing.state for standing in replica.standings().values()]
            if states.count(State.RUNNING) == wanted:
                return
            if deadline.passed:
                raise BrokerUnavailableError(
                    f"the embedded broker has not given the replica its partitions in {READY_SECONDS:g} s: "
                    "start it again, on a machine that has more time"
                )
            self.clock.wait(stop, TICK_SECONDS)

    @property
    def replica(self) -> Scheduler:
        """The replica, once started."""
        if self._replica is None:
            raise RuntimeError("it is not started")
        return self._replica

    @property
    def timekeeper(self) -> Timekeeper:
        """Moves the clock, once started."""
        if self._timekeeper is None:
            raise RuntimeError("it is not started")
        return self._timekeeper

    @property
    def api(self) -> str:
        """Where the API is: `http://127.0.0.1:8000`."""
        host, port = self.replica.api_address or self._api
        return f"http://{Address('127.0.0.1' if host == EVERYWHERE else host, port)}"

    def ends(self) -> dict[tuple[str, int], int]:
        """Where each partition of every topic ends now."""
        cluster = Cluster(self.replica.settings, "scheduler-mini")
        return {
            (topic, partition): cluster.high_watermark(topic, partition)
            for topic, count in cluster.topics().items()
            for partition in range(count)
        }

    def close(self) -> None:
        """Stop everything, and forget it; twice is once."""
        if self._replica is not None:
            self._replica.close()
        if self._front is not None:
            self._front.close()
        self._broker.close()
