"""A model of one Kafka partition and of the replicas that own it in turn, for simulations of the pure core.

It has what the protocol stands on: transactions with a last stable offset, fencing by epoch, commit
markers that take up offsets, aborted records, compaction, clients that hold a transaction open, owners
that crash, freeze and come back. What it has not: time inside a call. A step is atomic.

`Mutation` switches single defences off: a simulation that does not notice proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise

from scheduler import wire
from scheduler.engine.changes import Change, NotPendingError, Verb
from scheduler.engine.life import State
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Out, Place, Settlement, records
from scheduler.instants import epoch_ms, format_epoch
from scheduler.schedule import Header, Outcome, Schedule

PLACE = Place("schedules", 0, "history", "dead-letters")
TARGET = "target"
COMPACTION_LAG_MS = 600_000


class Mutation(Enum):
    """A defence that is switched off."""

    NO_FENCE = auto()  # the old owner is not fenced
    MARK_IS_LAST_STABLE = auto()  # restore only up to the last stable offset
    END_BEFORE_RECORDS = auto()  # the end of a batch is applied before its records
    READS_UNCOMMITTED = auto()  # restore sees what was aborted
    BLIND_TOMBSTONE = auto()  # the tombstone does not say which version it ends
    TWO_TRANSACTIONS = auto()  # target and tombstone are not one transaction
    UNCERTAIN_IS_COMMITTED = auto()  # an unknown outcome is taken for success
    UNCERTAIN_IS_ABORTED = auto()  # an unknown outcome is taken for failure
    EARLY = auto()  # the clock is read a second ahead
    CONTINUES_BLINDLY = auto()  # an update of a recurring schedule is due when its writer saw the old one due


@dataclass
class Transaction:
    """Open until decided; its records take effect when it commits."""

    state: str = "open"
    elsewhere: list[Out] = field(default_factory=list)
    asked: list[Version] = field(default_factory=list)
    """What an operator has asked for, and is so once this commits."""


@dataclass
class Entry:
    """A record of the schedules partition, or a marker (no key)."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp_ms: int
    transaction: Transaction | None = None


class Fenced(Exception):  # noqa: N818 - it is what the broker says
    """The writer's epoch is not the newest."""


class Broker:
    """One partition with all that was ever delivered from it."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000_000_000
        self.log: list[Entry] = []
        self.end = 0
        self.epoch = 0
        self.owners_transaction: Transaction | None = None
        self.delivered: list[tuple[int, Out]] = []
        """What read_committed readers of the target and of the history have seen, and when."""
        self.asked: list[Version] = []
        """What operators have asked for and got."""

    def append(self, key: bytes | None, value: bytes | None, headers: list[Header], txn: Transaction | None) -> int:
        self.log.append(Entry(self.end, key, value, headers, self.now_ms, txn))
        self.end += 1
        return self.end - 1

    def last_stable_offset(self) -> int:
        for entry in self.log:
            if entry.transaction is not None and entry.transaction.state == "open":
                return entry.offset
        return self.end

    def decide(self, txn: Transaction, state: str) -> None:
        if txn.state != "open":
            return
        txn.state = state
        self.append(None, None, [], None)  # the marker takes an offset
        if state == "committed":
            self.delivered.extend((self.now_ms, out) for out in txn.elsewhere)
            self.asked.extend(txn.asked)

    def fence(self) -> int:
        """A new owner's init_transactions: the old one's transaction is aborted, its epoch is void."""
        self.epoch += 1
        if self.owners_transaction is not None:
            self.decide(self.owners_transaction, "aborted")
            self.owners_transaction = None
        return self.epoch

    def begin(self, epoch: int | None, outs: list[Out]) -> Transaction:
        if epoch is not None and epoch != self.epoch:
            raise Fenced
        txn = Transaction()
        for out in outs:
            if out.topic == PLACE.topic:
                self.append(out.key, out.value, out.headers, txn)
            else:
                txn.elsewhere.append(out)
        if epoch is not None:
            self.owners_transaction = txn
        return txn

    def commit(self, epoch: int | None, txn: Transaction) -> None:
        if txn.state == "aborted" or (epoch is not None and epoch != self.epoch):
            raise Fenced
        self.decide(txn, "committed")

    def compact(self) -> int:
        """Drop what newer records of the same key hide, where both are old enough and decided."""
        stable = self.last_stable_offset()
        old = self.now_ms - COMPACTION_LAG_MS
        newest = {
            entry.key: entry.offset
            for entry in self.log
            if entry.offset < stable and entry.key and entry.timestamp_ms <= old and not _aborted(entry)
        }
        before = len(self.log)
        self.log = [
            entry
            for entry in self.log
            if entry.offset >= stable
            or entry.timestamp_ms > old
            or (entry.key and not _aborted(entry) and newest[entry.key] == entry.offset)
        ]
        return before - len(self.log)


def _aborted(entry: Entry) -> bool:
    return entry.transaction is not None and entry.transaction.state == "aborted"


class Replica:
    """An owner of the partition: the engine with a reader and a transactional writer around it."""

    def __init__(self, broker: Broker, mutation: Mutation | None = None) -> None:
        self.broker = broker
        self.mutation = mutation
        self.engine = PartitionEngine()
        self.position = 0
        self.epoch = -1
        self._batch: list = []
        self._txn: Transaction | None = None
        self._fence()

    @property
    def alive(self) -> bool:
        return self.engine.state is not State.CLOSED

    @property
    def in_transaction(self) -> bool:
        return self._txn is not None

    def _fence(self) -> None:
        broker = self.broker
        if self.mutation is Mutation.NO_FENCE:
            self.epoch = broker.epoch
        else:
            self.epoch = broker.fence()
        lso = self.mutation is Mutation.MARK_IS_LAST_STABLE
        self.engine.fenced(broker.last_stable_offset() if lso else broker.end)

    def read(self, limit: int) -> None:
        """Read some records; the end, where it is reached, comes in the same batch behind them."""
        if not self.alive:
            return
        broker = self.broker
        stable = broker.end if self.mutation is Mutation.READS_UNCOMMITTED else broker.last_stable_offset()
        readable = [entry for entry in broker.log if self.position <= entry.offset < stable]
        batch = readable[:limit]
        at_end = len(batch) == len(readable)
        if at_end and self.mutation is Mutation.END_BEFORE_RECORDS:
            self.engine.reached_end(stable)
            self.fire(5000)
        for entry in batch:
            self.position = entry.offset + 1
            visible = not _aborted(entry) or self.mutation is Mutation.READS_UNCOMMITTED
            if entry.key is None or not visible:
                continue
            if entry.value is None and self.engine.has_no_use_for_tombstone(entry.key):
                continue
            self.engine.record(
                entry.key, entry.value, entry.headers, timestamp_ms=entry.timestamp_ms, offset=entry.offset
            )
        if at_end:
            self.position = max(self.position, stable)
            if self.mutation is not Mutation.END_BEFORE_RECORDS:
                self.engine.reached_end(stable)

    def begin(self, limit: int, *, postpone: bool = False) -> bool:
        """Write a batch, as far as the commit; tell whether there was one. `postpone`: a target is not there."""
        if not self.alive or self._txn is not None:
            return False
        ahead_ms = 1000 if self.mutation is Mutation.EARLY else 0
        self._batch = self.engine.take(self.broker.now_ms + ahead_ms, limit)
        if postpone and self._batch and self._batch[-1].outcome is Outcome.FIRED:
            self.engine.postpone(self._batch.pop(), self.broker.now_ms + 500)
        return self._begin([])

    def ask(self, key: bytes, change: Change) -> None:
        """An operator asks for a change, which is written as far as the commit."""
        if not self.alive or self._txn is not None:
            return
        try:
            settlement = self.engine.change(key, change, self.broker.now_ms)
        except NotPendingError:
            return
        if settlement is None:
            return
        self._batch = [settlement]
        self._begin([_asked(settlement, change.verb)])

    def _begin(self, asked: list[Version]) -> bool:
        if not self._batch:
            return False
        outs = [out for settlement in self._batch for out in records(settlement, PLACE)]
        if self.mutation is Mutation.BLIND_TOMBSTONE:
            blind = str(2**40).encode()
            outs = [
                out._replace(
                    headers=[(n, blind if n == wire.REPLACES and not out.value else v) for n, v in out.headers]
                )
                for out in outs
            ]
        try:
            if self.mutation is Mutation.TWO_TRANSACTIONS:
                first = self.broker.begin(self.epoch, [out for out in outs if out.topic != PLACE.topic])
                self.broker.commit(self.epoch, first)
                outs = [out for out in outs if out.topic == PLACE.topic]
            self._txn = self.broker.begin(self.epoch, outs)
            self._txn.asked = asked
        except Fenced:
            self._lost()
        return True

    def commit(self) -> None:
        """The commit returns."""
        if self._txn is None:
            return
        try:
            self.broker.commit(self.epoch, self._txn)
        except Fenced:
            self._lost()
            return
        self._txn = None
        self.engine.committed(self._batch)

    def commit_without_answer(self, *, took_effect: bool) -> None:
        """The commit raises; the broker may have done it. The owner fences itself and reads the log."""
        if self._txn is None:
            return
        if took_effect:
            try:
                self.broker.commit(self.epoch, self._txn)
            except Fenced:
                self._lost()
                return
        self._txn = None
        if self.mutation is Mutation.UNCERTAIN_IS_COMMITTED:
            self.epoch = self.broker.fence()
            self.engine.committed(self._batch)
            return
        self.engine.uncertain(self._batch)
        if self.mutation is Mutation.UNCERTAIN_IS_ABORTED:
            self.epoch = self.broker.fence()
            self.engine.fenced(0)
            return
        if self.epoch != self.broker.epoch:
            self._lost()
        else:
            self._fence()

    def fire(self, limit: int) -> bool:
        """Begin and commit; tell whether there was anything to do."""
        began = self.begin(limit)
        self.commit()
        return began

    def _lost(self) -> None:
        self._txn = None
        self.engine.lost()


@dataclass(frozen=True)
class Version:
    """A record that a client wrote: what the oracle judges by."""

    offset: int
    key: bytes
    kind: str
    due_ms: int
    payload: bytes


def _asked(settlement: Settlement, verb: Verb) -> Version:
    """What the oracle has to know of a change: the same version, with another end or another due time."""
    subject = settlement.subject
    assert isinstance(subject, Schedule)
    if verb is Verb.CANCEL:
        return Version(subject.offset, subject.key, "cancel", 0, b"")
    kind = "schedule" if subject.rule is None else "recurring"
    due_ms = settlement.due_ms if settlement.successor is None else settlement.successor_due_ms
    return Version(subject.offset, subject.key, kind, due_ms, subject.value)


class World:
    """A broker, clients and replicas; every step is a method, `settle` ends it, `judge` finds fault."""

    def __init__(self, mutation: Mutation | None = None) -> None:
        self.broker = Broker()
        self.mutation = mutation
        self.replicas: list[Replica] = [Replica(self.broker, mutation)]
        self.versions: list[Version] = []
        self.compacted = 0
        self._serial = 0
        self._held: list[tuple[Transaction, Version]] = []
        self._seen: dict[bytes, Schedule] = {}
        """What a planner has read and not yet changed."""

    @property
    def owner(self) -> Replica:
        return self.replicas[-1]

    # -- clients -------------------------------------------------------------------------------------

    def schedule(self, key: bytes, delay_ms: int, *, every: str | None = None, hold: bool = False) -> None:
        """Write a schedule; `hold` leaves the client's transaction open."""
        self._serial += 1
        due_ms = self.broker.now_ms + delay_ms
        payload = b"v%d" % self._serial
        headers = wire.schedule_headers(TARGET, due_ms=due_ms, cron=every and f"@every {every}")
        kind = "schedule" if every is None else "recurring"
        self._write(key, payload, headers, kind, due_ms, hold=hold)

    def look(self, key: bytes) -> None:
        """A planner reads what is in force; what it writes later stands on that."""
        reader = PartitionEngine()
        stable = self.broker.last_stable_offset()
        for entry in self.broker.log:
            if entry.key is not None and entry.offset < stable and not _aborted(entry):
                reader.record(
                    entry.key, entry.value, entry.headers, timestamp_ms=entry.timestamp_ms, offset=entry.offset
                )
        found = reader.pending.get(key)
        if found is not None and found.rule is not None:
            self._seen[key] = found
        else:
            self._seen.pop(key, None)

    def carry_on(self, key: bytes, *, hold: bool = False) -> None:
        """The planner changes the payload of what it saw, not when it is due.

        Where another client had a say meanwhile, it is that one's schedule, and nothing is promised.
        """
        seen = self._seen.pop(key, None)
        if seen is None or seen.value != self._last_word_on(key):
            return
        self._serial += 1
        payload = b"%s+%d" % (seen.value.partition(b"+")[0], self._serial)
        headers = wire.schedule_headers(TARGET, due_ms=seen.due_ms, cron="@every 7s")
        if self.mutation is not Mutation.CONTINUES_BLINDLY:
            headers.append((wire.CONTINUES, b"true"))
        self._write(key, payload, headers, "recurring", seen.due_ms, hold=hold)

    def _last_word_on(self, key: bytes) -> bytes:
        """The payload of the last record of a client about a key, held ones included."""
        of_clients = (*self.versions, *(version for _, version in self._held))
        return max((each for each in of_clients if each.key == key), key=lambda each: each.offset).payload

    def cancel(self, key: bytes, *, hold: bool = False) -> None:
        self._write(key, None, [], "cancel", 0, hold=hold)

    def malformed(self, key: bytes) -> None:
        self._serial += 1
        self._write(key, b"bad%d" % self._serial, [(wire.EPOCH, b"soon")], "malformed", 0, hold=False)

    def _write(
        self, key: bytes, value: bytes | None, headers: list[Header], kind: str, due_ms: int, *, hold: bool
    ) -> None:
        txn = Transaction() if hold else None
        offset = self.broker.append(key, value, headers, txn)
        version = Version(offset, key, kind, due_ms, value or b"")
        if txn is None:
            self.versions.append(version)
        else:
            self._held.append((txn, version))

    def decide_held(self, *, commit: bool) -> None:
        """The client that holds the oldest open transaction ends it."""
        if self._held:
            txn, version = self._held.pop(0)
            self.broker.decide(txn, "committed" if commit else "aborted")
            if commit:
                self.versions.append(version)

    # -- the world -----------------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        self.broker.now_ms += ms

    def compact(self) -> None:
        """The broker compacts; within the compaction lag some owner has come to rest.

        That much is promised and no more: a version that something hides (a malformed update, the
        record of an owner that crashed) is written again by the next owner, if it comes within the lag.
        A client that holds a transaction open keeps every new owner from coming to rest.
        """
        if self._held:
            return
        self.owner.commit()
        self._rest(self.owner)
        self.compacted += self.broker.compact()

    def take_over(self) -> None:
        """Another replica becomes the owner; the one before does not know yet."""
        self.replicas.append(Replica(self.broker, self.mutation))

    def replica(self, back: int) -> Replica:
        """The owner (0), or one that was it some time ago."""
        return self.replicas[-1 - back % min(len(self.replicas), 3)]

    def settle(self) -> None:
        """Every client and zombie comes to its end, a last owner does all there is to do."""
        while self._held:
            self.decide_held(commit=True)
        self.advance(60_000)
        for replica in self.replicas:
            replica.commit()
        self.take_over()
        self._rest(self.owner)
        for schedule in [each for each in self.owner.engine.pending if each.paused]:
            self.owner.ask(schedule.key, Change(Verb.RESUME))
            self.owner.commit()
        self._rest(self.owner)
        assert self.owner.position >= self.broker.end, "the last owner does not reach the end"

    def _rest(self, replica: Replica) -> None:
        for _ in range(200):
            replica.read(10_000)
            if not replica.fire(5000):
                return
        raise AssertionError("the owner never comes to rest")

    # -- the judge -----------------------------------------------------------------------------------

    def judge(self) -> None:  # noqa: PLR0912, PLR0915 - a list of rules
        """Compare what clients were told with what was delivered, by offsets."""
        fired: dict[tuple[bytes, int], int] = {}
        jobs: dict[tuple[bytes, int], int] = {}
        moved = {version.key for version in self.broker.asked}
        history: dict[tuple[str, bytes], int] = {}
        for at_ms, out in self.broker.delivered:
            said = dict(out.headers)
            if out.topic == TARGET:
                due_ms = epoch_ms((said[wire.EPOCH] or b"").decode())
                assert due_ms is not None
                assert at_ms >= due_ms, f"early: {out.value!r}"
                name = (out.value or b"", due_ms)
                fired[name] = fired.get(name, 0) + 1
                assert fired[name] == 1, f"doubled: {name}"
                if (said[wire.KEY] or b"") in moved:
                    continue  # an operator may ask for the same instant again
                job = (name[0].partition(b"+")[0], due_ms)
                jobs[job] = jobs.get(job, 0) + 1
                assert jobs[job] == 1, f"doubled by a change: {name}"
            else:
                outcome = (said[wire.OUTCOME] or b"").decode()
                entry = (outcome, (out.value or b"") + (said.get(wire.EPOCH) or b""))
                history[entry] = history.get(entry, 0) + 1
        for (outcome, payload), count in history.items():
            assert count == 1, f"history says {outcome} {count} times of {payload!r}"
        assert sum(1 for outcome, _ in history if outcome == Outcome.FIRED) == len(fired), "target is not history"

        ended = {payload: outcome for outcome, payload in history if outcome != Outcome.REJECTED}
        assert len(ended) == sum(1 for outcome, _ in history if outcome != Outcome.REJECTED), "ended in two ways"

        pending = {schedule.key: schedule for schedule in self.owner.engine.pending}
        by_key: dict[bytes, list[Version]] = {}
        for version in sorted((*self.versions, *self.broker.asked), key=lambda v: v.offset):
            if version.kind != "malformed":
                by_key.setdefault(version.key, []).append(version)
        payloads_fired = {payload for payload, _ in fired}
        for key, versions in by_key.items():
            last = versions[-1]
            if last.kind == "schedule":
                assert last.payload in payloads_fired, f"lost: {last}"
            elif last.kind == "recurring":
                assert key in pending, f"lost: {last}"
                assert pending[key].value == last.payload, f"wrong version of {key!r}"
            else:
                assert key not in pending, f"cancelled but pending: {key!r}"
        for key, schedule in pending.items():
            assert schedule.rule is not None, f"due and not fired: {key!r}"
        for versions in by_key.values():
            for version, following in pairwise(versions):
                if version.kind == "schedule" and following.kind != "cancel" and following.payload != version.payload:
                    name = version.payload + format_epoch(version.due_ms)
                    assert ended.get(name) != Outcome.CANCELLED, f"replaced, and told to be cancelled: {version}"
        if self.compacted == 0:
            told = set(ended)
            for versions in by_key.values():
                for version, following in pairwise(versions):
                    if version.kind == "schedule" and following.kind == "cancel":
                        name = version.payload + format_epoch(version.due_ms)
                        assert name in told, f"neither fired nor told to be cancelled: {version}"
            rejected = {payload for outcome, payload in history if outcome == Outcome.REJECTED}
            for version in self.versions:
                if version.kind == "malformed":
                    assert version.payload in {payload[: len(version.payload)] for payload in rejected}, (
                        f"not in the history: {version}"
                    )
