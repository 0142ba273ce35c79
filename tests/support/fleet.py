"""Replicas without Kafka for tests of the API: real engines and requests, whose log is a list."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx

from scheduler.api.app import make_app
from scheduler.api.identity import client_id
from scheduler.archive.archive import Archive
from scheduler.archive.store import Store
from scheduler.archive.tail import Reading
from scheduler.broker.cluster import Member
from scheduler.broker.gateway import Written
from scheduler.broker.requests import Requests
from scheduler.broker.standing import Standing
from scheduler.clock import SystemClock
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Out, Place, records
from scheduler.engine.targets import TargetPolicy
from scheduler.runtime.settings import Address, Settings
from scheduler.schedule import PAUSE_KEY, Outcome
from scheduler.settling import NoLetterError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scheduler.archive.store import Kind
    from scheduler.letters import Action
    from scheduler.records import LogEntry, Write

NOW_MS = 1_800_000_000_000
TOPICS = ("schedules", "retries")


class StandingClock(SystemClock):
    """Its wall time stands still until it is set."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms


class Log:
    """A partition and its owner: what is written is read at once, what is asked is settled at once."""

    def __init__(self, where: tuple[str, int], clock: StandingClock) -> None:
        self.place = Place(*where, "history", "dead-letters")
        self.clock = clock
        self.engine = PartitionEngine()
        self.read_to = 0
        self.requests = Requests(self._settle)
        self.told: list[Out] = []
        """What was written elsewhere: deliveries and history."""
        self.gone = False
        self.engine.fenced(0)
        self.engine.reached_end(0)

    @property
    def standing(self) -> Standing:
        pending = self.engine.pending
        overdue = pending.overdue(self.clock.now_ms())
        return Standing(self.engine.state, len(pending), overdue, pending.next_due_ms(), 0, self.engine.paused, 0.5)

    def append(self, key: bytes, value: bytes | None, headers: list[Any]) -> Written:
        written = Written(self.read_to, self.clock.now_ms())
        self.engine.record(key, value, headers, timestamp_ms=written.timestamp_ms, offset=written.offset)
        self.read_to += 1
        return written

    def fire(self) -> None:
        """Settle what is due."""
        self._settle(due=True)

    def _settle(self, *, due: bool = False) -> None:
        now_ms = self.clock.now_ms()
        batch = self.requests.take(self.engine, now_ms)
        if due:
            batch += self.engine.take(now_ms, 100)
        outs = [out for settlement in batch for out in records(settlement, self.place)]
        self.engine.committed(batch)
        self.requests.committed(batch)
        for out in outs:
            if out.topic == self.place.topic:
                assert out.key is not None
                self.append(out.key, out.value, out.headers)
            else:
                self.told.append(out)
        self.requests.answer(self.engine)

    def outcomes(self) -> list[tuple[bytes | None, str]]:
        """What the history says, in order."""
        said = [(out.key, dict(out.headers)["scheduler-outcome"]) for out in self.told if out.topic == "history"]
        return [(key, Outcome((raw or b"").decode()).value) for key, raw in said]


class Brokers:
    """What the replicas share: the partitions, and who is in the group."""

    def __init__(self, partitions: int = 2) -> None:
        self.clock = StandingClock()
        self.counts = dict.fromkeys(TOPICS, partitions)
        self.logs: dict[tuple[str, int], Log] = {}
        self.group: list[Member] | None = []
        self.clear()

    def clear(self) -> None:
        """Forget every record."""
        self.logs = {
            (topic, number): Log((topic, number), self.clock)
            for topic, count in self.counts.items()
            for number in range(count)
        }

    def members(self) -> list[Member] | None:
        return self.group

    def partitions(self, topic: str) -> int:
        return self.counts[topic]

    def end(self, topic: str, partition: int) -> int:
        return self.logs[topic, partition].read_to

    def append(self, write: Write) -> Written:
        assert write.key is not None
        assert write.partition is not None
        return self.logs[write.topic, write.partition].append(write.key, write.value, write.headers)

    def hold(self, partitions: Mapping[str, int], *, on: bool) -> None:
        for topic, count in partitions.items():
            for number in range(count):
                self.logs[topic, number].append(PAUSE_KEY, b"" if on else None, [])

    def log(self, _topic: str, _partition: int | None, _keys: Collection[bytes]) -> list[LogEntry]:
        return []

    def settle(self, _action: Action, ids: frozenset[str]) -> list[Any]:
        raise NoLetterError(f"{', '.join(sorted(ids))}: no such dead letter")

    def schedule(self, key: bytes, where: tuple[str, int] = ("schedules", 0), **stated: Any) -> Written:
        """A record of a Kafka client; `value` is its payload."""
        value = stated.pop("value", b"payload")
        said = {"target_topic": "orders", "epoch": 1_893_456_000, **stated}
        headers = [
            (f"scheduler-{name.replace('_', '-')}", raw if isinstance(raw, bytes) else str(raw).encode())
            for name, raw in said.items()
        ]
        return self.logs[where].append(key, value, headers)


class StillSource:
    """Everything is read already: the store is what a test puts into it."""

    def look(self) -> None: ...

    def reading(self, kind: Kind) -> Reading:
        return Reading(kind.value, caught_up=True)

    def close(self) -> None: ...


class Replica:
    """A replica that has some of the partitions; `app` is its API, at `address`."""

    def __init__(
        self,
        brokers: Brokers,
        has: list[tuple[str, int]] | None = None,
        *,
        port: int = 8000,
        network: Network | None = None,
        loopback: bool = True,
        host: str = "127.0.0.1",
        **settings: Any,
    ) -> None:
        self.stuck: list[str] = []
        self.settings = Settings(
            bootstrap_servers="kafka:9092", schedules_topics=list(TOPICS), history_topic="past", **settings
        )
        self.kafka = brokers
        self.clock = brokers.clock
        self.policy = TargetPolicy(frozenset(TOPICS), "past", frozenset(self.settings.allowed_targets))
        self.archive = Archive(Store(self.settings.history_cache), StillSource())
        self.joined = True
        self.address = Address(host, port)
        self.client_id = client_id(self.address)
        self.member_id = f"member-{port}"
        self.has = list(brokers.logs) if has is None else has
        if brokers.group is not None:
            brokers.group.append(Member(self.member_id, self.client_id, frozenset(self.has)))
        self.app = make_app(self, self.address, self.address, loopback=loopback, transport=network)
        if network is not None:
            network.apps[str(self.address)] = self.app

    def owners(self) -> Any:
        return {where: self.kafka.logs[where] for where in self.has}

    def read_again(self, where: tuple[str, int], offsets: list[int], seconds: float) -> list[Any]:
        raise AssertionError(f"everything is in memory: {where}, {offsets}, {seconds}")

    def standings(self) -> Any:
        return {where: log.standing for where, log in self.owners().items()}

    def lags(self) -> Any:
        return dict.fromkeys(self.has, 0)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request to its application, without a socket."""

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{self.address}") as client:
                return await client.request(method, path, **request)

        return asyncio.run(answer())


class Network(httpx.AsyncBaseTransport):
    """How replicas reach each other: by address, without a socket."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}
        self.asked: list[SimpleNamespace] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(SimpleNamespace(method=request.method, url=request.url, headers=request.headers))
        app = self.apps.get(f"{request.url.host}:{request.url.port}")
        if app is None:
            raise httpx.ConnectError("nobody listens there", request=request)
        return await httpx.ASGITransport(app).handle_async_request(request)
