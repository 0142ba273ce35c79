"""A TCP proxy before each broker: it holds up, loses and cuts what clients and brokers say, by kind of request.

It knows the frame of the Kafka protocol (a length, then the number of the request's kind) and nothing else of it.
A request that is held up reaches the broker late, also where the client has given up and connected anew: what
a slow network does, and what a second `EndTxn` of an older transaction comes from.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
START_SECONDS = 10.0
CHUNK = 65_536


class Api(IntEnum):
    """Kinds of requests, by Kafka's numbers."""

    PRODUCE = 0
    FETCH = 1
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


class Proxy:
    """Listens on a port of 127.0.0.1 from `start` to `stop`, and passes on to another one."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.weather = Weather()
        self.seen: dict[int, int] = {}
        """Requests passed on, by kind."""
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)
        self._started = threading.Event()
        self._to_broker, self._to_client = asyncio.Event(), asyncio.Event()
        self._to_broker.set()
        self._to_client.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self, *, to_broker: bool = True, to_client: bool = True) -> None:
        """Let nothing through in these directions until `release`; connections stay open."""
        for held, gate in ((to_broker, self._to_broker), (to_client, self._to_client)):
            if held:
                self._loop.call_soon_threadsafe(gate.clear)

    def release(self) -> None:
        """Let everything through again, what was held first."""
        for gate in (self._to_broker, self._to_client):
            self._loop.call_soon_threadsafe(gate.set)

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._call(self._cut())

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
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(writer)  # nobody there: as the broker itself would say
            return
        self._writers |= {writer, broker_writer}
        pumps = [
            self._loop.create_task(self._requests(reader, broker_writer)),
            self._loop.create_task(self._answers(broker_reader, writer)),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.gather(*pumps)
        finally:
            self._tasks.difference_update(pumps)
            self._writers -= {writer, broker_writer}

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, in order. What was read goes out even if the client is gone by then."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", head)[0])
                api = struct.unpack_from(">h", frame)[0]
                await asyncio.sleep(self.weather.delay(api))
                await self._to_broker.wait()
                self.seen[api] = self.seen.get(api, 0) + 1
                writer.write(head + frame)
                await writer.drain()
        _close(writer)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._to_client.wait()
                writer.write(chunk)
                await writer.drain()
        _close(writer)

    async def _cut(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _end(self) -> None:
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._loop.stop()


def _close(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, with a reset where the system allows: nothing that is buffered arrives."""
    transport = writer.transport
    if transport is not None:
        transport.abort()
