"""The client library in asyncio: the same client on threads of its own, so that the event loop never waits for Kafka.

The Kafka client's own asyncio producer refuses headers, and a schedule is made of them.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from scheduler.client import SchedulerClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Unpack

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.drafts import NewSchedule
    from scheduler.history import Filter, HistoryEvent
    from scheduler.records import Receipt, Stored, Write
    from scheduler.retry import NewRetry, RetryPolicy
    from scheduler.runtime.settings import Settings

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

CALLS = 16
"""How many calls are under way at once; further ones wait for their turn."""
EVENTS = 1000
"""Of the history, fetched in one go."""


class AsyncSchedulerClient:
    """`SchedulerClient` for tasks of one event loop; its methods do, and raise, what they do there.

    A task that is cancelled does not take back what it was writing: the call ends on its thread, and the record stands
    or not.

    ```python
    import asyncio
    from datetime import timedelta

    from scheduler import AsyncSchedulerClient, Settings


    async def main() -> None:
        async with AsyncSchedulerClient(Settings.load()) as client:
            keys = [f"vid{number}-online" for number in range(3)]
            await asyncio.gather(*(client.schedule(key, b"", "online-videos", delay="1h") for key in keys))
            for stored in await client.find(*keys):
                await client.cancel(stored)


    asyncio.run(main())
    ```
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, client_id: str = "scheduler-client"
    ) -> None:
        self._client = SchedulerClient(settings, clock=clock, client_id=client_id)
        self._threads = ThreadPoolExecutor(CALLS, "scheduler-client")
        self._followed: set[threading.Event] = set()

    async def schedule(
        self,
        key: str | bytes,
        payload: str | bytes,
        target_topic: str,
        *,
        topic: str | None = None,
        **how: Unpack[NewSchedule],
    ) -> Receipt:
        """Write a schedule; the same key again replaces it."""
        return await self._call(self._client.schedule, key, payload, target_topic, topic=topic, **how)

    async def schedule_retry(
        self,
        message: Message,
        policy: RetryPolicy | None = None,
        *,
        topic: str | None = None,
        **how: Unpack[NewRetry],
    ) -> Receipt:
        """Let a message that could not be handled come back later."""
        return await self._call(self._client.schedule_retry, message, policy, topic=topic, **how)

    async def cancel(self, which: str | bytes | Stored | Receipt, *, topic: str | None = None) -> Receipt:
        """End a schedule."""
        return await self._call(self._client.cancel, which, topic=topic)

    async def fire(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt:
        """Let a schedule fire now."""
        return await self._call(self._client.fire, which, topic=topic)

    async def reschedule(
        self,
        which: str | bytes | Stored,
        *,
        at: datetime | int | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        topic: str | None = None,
    ) -> Receipt:
        """Give a schedule another time, another rule, or both."""
        return await self._call(self._client.reschedule, which, at=at, cron=cron, timezone=timezone, topic=topic)

    async def pause(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt | None:
        """Let a schedule wait until it is resumed."""
        return await self._call(self._client.pause, which, topic=topic)

    async def resume(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt | None:
        """Let a paused schedule go on."""
        return await self._call(self._client.resume, which, topic=topic)

    async def pause_all(self, topic: str | None = None) -> None:
        """Pause every partition."""
        await self._call(self._client.pause_all, topic)

    async def resume_all(self, topic: str | None = None) -> None:
        """Take `pause_all` back."""
        await self._call(self._client.resume_all, topic)

    async def create_topics(self) -> list[str]:
        """Create the topics of the installation that are missing; their names."""
        return await self._call(self._client.create_topics)

    async def write(self, writes: Sequence[Write]) -> list[Receipt]:
        """Write records, each of them acknowledged when this returns."""
        return await self._call(self._client.write, writes)

    async def find(self, *keys: str | bytes, topic: str | None = None) -> list[Stored]:
        """The schedules in force under these ids."""
        return await self._call(self._client.find, *keys, topic=topic)

    async def schedules(self, topic: str, *, prefix: str | bytes = b"") -> list[Stored]:
        """Every schedule in force."""
        return await self._call(self._client.schedules, topic, prefix=prefix)

    async def history(
        self, wanted: Filter | None = None, *, since_ms: int | None = None, follow: bool = False
    ) -> AsyncGenerator[HistoryEvent, None]:
        """What became of schedules; with `follow`, on and on until it or the client is closed.

        A loop that is left early leaves it open until the garbage collector finds it: `contextlib.aclosing` does not.
        """
        stop = threading.Event()
        self._followed.add(stop)
        events = self._client.history(wanted, since_ms=since_ms, follow=stop if follow else None)
        fetch = partial(_some, events, 1 if follow else EVENTS)
        thread = ThreadPoolExecutor(1, "scheduler-history")  # those who follow must not take the others' turns
        try:
            while found := await asyncio.get_running_loop().run_in_executor(thread, fetch):
                for event in found:
                    yield event
        finally:
            stop.set()
            self._followed.discard(stop)
            closed = thread.submit(events.close)  # behind the fetch that a cancelled task has left there
            thread.shutdown(wait=False)
            await asyncio.shield(asyncio.wrap_future(closed))

    async def close(self) -> None:
        """End what is under way, and drop the connection; the client cannot be used again."""
        for stop in self._followed:
            stop.set()
        await asyncio.to_thread(self._close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _close(self) -> None:
        self._threads.shutdown()
        self._client.close()


def _some(events: Iterator[HistoryEvent], count: int) -> list[HistoryEvent]:
    return list(islice(events, count))
