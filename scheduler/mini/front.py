"""Stands before the embedded broker: listens where it is told to, and passes on what clients and broker say.

The embedded broker chooses its port and says in its answers that it is at 127.0.0.1. With this before it, it is where
its clients can reach it, and its records are stamped by the virtual clock.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from scheduler.errors import ConfigurationError
from scheduler.mini.protocol import Request, on_its_way, on_its_way_back
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

LARGEST_FRAME = 200_000_000
"""Twice the largest record that the product's own clients would send; a client of another protocol says more."""

T = TypeVar("T")

TURNS = 5
"""Of the loop, after which nothing is left: a connection that was accepted a moment ago is known three turns later, and
a socket is closed one turn after it was told to."""

log = logging.getLogger("scheduler.mini")


class Front:
    """Runs on a thread of its own, from its construction until `close`.

    Args:
        broker: where the embedded broker is.
        now_ms: how records are stamped.
    """

    def __init__(self, broker: Address, now_ms: Callable[[], int]) -> None:
        self._broker = broker
        self._now_ms = now_ms
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="front", daemon=True)
        self._thread.start()

    def listen(self, address: Address, shown: Address | None = None) -> Address:
        """Take connections; the address at which its clients are told to find it.

        Args:
            address: where to listen; port 0 lets the system choose one.
            shown: what its clients are told; the address itself without it.

        Raises:
            ConfigurationError: it cannot be listened on.
        """
        try:
            return self._await(self._listen(address, shown))
        except OSError as error:
            raise ConfigurationError(
                f"--port: cannot listen on {address.host}:{address.port}: {error.strerror or error}; "
                "choose another, or 0 for a free one"
            ) from error

    def close(self) -> None:
        """Stop listening and drop every connection; twice is once."""
        if self._loop.is_closed():
            return
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, address: Address, shown: Address | None) -> Address:
        told = shown

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # a task of our own: that of the server would report its being cancelled as a fault
            connection = self._loop.create_task(self._serve(reader, writer, told or address))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
            connection.add_done_callback(lambda _: writer.close())

        server = await asyncio.start_server(serve, address.host, address.port)
        told = shown or Address(address.host, server.sockets[0].getsockname()[1])
        self._servers.append(server)
        return told

    async def _close(self) -> None:
        for server in self._servers:
            for listener in server.sockets:
                # first it takes no more: what a closed server had accepted in this turn of the loop it would not close
                self._loop.remove_reader(listener)
        turns = 0
        while turns < TURNS:
            turns += 1
            if connections := list(self._connections):
                turns = 0
                for connection in connections:
                    connection.cancel()
                await asyncio.gather(*connections, return_exceptions=True)
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shown: Address) -> None:
        """One connection of a client, and its twin to the broker; the end of one ends the other."""
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(*self._broker)
            open_requests: dict[int, Request] = {}
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forwards(reader, there, open_requests))
                both.create_task(self._backwards(back, writer, open_requests, shown))
        except* (EOFError, OSError):
            pass  # one of the two has hung up
        except* ValueError as group:
            peer = writer.get_extra_info("peername")
            log.warning("a client was hung up on", extra=fields(client=str(peer), detail=str(group.exceptions[0])))
        finally:
            for side in (writer, there):
                if side is not None:
                    side.close()
                    with suppress(OSError):
                        await side.wait_closed()

    async def _forwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_requests: dict[int, Request]
    ) -> None:
        while True:
            frame = await _frame(reader)
            request = on_its_way(frame, self._now_ms())
            if request is not None:
                open_requests[request.correlation] = request
            await _write(writer, frame)

    async def _backwards(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        open_requests: dict[int, Request],
        shown: Address,
    ) -> None:
        while True:
            frame = await _frame(reader)
            (correlation,) = struct.unpack_from(">i", frame)
            request = open_requests.pop(correlation, None)
            await _write(writer, frame if request is None else on_its_way_back(frame, request, self._broker, shown))


async def _frame(reader: asyncio.StreamReader) -> bytearray:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    if not 8 <= length <= LARGEST_FRAME and length != 4:  # noqa: PLR2004 - the smallest request, and answer
        raise ValueError(f"not Kafka's protocol: a message of {length} bytes")
    return bytearray(await reader.readexactly(length))


async def _write(writer: asyncio.StreamWriter, frame: bytes | bytearray) -> None:
    writer.write(struct.pack(">i", len(frame)))
    writer.write(frame)
    await writer.drain()
