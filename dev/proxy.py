"""A TCP proxy before each broker: it holds up, loses and cuts what clients and brokers say, by client or by kind.

It knows the frame of the Kafka protocol (a length, the number of the request's kind, the client's name) and nothing
else of it.
A request that is held up reaches the broker late, also where the client has given up and connected anew: what
a slow network does, and what a second `EndTxn` of an older transaction comes from.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

START_SECONDS = 10.0
LAST_SECONDS = 0.05
"""For connections that were taken to be known, and for those that were reset to be closed."""


class Api(IntEnum):
    """Kinds of requests, by Kafka's numbers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26


@dataclass
class Weather:
    """How slow the network is; set from any thread, seen by the next request."""

    delay_seconds: float = 0.0
    """Of each request."""
    delay_by_api: dict[Api, float] = field(default_factory=dict)
    """Of requests of a kind; wins over the delay of all."""

    def delay(self, api: int) -> float:
        """How long a request of the kind is held up."""
        return next((seconds for kind, seconds in self.delay_by_api.items() if kind == api), self.delay_seconds)


@dataclass(frozen=True)
class _Hold:
    """What does not get through: of a client (part of its `client.id`) or of all, of some kinds or of all (none)."""

    client: str
    apis: frozenset[int]
    to_broker: bool
    to_client: bool
    links: frozenset[_Link] | None
    """Which connections; None for all, also those to come."""

    def stops(self, link: _Link, api: int, *, to_broker: bool) -> bool:
        held = self.to_broker if to_broker else self.to_client
        return (
            held
            and self.client in link.client
            and (not self.apis or api in self.apis)
            and (self.links is None or link in self.links)
        )


@dataclass(eq=False)
class _Link:
    """A client's connection and the one to the broker behind it."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    client: str = ""
    """Its `client.id`, from its first request on."""
    asked: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and kind of each request that is not answered yet; brokers answer in order."""


class Proxy:
    """Listens on a port of 127.0.0.1 from `start` to `stop`, and passes on to another one."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.weather = Weather()
        self._heard: Counter[tuple[str, int]] = Counter()
        self._seen: Counter[tuple[str, int]] = Counter()
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)
        self._started = threading.Event()
        self._holds: list[_Hold] = []
        self._changed = asyncio.Condition()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        """Of every connection; one that is closed may still hold what nobody has taken from it."""
        self._server: asyncio.Server | None = None

    def hold(
        self,
        *,
        to_broker: bool = True,
        to_client: bool = True,
        client: str = "",
        apis: Collection[Api] = (),
        only_open: bool = False,
    ) -> None:
        """Let nothing through in these directions until `release`; connections stay open, new ones are taken.

        Args:
            to_broker: hold requests.
            to_client: hold answers.
            client: only of clients whose `client.id` has this in it; of all without it.
            apis: only requests of these kinds, or their answers, and what comes behind them on their connections.
            only_open: only on connections that are open now.
        """
        links = frozenset(self._links) if only_open else None
        self._call(self._set([*self._holds, _Hold(client, frozenset(apis), to_broker, to_client, links)]))

    def release(self, *, client: str | None = None) -> None:
        """Let through again what was held of this client, or of all; what was held comes first."""
        self._call(self._set([each for each in self._holds if client is not None and each.client != client]))

    def heard(self, api: Api, client: str = "") -> int:
        """How many requests of the kind have come (of a client), those that are held up included."""
        return _count(self._heard, api, client)

    def seen(self, api: Api, client: str = "") -> int:
        """How many requests of the kind were passed on (of a client)."""
        return _count(self._seen, api, client)

    def cut(self, *, client: str = "", to_broker: bool = True) -> None:
        """Reset every connection (of a client); new ones are taken.

        Args:
            client: only of clients whose `client.id` has this in it.
            to_broker: the side of the broker too. Without it, what was sent and is held up gets there yet, as on a
                network that has lost the way back.
        """
        self._call(self._cut(client, to_broker=to_broker))

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise AssertionError(f"no proxy on port {self.port}")

    def stop(self) -> None:
        """Reset every connection and stop; one that was not started has nothing to stop."""
        if self._thread.is_alive():
            self._call(self._end())
            self._thread.join(START_SECONDS)

    def _call(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.current_task()
        assert accepting is not None  # noqa: S101 - the server has made it
        self._tasks.add(accepting)
        accepting.add_done_callback(self._tasks.discard)
        self._writers.append(writer)
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(writer)  # nobody there: as the broker itself would say
            return
        self._writers.append(broker_writer)
        link = _Link((writer, broker_writer))
        self._links.add(link)
        pumps = [
            self._loop.create_task(self._requests(link, reader, broker_writer)),
            self._loop.create_task(self._answers(link, broker_reader, writer)),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.gather(*pumps)
        finally:
            self._tasks.difference_update(pumps)
            self._links.discard(link)

    async def _requests(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, in order. What was read goes out even if the client is gone by then."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", head)[0])
                api = struct.unpack_from(">h", frame)[0]
                link.client = link.client or _client_id(frame)
                self._heard[link.client, api] += 1
                await asyncio.sleep(self.weather.delay(api))
                await self._let_through(link, api, to_broker=True)
                link.asked.append((struct.unpack_from(">i", frame, 4)[0], api))
                writer.write(head + frame)
                await writer.drain()
                self._seen[link.client, api] += 1
        _close(writer)

    async def _answers(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", head)[0])
                await self._let_through(link, _answered(link, struct.unpack_from(">i", frame)[0]), to_broker=False)
                writer.write(head + frame)
                await writer.drain()
        _close(writer)

    async def _let_through(self, link: _Link, api: int, *, to_broker: bool) -> None:
        if self._holds:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._stopped(link, api, to_broker=to_broker))

    def _stopped(self, link: _Link, api: int, *, to_broker: bool) -> bool:
        return any(hold.stops(link, api, to_broker=to_broker) for hold in self._holds)

    async def _set(self, holds: list[_Hold]) -> None:
        async with self._changed:
            self._holds = holds
            self._changed.notify_all()

    async def _cut(self, client: str, *, to_broker: bool) -> None:
        for link in list(self._links):
            if client in link.client:
                for writer in link.writers if to_broker else link.writers[:1]:
                    _reset(writer)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.sleep(LAST_SECONDS)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            _reset(writer)  # those too that still hold what nobody took from them
        await asyncio.sleep(LAST_SECONDS)
        self._loop.stop()


def _count(counts: Counter[tuple[str, int]], api: Api, client: str) -> int:
    # a copy, because the proxy's thread goes on counting
    return sum(count for (name, kind), count in counts.copy().items() if kind == api and client in name)


def _answered(link: _Link, number: int) -> int:
    """The kind of the request that this answer is for; a request that wants none is passed over."""
    while link.asked:
        asked, api = link.asked.popleft()
        if asked == number:
            return api
    return -1


def _client_id(frame: bytes) -> str:
    """Of a request: kind, version and number take eight bytes, then comes a text with its length, or -1 for none."""
    length = struct.unpack_from(">h", frame, 8)[0]
    return frame[10 : 10 + max(0, length)].decode(errors="replace")


def _close(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, with a reset where the system allows: nothing that is buffered arrives."""
    transport = writer.transport
    if transport is not None:
        transport.abort()
