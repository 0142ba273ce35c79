"""A replica that owns the partition, or believes so: the engine with a reader and a transactional writer around it.

What the shell does in one call is several steps here, so that anything can happen in between: a batch is taken, its
records are written some at a time, its end is asked for and answered, or not answered, or answered late. A replica
that nobody gives a step is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.broker.beginning import SHARE
from scheduler.engine.changes import Change, NotPendingError
from scheduler.engine.far import Far
from scheduler.engine.kept import from_bytes, to_bytes
from scheduler.engine.life import State as Life
from scheduler.engine.occurrence import oldest
from scheduler.engine.settlement import Place, Settlement, records, refused, undeliverable
from scheduler.schedule import Outcome, Reason, Schedule
from scheduler.wire import decode
from tests.support.simulation.broker import (
    COMPACTION_LAG_MS,
    Coordinator,
    Entry,
    FencedError,
    InvalidStateError,
    NotYetError,
    State,
    Transaction,
)
from tests.support.simulation.circumstances import Circumstances, Fencing
from tests.support.simulation.mutations import Mutation, mutated
from tests.support.simulation.standby import hear

if TYPE_CHECKING:
    from scheduler.engine.settlement import Out
    from tests.support.simulation.standby import Standby
    from tests.support.simulation.world import World

PLACE = Place("schedules", 0, "history", "dead-letters")
TARGET_GRACE_MS = 30_000
RETRY_MS = 500


class Replica:
    """Steps of one replica; those that make no sense at the moment do nothing."""

    def __init__(self, world: World, name: str, disk: int, followed: Standby | None = None) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.mutation = world.mutation
        self.engine = world.new_engine() if followed is None else followed.engine
        if world.ahead_ms is not None:
            self.engine.horizon_ms = world.now_ms + world.ahead_ms
        self.coordinator = Coordinator() if self.mutation is Mutation.NO_FENCE else world.coordinator
        self.skew_ms = 0
        self.position = 0
        self.inbox: list[Entry | int] = []
        """Records, and ends as offsets."""
        self.fencing = Fencing.INIT
        self._reads_ahead = True
        """Whether it has not had a fence yet."""
        self.asked: list[tuple[bytes, Change]] = []
        self._read_to = -1
        self._epoch = -1
        self._mark = -1
        self._running_since_ms = 0
        self._limit = 5000
        self._batch: list[Settlement] = []
        self._outs: list[Out] = []
        self._transaction: Transaction | None = None
        self._begun = False
        self._refused: set[tuple[bytes, int]] = set()
        """What was refused when it stood alone: key, and what it replaces."""
        if self.mutation is Mutation.MARK_BEFORE_FENCE:
            self._mark = world.log.end
        self._trusts = self.mutation is Mutation.READ_AHEAD_IS_ENOUGH
        """Whether it takes what it has read before its fence for all there is: a defect."""
        if followed is not None:
            self._begin_from(followed)
        elif world.keeps:
            self._begin_warm()

    @property
    def alive(self) -> bool:
        return self.engine.state is not Life.CLOSED

    @property
    def restoring(self) -> bool:
        """Whether it has read a part of the log, and not all that it has to."""
        return self.alive and self.engine.state is not Life.RUNNING and self.position > 0

    @property
    def in_transaction(self) -> bool:
        return self._transaction is not None

    def now_ms(self) -> int:
        """Its own clock."""
        return self.world.now_ms + self.skew_ms

    # -- what is kept --------------------------------------------------------------------------------

    def _begin_warm(self) -> None:
        """Go on from what another one has kept on the same disk, where that is not too old."""
        lasts_ms = COMPACTION_LAG_MS * SHARE if self.mutation is not Mutation.KEPT_FOR_EVER else self.world.now_ms
        kept_ms, written = self.world.kept.get(self.disk, (0, None))
        if written is not None and self.world.now_ms - kept_ms <= lasts_ms:
            kept = from_bytes(memoryview(written))
            self.engine.horizon_ms = self.now_ms()
            self.engine.resume(kept)
            self.position = kept.read_to
            self._read_to = kept.read_to - 1
            self.world.say(f"{self.name} goes on from what was kept at {kept.read_to}")

    def _begin_from(self, followed: Standby) -> None:
        """Go on from where the partition was followed to."""
        if self.world.ahead_ms is not None:
            self.engine.horizon_ms = self.now_ms()
        self._trusts |= self.mutation is Mutation.FOLLOWED_IS_ENOUGH
        skips = self.mutation is Mutation.FOLLOWED_SKIPS
        self.position = self.world.log.last_stable_offset() if skips else followed.position
        self._read_to = self.position - 1
        self.world.say(f"{self.name} goes on from where it was followed to, {self.position}")

    def _keep(self) -> None:
        """Put down what is pending, where nothing is left to be said."""
        kept = self.engine.kept(self._read_to + 1)
        if kept is not None:
            self.world.kept[self.disk] = (self.world.now_ms, b"".join(to_bytes(kept, {})))
            self.world.say(f"{self.name} keeps what is pending at {kept.read_to}")

    # -- taking over ---------------------------------------------------------------------------------

    def fence(self) -> None:
        """The next thing on the way to be the only one who writes."""
        if not self.alive:
            return
        log = self.world.log
        if self.fencing is Fencing.ASK:
            if self.world.assigned is self:
                self.fencing = Fencing.INIT
        elif self.fencing is Fencing.INIT:
            try:
                self._epoch = self.coordinator.init()
            except NotYetError:
                return
            self.fencing = Fencing.MARK
        elif self.fencing is Fencing.MARK:
            mark = log.end
            if self.mutation is Mutation.MARK_IS_LAST_STABLE:
                mark = log.last_stable_offset()
            elif self.mutation is Mutation.MARK_BEFORE_FENCE and self._mark >= 0:
                mark = self._mark
            elif self.mutation is Mutation.FIRES_BEFORE_RESTORED:
                mark = 0
            elif self._trusts and self._reads_ahead:
                mark = min(mark, self._read_to + 1)
            self.engine.fenced(mark)
            self.fencing = Fencing.DONE
            self._reads_ahead = False
            self.world.say(f"{self.name} reads up to {mark}")
        self._stand()

    # -- reading -------------------------------------------------------------------------------------

    def fetch(self, limit: int) -> None:
        """What the consumer is given, and the end behind it where it is reached."""
        if not self.alive:
            return
        log = self.world.log
        found, end = log.read(self.position, limit, uncommitted=self.mutation is Mutation.READS_UNCOMMITTED)
        ends = [] if end is None else [end]
        self.inbox += [*ends, *found] if self.mutation is Mutation.END_BEFORE_RECORDS else [*found, *ends]
        if found:
            self.position = found[-1].offset + 1
        if end is not None:
            self.position = max(self.position, end)

    def apply(self, limit: int) -> None:
        """The owner's thread takes what was given: ahead of the fence as well, not while it is put up."""
        if not self.alive or not (self.fencing is Fencing.DONE or self._reads_ahead):
            return
        given, self.inbox = self.inbox[:limit], self.inbox[limit:]
        for each in given:
            if isinstance(each, Entry):
                self._hear(each)
            else:
                self.engine.reached_end(each)
                if self.mutation is Mutation.END_BEFORE_RECORDS and self.engine.state is Life.RUNNING:
                    self.fire()
                    if not self.alive:
                        return
        self._stand()
        if self.world.keeps:
            self._keep()

    def _hear(self, entry: Entry) -> None:
        self._read_to = entry.offset
        hear(self.engine, entry, self.engine.horizon_ms)

    def collect(self, limit: int) -> None:
        """The bodies of far versions that are wanted are read again."""
        if not self.alive or self.world.ahead_ms is None:
            return
        if self.engine.state is Life.RESTORING:
            for far in self.engine.pending.soon(self.now_ms() + self.world.ahead_ms, limit):
                if (entry := self.world.log.at(far.offset)) is not None:
                    self.engine.supply(_stated(entry))
        wanted = [*self.engine.wanted(), *self.engine.look_ahead(self.now_ms() + self.world.ahead_ms, limit)]
        for offset in wanted:
            entry = self.world.log.at(offset)
            if entry is None:
                self.engine.gone(offset)
            elif not self.engine.there(offset):
                self.engine.supply(_stated(entry))

    def _stand(self) -> None:
        if self.engine.state is Life.RUNNING and not self._running_since_ms:
            self._running_since_ms = self.now_ms()

    # -- firing --------------------------------------------------------------------------------------

    def begin(self, limit: int) -> bool:
        """Take what is due and what is asked; tell whether there is anything to write."""
        if self._transaction is not None or self.engine.state is not Life.RUNNING:
            return False
        if limit > 1:  # else it takes its chance without the bodies that have not come
            self.collect(limit)
        now_ms = self.now_ms() + (1000 if self.mutation is Mutation.EARLY else 0)
        circumstances = Circumstances(self.name, self.now_ms(), self.world.since_delta, self._read_to)
        batch = self._take_asked(now_ms, circumstances)
        batch += self.engine.take(now_ms, min(limit, self._limit), oldest(now_ms, self.world.since_delta))
        self._batch = [each for each in (self._deliverable(each, now_ms, circumstances) for each in batch) if each]
        if not self._batch:
            return False
        self._outs = [out for settlement in self._batch for out in records(settlement, PLACE)]
        self._outs = mutated(self._outs, self.mutation)
        self._transaction = Transaction(self.name, context=circumstances)
        self._begun = False
        self.world.say(f"{self.name} takes {', '.join(map(_shown, self._batch))}")
        return True

    def _take_asked(self, now_ms: int, circumstances: Circumstances) -> list[Settlement]:
        batch: list[Settlement] = []
        waiting: list[tuple[bytes, Change]] = []
        for key, change in self.asked:
            if key in circumstances.asked or key in {key for key, _ in waiting}:
                waiting.append((key, change))
                continue
            try:
                settlement = self.engine.change(key, change, now_ms)
            except NotPendingError:
                continue
            if settlement is None:
                waiting.append((key, change))
            else:
                batch.append(settlement)
                circumstances.asked[key] = change
        self.asked = waiting
        return batch

    def _deliverable(self, settlement: Settlement, now_ms: int, circumstances: Circumstances) -> Settlement | None:
        """The settlement as it can be written; None where its target is waited for."""
        subject = settlement.subject
        if settlement.outcome is not Outcome.FIRED or not isinstance(subject, Schedule):
            return settlement
        if (subject.key, settlement.replaces) in self._refused:
            topics = frozenset((subject.target_topic,))
            return refused(settlement, Reason.TOO_LARGE, "it is too large", topics, PLACE)
        if subject.target_topic in self.world.targets:
            return settlement
        given_up_ms = max(subject.due_ms, subject.timestamp_ms, self._running_since_ms) + TARGET_GRACE_MS
        if now_ms >= given_up_ms:
            circumstances.given_up.add(subject.key)
            return undeliverable(settlement, Reason.UNKNOWN_TOPIC, "it is not there")
        circumstances.asked.pop(subject.key, None)
        self.engine.postpone(settlement, min(now_ms + RETRY_MS, given_up_ms))
        self.world.say(f"{self.name} postpones {_shown(settlement)}")
        return None

    def produce(self, count: int) -> None:
        """Some more records of the transaction arrive at their partitions."""
        transaction = self._transaction
        if transaction is None:
            return
        try:
            if not self._begun:
                self.coordinator.begin(self._epoch, transaction)
                self._begun = True
            for out in self._outs[:count]:
                log = self.world.logs[out.topic]
                if log.refuses(out.headers):
                    self._take_blame()
                    return
                self.coordinator.produce(self._epoch, transaction, log, out.key, out.value, out.headers, self.now_ms())
                if self.mutation is Mutation.TWO_TRANSACTIONS and out.topic != PLACE.topic:
                    self._commit_in_between(transaction)
                    transaction = self._transaction = Transaction(self.name, context=transaction.context)
                    self.coordinator.begin(self._epoch, transaction)
            del self._outs[:count]
        except FencedError:
            self.lost("fenced")
        except InvalidStateError:
            self._doubt()

    def _commit_in_between(self, transaction: Transaction) -> None:
        self.coordinator.end(self._epoch, State.COMMITTED)
        while transaction.unmarked:
            self.coordinator.write_marker(0)

    def end(self, *, arrives: bool = True, answered: bool = True, late: bool = False) -> None:
        """The commit is asked for.

        Args:
            arrives: the request reaches the coordinator.
            answered: the replica learns what became of it.
            late: the request is on its way, and arrives some time later.
        """
        if self._transaction is None:
            return
        if self._outs:
            self.produce(len(self._outs))
        if self._transaction is None:
            return
        if late:
            self.world.flying.append((self.coordinator, self._epoch))
        elif arrives:
            try:
                self.coordinator.end(self._epoch, State.COMMITTED)
            except FencedError:
                self.lost("fenced")
                return
            except InvalidStateError:
                answered = False
        if late or not arrives or not answered:
            self._doubt()
            return
        self._transaction = None
        self.engine.committed(self._batch)
        self._limit = min(5000, self._limit * 2)
        self.world.say(f"{self.name} has committed")

    def _doubt(self) -> None:
        """Nobody knows what became of the batch."""
        self._transaction = None
        self.world.say(f"{self.name} is in doubt")
        if self.mutation is Mutation.UNCERTAIN_IS_COMMITTED:
            self.engine.committed(self._batch)
            self._init_at_once()
            return
        self.engine.uncertain(self._batch)
        if self.mutation is Mutation.UNCERTAIN_IS_ABORTED:
            self._init_at_once()
            self.engine.fenced(0)
        elif self.mutation is Mutation.PRODUCER_KEPT:
            try:
                self.coordinator.end(self._epoch, State.ABORTED)
            except FencedError:
                self.lost("fenced")
                return
            except InvalidStateError:
                pass  # it was committed after all
            while self.coordinator.write_marker(0):
                pass
            self.fencing = Fencing.MARK
        else:
            self.fencing = Fencing.ASK

    def _init_at_once(self) -> None:
        while True:
            try:
                self._epoch = self.coordinator.init()
            except NotYetError:
                self.coordinator.write_marker(0)
            else:
                return

    def _take_blame(self) -> None:
        """A record is refused: the one at fault is known where it stands alone."""
        if len(self._batch) == 1:
            (settlement,) = self._batch
            self._refused.add((settlement.subject.key or b"", settlement.replaces))
        self.stumble()

    def stumble(self) -> None:
        """The transaction fails before its end is asked for, as when a record is refused; the next one is smaller."""
        if self._transaction is not None:
            self._limit = max(1, len(self._batch) // 2)
            self._doubt()

    def think_again(self) -> None:
        """What was taken is not written, as where it was prepared and something came between.

        Who has asked for a change in it waits: nothing is prepared then.
        """
        transaction = self._transaction
        if transaction is None or self._begun or transaction.context.asked:
            return
        self._transaction = None
        self._outs = []
        self.engine.returned(self._batch)
        self.world.say(f"{self.name} thinks again")

    def fire(self, limit: int = 5000) -> bool:
        """Take, write and commit; tell whether there was anything to do."""
        began = self.begin(limit)
        self.end()
        return began

    def listen(self) -> None:
        """Fence, and hear everything there is to hear."""
        for _ in Fencing:
            self.fence()
        self.fetch(10_000)
        self.apply(10_000)

    def work(self) -> bool:
        """All that it can do by itself now; tell whether it wrote anything."""
        self.listen()
        for _ in range(3):  # what is due, or to be told, may turn out to want its body
            self.collect(1000)
            if self.fire():
                return True
        return False

    def in_force(self) -> list[Schedule]:
        """What it has, near and far, with the bodies as they stand in the log."""
        found = []
        for version in [*self.engine.pending, *self.engine.pending.far()]:
            if not isinstance(version, Far):
                found.append(version)
            elif (entry := self.world.log.at(version.offset)) is not None:
                found.append(_stated(entry))
        return found

    @property
    def idle(self) -> bool:
        """Whether it runs, and has read and written all that there was."""
        log = self.world.log
        read = self.position >= log.end and not self.inbox
        return read and self.engine.state is Life.RUNNING and not (self._transaction or self.asked)

    def lost(self, why: str) -> None:
        """Fenced, stopped or crashed."""
        if self.alive:
            self.world.say(f"{self.name} is {why}")
        self._transaction = None
        self.asked.clear()
        self.engine.lost()


def _stated(entry: Entry) -> Schedule:
    stated = decode(entry.key, entry.value, entry.headers, timestamp_ms=entry.timestamp_ms, offset=entry.offset)
    assert isinstance(stated, Schedule)
    return stated


def _shown(settlement: Settlement) -> str:
    subject = settlement.subject
    said = settlement.outcome or "again"
    return f"{subject.key!r}@{subject.offset} ({said})"
