"""Moves the virtual clock, and sees to it that everything that is due by then has been fired."""

from __future__ import annotations

import threading
from concurrent.futures import TimeoutError as NoAnswerError
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from scheduler.broker.requests import PartitionGoneError
from scheduler.clock import Deadline, rfc3339
from scheduler.errors import SchedulerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import CollectorRegistry

    from scheduler.api.replica import Kafka, Partition
    from scheduler.engine.partition import PartitionEngine
    from scheduler.mini.clock import VirtualClock

SECONDS = 60.0
"""For everything to be fired: a few thousand due times, one after another, take about that long."""
TICK_SECONDS = 0.002

_FIRED = ("kafka_scheduler_event_total", {"type": "triggered"})


class NotSettledError(SchedulerError):
    """The clock has moved, and not everything that was due on the way has been fired in time."""


class Replica(Protocol):
    """What it has to know of the replica."""

    registry: CollectorRegistry

    @property
    def kafka(self) -> Kafka:
        """What it can ask of Kafka."""
        ...

    def owners(self) -> Mapping[tuple[str, int], Partition]:
        """Its partitions, by topic and number."""
        ...


class Time(NamedTuple):
    """What the clock shows, and what was done on the way there."""

    now_ms: int
    running: bool
    fired: int
    next_due_ms: int | None
    postponed: int
    """Due, and waiting for their target: the partition that they name does not exist, say."""


class Timekeeper:
    """Safe from any thread: one moves the clock, the others wait.

    Args:
        clock: what the replica goes by.
        replica: whose schedules fire.
    """

    def __init__(self, clock: VirtualClock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica
        self._lock = threading.Lock()

    def time(self, fired_before: int | None = None) -> Time:
        """What the clock shows now."""
        standings = [owner.standing for owner in self._replica.owners().values()]
        due = [each.next_due_ms for each in standings if each.next_due_ms is not None]
        fired = 0 if fired_before is None else self._fired() - fired_before
        return Time(
            self._clock.now_ms(),
            self._clock.running,
            fired,
            min(due, default=None),
            sum(each.postponed for each in standings),
        )

    def settle(self, seconds: float = SECONDS) -> Time:
        """Return once everything that is due now, and was acknowledged before this call, has been fired.

        Raises:
            NotSettledError: that takes longer than the given seconds (of the machine's clock).
        """
        return self.move(seconds=seconds)

    def move(self, to_ms: int | None = None, *, by_ms: int = 0, jump: bool = False, seconds: float = SECONDS) -> Time:
        """Let time pass, due time after due time; everything that is due on the way is fired at its own.

        Args:
            to_ms: until this instant; it may only be an earlier one with `jump`.
            by_ms: or by so much.
            jump: go there at once: what was due on the way is late, as after a standstill.
            seconds: how long it may take, by the machine's clock.

        Raises:
            ValueError: it would go back.
            NotSettledError: it takes longer; the clock shows how far it got.
        """
        deadline = Deadline(self._clock, seconds)
        if not self._lock.acquire(timeout=seconds):
            raise NotSettledError(f"another move of the clock has taken more than {seconds:g} s")
        try:
            fired = self._fired()
            with self._standing():
                self._hear(deadline)
                target_ms = self._clock.now_ms() + by_ms if to_ms is None else to_ms
                if jump:
                    self._clock.set(target_ms)
                self._pass(target_ms, deadline)
            return self.time(fired)
        finally:
            self._lock.release()

    def run(self, *, on: bool) -> None:
        """Let the time pass by itself, or not."""
        with self._lock:
            if on:
                self._clock.run()
                self._wake()
            else:
                self._clock.stand()

    @contextmanager
    def _standing(self) -> Iterator[None]:
        """Nothing becomes due while the clock is moved, but by its being moved."""
        running = self._clock.running
        self._clock.stand()
        try:
            yield
        finally:
            if running:
                self._clock.run()
                self._wake()

    def _wake(self) -> None:
        """The owners have taken the clock to stand still."""
        for owner in self._replica.owners().values():
            owner.requests.ask(lambda _: None)

    def _pass(self, until_ms: int, deadline: Deadline) -> None:
        if until_ms < self._clock.now_ms():
            raise ValueError(
                f"{rfc3339(until_ms)} is earlier than {rfc3339(self._clock.now_ms())}: time passes forwards; "
                "set the clock back with jump"
            )
        while True:
            due_ms = self._settled(deadline)
            if due_ms is None or due_ms > until_ms:
                break
            self._clock.set(due_ms)
        if self._clock.now_ms() < until_ms:
            self._clock.set(until_ms)
            self._settled(deadline)

    def _hear(self, deadline: Deadline) -> None:
        """Wait until the replica has read what its clients have written."""
        for (topic, number), owner in self._replica.owners().items():
            end = self._replica.kafka.end(topic, number)
            while owner.read_to < end:
                self._tick(deadline, f"{end - owner.read_to} records of {topic}/{number} are not read yet")

    def _settled(self, deadline: Deadline) -> int | None:
        """Wait until nothing is left to be done at this instant; when the next schedule is due."""
        now_ms = self._clock.now_ms()

        def look(engine: PartitionEngine) -> tuple[bool, int | None]:
            return engine.settled(now_ms), engine.next_due_ms()

        next_due: list[int] = []
        for where in sorted(self._replica.owners()):
            while True:
                settled, due_ms = False, None
                owner = self._replica.owners().get(where)
                if owner is not None:
                    try:
                        # it wakes the owner, which looks at the clock before it answers
                        settled, due_ms = owner.requests.ask(look).result(deadline.remaining())
                    except (PartitionGoneError, NoAnswerError):
                        settled = False  # it is being taken over afresh, or busy
                if settled:
                    break
                self._tick(deadline, f"{where[0]}/{where[1]} has not fired everything")
            if due_ms is not None:
                next_due.append(due_ms)
        return min(next_due, default=None)

    def _tick(self, deadline: Deadline, left: str) -> None:
        if deadline.passed:
            raise NotSettledError(
                f"the clock has come to {rfc3339(self._clock.now_ms())} and the time allowed is over: {left}; "
                "move it again to go on, or allow more time"
            )
        self._clock.wait(threading.Event(), TICK_SECONDS)

    def _fired(self) -> int:
        return int(self._replica.registry.get_sample_value(*_FIRED) or 0)
