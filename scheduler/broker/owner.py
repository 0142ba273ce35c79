"""One thread that owns one partition: it fences the last owner, feeds the engine and fires what is due."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from confluent_kafka import KafkaException

from scheduler.broker.failures import Kind, PublishError
from scheduler.broker.feed import feed
from scheduler.engine.life import State
from scheduler.engine.occurrence import oldest
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Settlement, records, undeliverable
from scheduler.runtime.logs import fields
from scheduler.schedule import Outcome, Reason, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from confluent_kafka import Message

    from scheduler.broker.publisher import Publisher
    from scheduler.broker.targets import Targets
    from scheduler.clock import Clock
    from scheduler.engine.settlement import Out, Place

MAX_BATCH = 5000
"""Schedules in one transaction while behind: 15,000 records, far from filling the client's queue of a million."""
MAX_WAIT_SECONDS = 0.5
"""The wall clock may jump: nobody sleeps through more than this."""
MAX_BACKLOG = 50_000
"""Records read but not applied; the reader waits while there are more."""
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logging.getLogger("scheduler.partition")


class Standing(NamedTuple):
    """Where a partition stands, as its owner last saw it; read from any thread."""

    state: State
    pending: int
    overdue: int
    next_due_ms: int | None


class Observer(Protocol):
    """Who wants to know; called from the owner's thread, never for each record."""

    def settled(self, place: Place, batch: Sequence[Settlement], seconds: float, *, running_since_ms: int) -> None:
        """A transaction is committed."""

    def restored(self, place: Place, schedules: int, seconds: float) -> None:
        """The partition fires from now on."""

    def failed(self, place: Place, kind: Kind) -> None:
        """A transaction did not end well."""

    def accepted(self, place: Place, schedules: int) -> None:
        """So many more versions were read and found sound."""


class Owner:
    """Started on assignment, stopped on revocation; never used again afterwards."""

    def __init__(
        self,
        place: Place,
        publisher: Publisher,
        targets: Targets,
        high_watermark: Callable[[], int],
        is_ours: Callable[[], bool],
        clock: Clock,
        observer: Observer,
        on_commit: Callable[[], None],
        since_delta: int | None = None,
    ) -> None:
        self.place = place
        self.engine = PartitionEngine()
        self.ended_by: Kind | None = None
        """Why it ended by itself; None while it runs or was stopped."""
        self.reading = False
        """Whether what is given is being applied; not while a fence is put up."""
        self.room = threading.Event()
        """Set while the backlog is small."""
        self.room.set()
        self.standing = Standing(State.RESTORING, 0, 0, None)
        self._publisher = publisher
        self._targets = targets
        self._high_watermark = high_watermark
        self._is_ours = is_ours
        self._clock = clock
        self._observer = observer
        self._on_commit = on_commit
        self._since_delta = since_delta
        self._inbox: SimpleQueue[Sequence[Message]] = SimpleQueue()
        self._given = 0
        self._applied = 0
        self._told = 0
        self._limit = MAX_BATCH
        self._failures = 0
        """Transactions that failed in a row for no fault of a record."""
        self._condemned: dict[tuple[bytes | None, int], list[tuple[Reason, str]]] = {}
        self._stop = threading.Event()
        self._running_since_ms = 0
        self._thread = threading.Thread(target=self._main, name=f"{place.topic}-{place.partition}", daemon=True)

    # -- for the reader's thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take the partition over."""
        self._thread.start()

    def give(self, messages: Sequence[Message]) -> None:
        """Records and ends of the partition, in the order in which they were read."""
        self._given += len(messages)
        self._inbox.put(messages)
        if self.backlog > MAX_BACKLOG:
            self.room.clear()

    @property
    def backlog(self) -> int:
        """Records given and not applied."""
        return self._given - self._applied

    def stop(self) -> None:
        """Take nothing more up; a transaction that is under way is finished first."""
        self._stop.set()
        self.room.set()
        self._inbox.put(())

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end; tell whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # -- its own thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._run()
        except PublishError as error:
            self.ended_by = error.kind
            log.warning("fenced", extra=fields(**self._where, detail=str(error)))
        except Exception:
            # a defect: the partition is taken over afresh from the log rather than left unowned
            self.ended_by = Kind.FATAL
            log.exception("partition failed", extra=fields(**self._where))
        finally:
            self.engine.lost()
            self._stand()
            self.room.set()
            self._publisher.close()

    @property
    def _where(self) -> dict[str, object]:
        return {"topic": self.place.topic, "partition": self.place.partition}

    def _run(self) -> None:
        started = self._clock.monotonic()
        self._fence()
        while not self._stop.is_set():
            state = self.engine.state
            self._apply(self._next())
            if self.engine.state is State.RUNNING:
                if state is not State.RUNNING:
                    self._restored(state, self._clock.monotonic() - started)
                self._fire()
            self._stand()

    def _stand(self) -> None:
        pending = self.engine.pending
        self.standing = Standing(
            self.engine.state, len(pending), pending.overdue(self._clock.now_ms()), pending.next_due_ms()
        )

    def _restored(self, before: State, seconds: float) -> None:
        if before is State.RESTORING:
            self._running_since_ms = self._clock.now_ms()
            self._observer.restored(self.place, len(self.engine.pending), seconds)
            log.info("restored", extra=fields(**self._where, schedules=len(self.engine.pending), seconds=seconds))
        else:
            log.info("recovered", extra=fields(**self._where))

    def _fence(self) -> None:
        """Become the only one who can write, and learn up to where others may have written."""
        self.reading = False
        for seconds in self._attempts():
            try:
                self._publisher.open()
                mark = self._high_watermark()
            except PublishError as error:
                if error.kind is Kind.FENCED:
                    raise
                failure = str(error)
            except KafkaException as error:
                failure = error.args[0].str()
            else:
                self.engine.fenced(mark)
                break
            log.warning("cannot fence, trying again", extra=fields(**self._where, detail=failure))
            self._clock.wait(self._stop, seconds)
        self.reading = True

    def _attempts(self) -> Iterator[float]:
        """Pauses between attempts, growing, until the partition is to be given up."""
        attempt = 0
        while not self._stop.is_set():
            yield BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
            attempt += 1

    def _recover(self) -> None:
        """After an uncertain transaction: a new fence, but only where the group says that we are the owner."""
        self.reading = False
        for seconds in self._attempts():
            try:
                if self._is_ours():
                    break
                failure = "the group has given the partition to another"
            except KafkaException as error:
                failure = error.args[0].str()
            log.warning("cannot recover yet", extra=fields(**self._where, detail=failure))
            self._clock.wait(self._stop, seconds)
        self._fence()

    def _next(self) -> Sequence[Message]:
        due_ms = self.engine.next_due_ms()
        seconds = MAX_WAIT_SECONDS if due_ms is None else self._clock.seconds_until(due_ms)
        try:
            return self._inbox.get(timeout=min(max(0.0, seconds), MAX_WAIT_SECONDS))
        except Empty:
            return ()

    def _apply(self, messages: Sequence[Message]) -> None:
        engine = self.engine
        while messages:
            for message in messages:
                feed(engine, message)
            self._applied += len(messages)
            if not self.room.is_set() and self.backlog < MAX_BACKLOG // 2:
                self.room.set()
            if self._stop.is_set():
                return
            try:
                messages = self._inbox.get_nowait()
            except Empty:
                break
        if engine.accepted > self._told:
            self._observer.accepted(self.place, engine.accepted - self._told)
            self._told = engine.accepted

    def _fire(self) -> None:
        """Settle what is due, one transaction after another, hearing what was read in between."""
        while not self._stop.is_set() and self.engine.state is State.RUNNING:
            now_ms = self._clock.now_ms()
            batch = self.engine.take(now_ms, self._limit, oldest(now_ms, self._since_delta))
            if not batch:
                return
            self._settle(batch)
            with suppress(Empty):
                self._apply(self._inbox.get_nowait())

    def _settle(self, batch: list[Settlement]) -> None:
        started = self._clock.monotonic()
        try:
            batch = [self._deliverable(settlement) for settlement in batch]
            self._publisher.publish(self._records(batch))
        except KafkaException as error:
            self._failed(batch, PublishError(Kind.RETRIABLE, error.args[0].str()))
        except PublishError as error:
            self._failed(batch, error)
        else:
            self._on_commit()
            self.engine.committed(batch)
            self._failures = 0
            self._limit = min(MAX_BATCH, self._limit * 2)
            if self._condemned:
                for settlement in batch:
                    self._condemned.pop((settlement.subject.key, settlement.replaces), None)
            seconds = self._clock.monotonic() - started
            self._observer.settled(self.place, batch, seconds, running_since_ms=self._running_since_ms)

    def _records(self, batch: Sequence[Settlement]) -> Iterator[Out]:
        place = self.place
        for settlement in batch:
            yield from records(settlement, place)

    def _deliverable(self, settlement: Settlement) -> Settlement:
        subject = settlement.subject
        if settlement.outcome is Outcome.FIRED and isinstance(subject, Schedule):
            refused = self._targets.refusal(subject.target_topic, subject.target_partition)
            if refused is not None:
                return undeliverable(settlement, *refused)
        if self._condemned:
            for verdict in self._condemned.get((subject.key, settlement.replaces), ()):
                settlement = undeliverable(settlement, *verdict)
        return settlement

    def _failed(self, batch: Sequence[Settlement], error: PublishError) -> None:
        """Nobody knows what became of the batch: find out, and if a record is at fault, which one."""
        self._observer.failed(self.place, error.kind)
        log.warning(
            "transaction failed",
            extra=fields(**self._where, schedules=len(batch), kind=error.kind.value, detail=str(error)),
        )
        self.engine.uncertain(batch)
        self._stand()
        self._targets.forget()
        if error.kind is Kind.FENCED:
            raise error
        if error.reason is not None:
            self._limit = max(1, len(batch) // 2)
            if len(batch) == 1:
                place = (batch[0].subject.key, batch[0].replaces)
                self._condemned.setdefault(place, []).append((error.reason, str(error)))
        else:
            self._failures += 1
            self._clock.wait(self._stop, BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS)) - 1])
        self._recover()
