"""What a test holds in its hand: the mini scheduler, its clock, and what was fired since the test began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from scheduler import wire
from scheduler.broker.reader import read
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.durations import parse_duration
from scheduler.errors import InputError
from scheduler.history import read_event
from scheduler.instants import epoch_ms, parse_instant
from scheduler.messages import headers_of
from scheduler.mini.clock import VirtualClock
from scheduler.mini.service import Mini
from scheduler.mini.timekeeper import SECONDS
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from confluent_kafka import Message

    from scheduler.history import HistoryEvent
    from scheduler.mini.timekeeper import Time
    from scheduler.runtime.settings import Settings

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Fired:
    """A message that the scheduler has delivered."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]
    """Of several with one name, the last."""
    schedule_id: str
    due: datetime
    partition: int
    offset: int


class SchedulerMini:
    """A scheduler whose clock stands still until it is told to move; see `docs/mini.md`.

    Args:
        topics: made at the start; others when they are first fired to.
    """

    def __init__(self, *topics: str) -> None:
        self._mini = Mini(topics=topics, clock=VirtualClock(running=False))
        self._client: SchedulerClient | None = None
        self._begin: dict[tuple[str, int], int] = {}

    def start(self) -> None:
        """Return once schedules are fired, after about 3 s."""
        self._mini.start()
        self._client = SchedulerClient(self._mini.replica.settings, clock=self._mini.clock, client_id="scheduler-mini")

    def close(self) -> None:
        """Stop everything, and forget it."""
        if self._client is not None:
            self._client.close()
        self._mini.close()

    # -- where it is ---------------------------------------------------------------------------------

    @property
    def bootstrap_servers(self) -> str:
        """For any Kafka client of this machine."""
        return self._mini.bootstrap_servers

    @property
    def api(self) -> str:
        """Where its HTTP API is: `http://127.0.0.1:40123`."""
        return self._mini.api

    @property
    def settings(self) -> Settings:
        """For programs that are given `Settings`."""
        return self._mini.replica.settings

    @property
    def client(self) -> SchedulerClient:
        """Goes by the same clock."""
        if self._client is None:
            raise RuntimeError("it is not started")
        return self._client

    # -- its clock -----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """What the clock shows, in UTC."""
        return _moment(self._mini.clock.now_ms())

    def advance(self, by: str | timedelta, *, jump: bool = False, timeout: float = SECONDS) -> Time:
        """Let time pass; what is due on the way is fired at its own time.

        Args:
            by: so much: `1d`, `90s`, or a timedelta.
            jump: go there at once, as after a standstill: what was due on the way is late.
            timeout: how long it may take, in seconds of the machine's clock.

        Raises:
            InputError: it is no duration.
            NotSettledError: it takes longer.
        """
        return self._mini.timekeeper.move(by_ms=_duration_ms(by), jump=jump, seconds=timeout)

    def move_to(self, instant: str | datetime, *, jump: bool = False, timeout: float = SECONDS) -> Time:
        """The same, until an instant: RFC 3339, or a datetime with an offset. To an earlier one only with `jump`.

        Raises:
            InputError: it is no instant, or an earlier one.
            NotSettledError: it takes longer than `timeout`.
        """
        try:
            return self._mini.timekeeper.move(_instant_ms(instant), jump=jump, seconds=timeout)
        except ValueError as error:
            raise InputError(str(error)) from None

    def run(self) -> None:
        """Let time pass by itself, as fast as the machine's."""
        self._mini.timekeeper.run(on=True)

    def stand(self) -> None:
        """Let the clock stand still again."""
        self._mini.timekeeper.run(on=False)

    # -- what it did ---------------------------------------------------------------------------------

    def fired(self, topic: str) -> list[Fired]:
        """What was delivered to a topic since the test began, in order of due time.

        Everything that is due by now, and was acknowledged before this call, is among it.

        Raises:
            NotSettledError: that takes too long.
        """
        self._mini.timekeeper.settle()
        found = [_fired(message) for message in self._since_begin(topic)]
        return sorted((each for each in found if each is not None), key=lambda each: (each.due, each.schedule_id))

    def history(self) -> list[HistoryEvent]:
        """What became of schedules since the test began, in the order in which it was decided.

        Raises:
            NotSettledError: what is due now cannot be fired in time.
        """
        self._mini.timekeeper.settle()
        events = (read_event(message) for message in self._since_begin(self.settings.history_topic))
        return sorted(events, key=lambda event: (event.at_ms, event.due_ms or 0, event.schedule_id))

    def reset(self) -> None:
        """Forget what is in force and what was fired, and show the machine's time: a test begins.

        Raises:
            NotSettledError: what is due now cannot be fired in time.
        """
        self.stand()
        keeper = self._mini.timekeeper
        keeper.settle()
        standings = self._mini.replica.standings().values()
        if any(standing.pending for standing in standings):
            client = self.client
            for topic in self.settings.schedules_topics:
                client.write([client.draft_cancel(stored) for stored in client.schedules(topic)])
        if any(standing.paused for standing in standings):
            self.client.resume_all()
        keeper.move(SystemClock().now_ms(), jump=True)
        self._begin = self._mini.ends()

    def _since_begin(self, topic: str) -> Iterator[Message]:
        count = self._mini.replica.kafka.partitions(topic)
        begin = {partition: self._begin.get((topic, partition), 0) for partition in range(count)}
        if not begin:
            return iter(())  # a target comes to be with its first message
        return read(self.settings, topic, self._mini.clock, start=begin)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fired(message: Message) -> Fired | None:
    headers = dict(headers_of(message))
    due_ms = epoch_ms(_text(headers, wire.EPOCH))
    if wire.KEY not in headers or due_ms is None:
        return None  # somebody else's
    return Fired(
        message.topic(),
        message.key(),
        message.value(),
        headers,
        _text(headers, wire.KEY),
        _moment(due_ms),
        message.partition(),
        message.offset(),
    )


def _text(headers: dict[str, bytes | None], name: str) -> str:
    return display(headers.get(name) or b"")


def _moment(instant_ms: int) -> datetime:
    return _1970 + timedelta(milliseconds=instant_ms)


def _duration_ms(by: str | timedelta) -> int:
    if isinstance(by, timedelta):
        if by < timedelta():
            raise InputError(f"{by} is negative: time passes forwards; set the clock back with move_to(..., jump=True)")
        return by // timedelta(milliseconds=1)
    try:
        return parse_duration(by)
    except ValueError as error:
        raise InputError(str(error)) from None


def _instant_ms(instant: str | datetime) -> int:
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            raise InputError(f"{instant} has no offset: give it one, such as tzinfo=UTC")
        return (instant - _1970) // timedelta(milliseconds=1)
    instant_ms = parse_instant(instant)
    if instant_ms is None:
        raise InputError(f"{instant!r} is not an instant such as 2030-01-01T00:00:00Z")
    return instant_ms
