"""One thread that owns one partition: it reads its log, fences the last owner, and fires what is due.

It reads ahead before it puts the fence up, so that the last owner fires meanwhile; and where the partition is given
away, it fires until it is fenced itself. What is read ahead proves nothing: before anything fires, all is read that
stands in the log once the fence is up.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.ahead import Ahead
from scheduler.broker.beginning import Beginning, StartError
from scheduler.broker.bodies import Bodies
from scheduler.broker.deliveries import Blame
from scheduler.broker.failures import Kind, PublishError
from scheduler.broker.feed import feed, tell
from scheduler.broker.fence import BACKOFF_SECONDS, Fence
from scheduler.broker.inbox import Inbox
from scheduler.broker.requests import Requests
from scheduler.broker.standing import Standing
from scheduler.clock import Deadline
from scheduler.engine.life import State
from scheduler.engine.occurrence import oldest
from scheduler.runtime.exhaustion import exhausted
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message

    from scheduler.broker.collector import Collector
    from scheduler.broker.deliveries import Deliveries
    from scheduler.broker.inbox import Given
    from scheduler.broker.observer import Observer
    from scheduler.broker.publisher import Publisher
    from scheduler.clock import Clock
    from scheduler.engine.kept import Kept
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Out, Place, Settlement

MAX_BATCH = 2000
"""Schedules in one transaction while behind. With 5,000 in each of eight partitions the client takes 150 MB of new
pages for its records, and a firing 8 % more CPU; with 1,000 the broker's part of it takes half as much again."""
MAX_WAIT_SECONDS = 1.0
"""The wall clock may jump: nobody sleeps through more than this. Each look takes 0.2 ms of a processor that has other
work between two of them."""
FIRST_KEEP_SECONDS = 60.0
"""Until what is pending is kept for the first time: a replica that ends again and again is to start warm."""
REQUEST_PAUSE_SECONDS = 0.001
"""Between two looks at a change that waits for the clock."""
HEARD_FIRST = 100
"""Records that are heard though something is due: a cancellation is among the last, and these take 0.5 ms."""
NEAR = 20_000
"""Records before the end of the log at which the fence is put up: they are fetched while it is."""
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code

log = logging.getLogger("scheduler.partition")


class Owner:
    """Started on assignment, stopped on revocation; never used again afterwards."""

    def __init__(
        self,
        place: Place,
        publisher: Publisher,
        deliveries: Deliveries,
        high_watermark: Callable[[], int],
        is_ours: Callable[[], bool],
        is_taken: Callable[[], bool],
        clock: Clock,
        observer: Observer,
        on_commit: Callable[[], None],
        collector: Collector,
        *,
        since_delta: int | None = None,
        beginning: Beginning,
        keep: Callable[[Kept], None] | None = None,
        keep_seconds: float = math.inf,
        leaves: bool = False,
        prepares: bool = True,
    ) -> None:
        self.place = place
        self.engine = beginning.engine
        self.ended_by: Kind | None = None
        """Why it ended by itself; None while it runs or was stopped."""
        self.reading = False
        """Whether what is given is being applied; not while a fence is put up."""
        self.inbox = Inbox()
        self.standing = Standing(State.RESTORING, 0, 0, None)
        self.read_to = 0
        """Every record below this offset is applied; read from any thread."""
        self.reads_ahead = True
        """Whether no fence is put up yet; until then it wants to know `log_end`, as far as the reader does."""
        self.log_end: int | None = None
        self.restores_behind_ms: int | None = None
        """The horizon while it restores, and nothing fires; what is told behind it comes near with the next look."""
        self._publisher = publisher
        self._deliveries = deliveries
        self._clock = clock
        self._observer = observer
        self._on_commit = on_commit
        self._since_delta = since_delta
        self.begin = beginning.offset  # from where on what it knows was read
        self.reads_from = self.begin  # from where on it is to be given the records
        self._may_begin = threading.Event()
        self._may_begin.set()
        self._start, self._kept = beginning.start, beginning.kept
        self.left: Kept | None = None  # what was pending at an orderly end with nothing under way, if it `leaves` that
        self._leaves = leaves
        self._keep, self._keep_seconds = keep, keep_seconds
        self._keep_at = clock.monotonic() + min(FIRST_KEEP_SECONDS, keep_seconds)
        self._foresees = beginning.read_to is None
        self.requests = Requests(self.inbox.wake)
        self._at_end = False
        """Whether the end of the log was the last that was read."""
        self._told = self.engine.accepted
        self._limit = MAX_BATCH
        self.ahead = Ahead(publisher, clock)
        self._prepares = prepares and deliveries.fenced_with_us
        self._failures = 0  # transactions that failed in a row for no fault of a record
        self._stop = threading.Event()
        self._bodies = Bodies(place, self.engine, collector, clock, self.inbox.wake, lambda: not self._stop.is_set())
        self._stay: Deadline | None = None  # until when it goes on though the partition is another's; None while ours
        self._leaves_orderly = False
        self._is_ours, self._is_taken = is_ours, is_taken
        self._fence = Fence(place, publisher, high_watermark, self._may_fence, clock, observer, self._stop)
        self._before = State.RESTORING  # what it did until it was running
        self._started, self._running_since_ms = 0.0, 0
        self._restore_seconds: float | None = None
        self._thread = threading.Thread(target=self._main, name=f"{place.topic}-{place.partition}", daemon=True)

    # -- for the reader's thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take the partition over."""
        self._thread.start()

    def hold(self) -> None:
        """Before it is started: another process reads the log first, and `go_on` says what that came to."""
        self._may_begin.clear()

    def go_on(self, engine: PartitionEngine | None = None, read_to: int = 0) -> None:
        """From the engine of another process, which has read so far; without one, from where it would have begun."""
        if engine is not None:
            self.engine, self.reads_from = engine, read_to
            self._bodies = self._bodies.of(engine)
            self._foresees = False
        self._may_begin.set()

    def give(self, messages: Sequence[Message], *, quietly: bool = False) -> None:
        """Records and ends of the partition, in the order in which they were read.

        Where they are given quietly, and it fires, it hears them with its next look, or once it is roused.
        """
        self.inbox.give(messages, self.restores_behind_ms, quietly=quietly and self.standing.state is State.RUNNING)

    def stop(self) -> None:
        """Take nothing more up; a transaction that is under way is finished first."""
        self._stop.set()
        self._may_begin.set()
        self.inbox.room.set()
        self.inbox.wake()

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end; tell whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def leave(self, seconds: float, *, orderly: bool) -> None:
        """The partition is another's, or nobody's: go on until another's fence is up, at most so long.

        With nothing due by then it ends sooner. What is read meanwhile is to be given to it as ever. Where it leaves
        orderly, the fence is no event.
        """
        self._leaves_orderly = orderly
        self.inbox.pass_on()
        self._stay = Deadline(self._clock, seconds)
        self.inbox.wake()

    @property
    def may_stay(self) -> bool:
        """Whether it fires, or will, and the next owner's fence ends all of it: not deliveries to another cluster."""
        standing = self.standing
        restored = standing.restore_seconds is not None and standing.state is not State.CLOSED
        return restored and self.ended_by is None and self._deliveries.fenced_with_us

    # -- its own thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._run()
        except PublishError as error:
            self.ended_by = error.kind
            if not self._leaves_orderly:
                log.warning("fenced", extra=fields(**self._where, detail=str(error)))
        except StartError as error:
            self.ended_by = Kind.FATAL
            log.warning("began with what will not do", extra=fields(**self._where, detail=str(error)))
        except Exception as error:
            if isinstance(error, MemoryError):
                exhausted()
            # a defect: the partition is taken over afresh from the log rather than left unowned
            self.ended_by = Kind.FATAL
            log.exception("partition failed", extra=fields(**self._where))
        else:
            self._have_kept()
            self.left = self.engine.kept(self.read_to) if self._leaves else None
        finally:
            self.engine.lost()
            self._stand()
            self.inbox.room.set()
            self.requests.close()
            self._publisher.close()
            self._deliveries.close()

    @property
    def _where(self) -> dict[str, object]:
        return {"topic": self.place.topic, "partition": self.place.partition}

    def _run(self) -> None:
        self._started = self._clock.monotonic()
        self._may_begin.wait()
        self.engine.horizon_ms = self._bodies.horizon_ms
        self._resume()
        self.restores_behind_ms = self.engine.horizon_ms
        self._read_ahead()
        self._put_up(self._fence.put_up)
        while not self._over():
            self._fire()
            if self.ahead.prepared is None:  # else what is taken would be missing in the answer
                self.requests.answer(self.engine)
            self._stand()
            self._apply(self._next())
            self._bodies.collect()
            self._reconsider()
            if self._clock.monotonic() >= self._keep_at:
                self._have_kept()
        self._reconsider()  # it may have been told to stop since the last look

    def _over(self) -> bool:
        """Whether it is to stop; one that stays does so while something is due in time."""
        if self._stop.is_set():
            return True
        if self._stay is None:
            return False
        if self.engine.state is not State.RUNNING or self._bodies.coming:
            return self._stay.passed
        due_ms = self._next_due_ms()
        return due_ms is None or max(0.0, self._clock.seconds_until(due_ms)) >= self._stay.remaining()

    def _read_ahead(self) -> None:
        """Apply what stands in the log, while somebody else may still fire from it."""
        self.reading = True
        end = None
        while not (self._stop.is_set() or self._at_end or (end is not None and self.read_to >= end - NEAR)):
            self._hear(self._next())
            self._bodies.collect()
            self._stand()
            end = self.log_end
        self.reads_ahead = False

    def _put_up(self, fence: Callable[[], int | None]) -> None:
        self.reading = False
        mark = fence()
        if mark is not None:
            if mark < self.reads_from:
                raise StartError(f"the log ends at {mark}, and was read up to {self.reads_from}: it was cut")
            self.engine.fenced(mark)
        self.reading = True

    def _resume(self) -> None:
        """Begin with what is known; what of it is near comes with the first look ahead."""
        kept, self._kept = self._kept, None
        if self.reads_from >= 0:
            self.engine.horizon_ms = self._clock.now_ms()
            self.read_to = self.reads_from
        if kept is not None:
            self.engine.resume(kept)
        self._bodies.prepare()

    def _have_kept(self) -> None:
        """Have it kept what is pending, at a moment at which nothing is under way."""
        if self._keep is not None and (kept := self.engine.kept(self.read_to)) is not None:
            self._keep(kept)
            self._keep_at = self._clock.monotonic() + self._keep_seconds

    def _stand(self) -> None:
        self.standing = Standing.of(self.engine, self._clock.now_ms(), self._restore_seconds)

    def _caught_up(self) -> None:
        self.restores_behind_ms = None
        if self._before is State.RESTORING:
            self._running_since_ms = self._clock.now_ms()
            self._restore_seconds = seconds = self._clock.monotonic() - self._started
            self._observer.restored(self.place, self._start)
            about = fields(**self._where, schedules=len(self.engine.pending), seconds=seconds, start=self._start.value)
            log.info("restored", extra=about)
        else:
            self._deliveries.recovered(self.engine)
            log.info("recovered", extra=fields(**self._where))
        self._before = State.RUNNING

    def _recover(self) -> None:
        """After an uncertain transaction: a new fence, but not against another owner."""
        self._before = State.RECOVERING
        self._put_up(self._fence.put_up_again)

    def _may_fence(self) -> bool:
        """Whether the group says that we are the owner; of one that stays, that nobody else is.

        One whose partition is given to another just now is not sure of that for long, and fires no more.
        """
        if self._stay is None:
            return self._is_ours()
        if self._leaves_orderly or self._stay.passed or self._is_taken():
            self._stop.set()
        return not self._stop.is_set()

    def _next_due_ms(self) -> int | None:
        prepared = self.ahead.prepared
        return self.engine.next_due_ms() if prepared is None else prepared.due_ms

    def _next(self) -> Given:
        due_ms = self._next_due_ms()
        seconds = MAX_WAIT_SECONDS if due_ms is None else self._clock.seconds_until(due_ms)
        if self.ahead.prepared is not None:
            return self.inbox.next(min(seconds, MAX_WAIT_SECONDS))
        seconds -= self._lead_ms / 1000
        if self.requests.waiting:
            seconds = REQUEST_PAUSE_SECONDS
        return self.inbox.next(min(max(seconds, self._publisher.busy_seconds), MAX_WAIT_SECONDS))

    def _apply(self, given: Given) -> None:
        """Apply these records and those that wait behind them, until something is due.

        What is due does not wait for a bulk load to end.
        """
        engine, heard = self.engine, 0
        while given.count:
            self._hear(given)
            heard += given.count
            if self._stop.is_set():
                return
            if heard >= HEARD_FIRST:
                due_ms = self._next_due_ms()
                if due_ms is not None and due_ms <= self._clock.now_ms():
                    break
            given = self.inbox.next()
        if engine.accepted > self._told:
            self._observer.accepted(self.place, engine.accepted - self._told)
            self._told = engine.accepted

    def _hear(self, given: Given) -> None:
        if not given.count:
            return
        first, last = given.messages[0], given.messages[-1]
        if first.offset() < self.reads_from and first.error() is None:
            raise RuntimeError(f"the log was cut: {first.offset()} comes again, and {self.reads_from} was read")
        if given.facts is None:
            feed(self.engine, given.messages)
        else:
            tell(self.engine, given.facts)
        error = last.error()
        # the end of a partition has the offset of the record to come; an error has none
        self.read_to = max(self.read_to, last.offset() + (error is None))
        self._at_end = error is not None and error.code() == _EOF
        self.inbox.applied(given)
        if self._foresees and self.log_end is not None:
            self._foresees = False
            self.engine.foresee(first.offset(), last.offset(), self.log_end)

    def _fire(self) -> None:
        """Settle what is due, in one transaction, once the coordinator is through with the last one."""
        if self.engine.state is not State.RUNNING:
            return
        if self._before is not State.RUNNING:
            self._caught_up()
        if self.ahead.prepared is not None:
            if batch := self.ahead.fall_due():
                self._publish(batch, (), self._clock.monotonic())
            return
        if self._publisher.busy_seconds > 0:
            return
        now_ms = self._clock.now_ms()
        batch = self.requests.take(self.engine, now_ms)
        batch += self.engine.take(now_ms, self._limit, oldest(now_ms, self._since_delta))
        if batch:
            self._settle(batch, now_ms)
            return
        self._bodies.collect()  # what is due may want its body
        due_ms = self.engine.next_due_ms()
        if due_ms is not None and now_ms < due_ms <= now_ms + self._lead_ms:
            self._prepare(due_ms)

    def _settle(self, taken: list[Settlement], now_ms: int) -> None:
        started = self._clock.monotonic()
        batch = self._deliverable(taken, now_ms)
        if batch:
            self._publish(batch, self._deliveries.records(batch), started)
        else:
            self.requests.committed(batch)

    def _deliverable(self, taken: list[Settlement], now_ms: int) -> list[Settlement]:
        """What of it can be delivered now; nothing where that does not become known."""
        try:
            return self._deliveries.prepare(taken, self.engine, now_ms, self._running_since_ms)
        except KafkaException as error:
            self._failed(taken, PublishError(Kind.RETRIABLE, error.args[0].str()))
        except PublishError as error:
            self._failed(taken, error)
        return []

    def _publish(self, batch: list[Settlement], outs: Iterable[Out], started: float) -> None:
        try:
            self._publisher.publish(outs, lambda: self._deliveries.ail(batch))
        except KafkaException as error:
            self._failed(batch, PublishError(Kind.RETRIABLE, error.args[0].str()))
        except PublishError as error:
            self._failed(batch, error)
        else:
            self._on_commit()
            self.engine.committed(batch)
            self.requests.committed(batch)
            self._deliveries.committed(batch)
            self._failures = 0
            self._limit = min(MAX_BATCH, self._limit * 2)
            seconds = self._clock.monotonic() - started
            self._observer.settled(self.place, batch, seconds, running_since_ms=self._running_since_ms)
            if self._publisher.worn:
                self._renew()

    @property
    def _lead_ms(self) -> int:
        """How long before it is due something may be prepared: not for who leaves, nor what cannot be taken back."""
        return self.ahead.lead_ms if self._stay is None and self._prepares else 0

    def _prepare(self, due_ms: int) -> None:
        """Have the next transaction hold what is due in a moment; nothing of it is in the log before."""
        taken = self.ahead.take(self.engine, due_ms, self._limit, oldest(due_ms, self._since_delta))
        batch = self._deliverable(taken, due_ms)
        if batch:
            try:
                self.ahead.prepare(batch, self._deliveries.records(batch), due_ms, self.read_to)
            except PublishError as error:
                self._failed(batch, error)

    def _reconsider(self) -> None:
        """Give up what is prepared where it is not to fire so, or somebody waits."""
        prepared = self.ahead.prepared
        if prepared is None:
            return
        wanted = self._stop.is_set() or self._stay is not None or self.requests.any
        if not wanted and self.ahead.stands(self.engine, self.read_to):
            return
        try:
            self.engine.returned(self.ahead.give_up())
        except PublishError as error:
            self._failed(prepared.batch, error)
        else:
            if self._publisher.worn:
                self._renew()

    def _renew(self) -> None:
        """A new producer, as safely as after doubt: it took long, and another may be the owner by now."""
        self.engine.uncertain(())
        self._recover()

    def _failed(self, batch: Sequence[Settlement], error: PublishError) -> None:
        """Nobody knows what became of the batch: find out, and if a record is at fault, which one."""
        if error.kind is Kind.FENCED and self._leaves_orderly:
            log.info("handed over", extra=fields(**self._where))
            raise error
        self._observer.failed(self.place, error.kind)
        log.warning(
            "transaction failed",
            extra=fields(**self._where, schedules=len(batch), kind=error.kind.value, detail=str(error)),
        )
        self.engine.uncertain(batch)
        self.requests.uncertain(str(error))
        self._stand()
        if error.kind is Kind.FENCED:
            raise error
        blamed = self._deliveries.blame(batch, error)
        if blamed is Blame.RECORD:
            self._limit = max(1, len(batch) // 2)
        elif blamed is Blame.NOBODY:
            self._failures += 1
            self._limit = max(1, len(batch) // 2)  # it may have been too much for the time that a transaction has
            self._clock.wait(self._stop, BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS)) - 1])
        self._recover()
