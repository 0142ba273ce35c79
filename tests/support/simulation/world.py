"""A broker, its clients, operators and replicas: every step is a method, `settle` brings all to rest.

A step that makes no sense at the moment does nothing, so that steps can be left out of a failing walk and what is left
still runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.engine.changes import Change, Verb
from scheduler.engine.partition import PartitionEngine
from scheduler.recurrence import parse_rule
from tests.support.simulation.broker import (
    DELETE_RETENTION_MS,
    Coordinator,
    Entry,
    FencedError,
    InvalidStateError,
    Log,
    State,
)
from tests.support.simulation.clients import CLIENT, Clients
from tests.support.simulation.mutations import ENGINES, Mutation
from tests.support.simulation.reference import NONSENSE, Reference
from tests.support.simulation.replica import PLACE, RETRY_MS, Replica
from tests.support.simulation.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Callable

START_MS = 1_000_000_000_000
SOON_MS = 1_000
LATE_TARGET = "late"
"""A topic that is not always there."""
MOST_WORK = 1000
"""Transactions until all is done."""
DISKS = 2
"""Where replicas keep things: two replicas after one another have the same one, then two have the other."""
ZOMBIES = 3
"""Replicas that still get steps after others have taken over."""


class BrokenError(AssertionError):
    """A promise is broken."""


class World(Clients):
    """One partition of a schedules topic, and all who have to do with it."""

    def __init__(
        self,
        mutation: Mutation | None = None,
        since_delta: int | None = None,
        tell: Callable[[str], None] | None = None,
        ahead_ms: int | None = None,
    ) -> None:
        super().__init__(Log(PLACE.topic), START_MS, mutation, tell)
        self.since_delta = since_delta
        self.ahead_ms = ahead_ms
        """Of what is due later than that, a replica keeps no body; None: it keeps all."""
        self.logs = {PLACE.topic: self.log}
        for name in ("target", LATE_TARGET):
            self.logs[name] = Log(name, strict=True)
        for name in (PLACE.history_topic, PLACE.dead_letter_topic):
            self.logs[name] = Log(name)
        self.targets = {"target", LATE_TARGET}
        self.coordinator = Coordinator()
        self.flying: list[tuple[Coordinator, int]] = []
        """Commits that are on their way: of which coordinator, for which epoch."""
        self.compacted = 0
        self.keeps = ahead_ms is not None and ahead_ms != SOON_MS
        """Whether what is pending is kept, and who takes over begins with that."""
        self.kept: dict[int, tuple[int, bytes]] = {}
        """When something was kept last on each disk, and what."""
        self.standby: Standby | None = None
        """A replica that follows and does not own."""
        self.replicas: list[Replica] = []
        self._made_ms = 0
        self._jumped = False
        self._names = 0
        self.take_over()

    def new_engine(self) -> PartitionEngine:
        return ENGINES.get(self.mutation, PartitionEngine)()

    def replica(self, back: int) -> Replica:
        """The owner (0), or one that was it some time ago."""
        return self.replicas[-1 - back % min(len(self.replicas), ZOMBIES)]

    # -- operators -----------------------------------------------------------------------------------

    def ask(self, back: int, key: bytes, verb: Verb, delay_ms: int, rule: str | None) -> None:
        """An operator asks a replica for a change."""
        replica = self.replica(back)
        if not replica.alive:
            return
        change = Change(verb)
        if verb is Verb.RESCHEDULE:
            change = Change(verb, self.now_ms + delay_ms, None if rule is None else parse_rule(rule))
        replica.asked.append((key, change))
        self.say(f"operator asks {replica.name} to {verb} {key!r}")

    # -- the world -----------------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        self.now_ms += ms
        self.say(f"now it is {self.now_ms}")

    def jump(self, back: int, skew_ms: int) -> None:
        """A replica's clock is set."""
        self.replica(back).skew_ms = skew_ms
        self._jumped = True
        self.say(f"clock of {self.replica(back).name} is {skew_ms} ms ahead")

    def take_over(self, *, follows: bool = False) -> None:
        """The group gives the partition to another replica; the one before does not know yet.

        Args:
            follows: it is the one that has followed, if there is one; what is followed on is another's business.
        """
        self._names += 1
        followed = None
        if follows and self.standby is not None:
            followed, self.standby = self.standby if self.standby.is_good else None, None
        self.assigned = Replica(self, f"r{self._names}", self._names // 2 % DISKS, followed)
        self.replicas.append(self.assigned)
        self.say(f"{self.assigned.name} is given the partition")

    def follow(self, limit: int, *, asks: bool, forgets: bool) -> None:
        """A replica that does not own the partition reads on; afresh, where it was left behind."""
        if self.standby is None or not self.standby.is_good:
            self.standby = Standby(self)
        self.standby.read(limit, asks=asks, forgets=forgets)
        self.say(f"it is followed to {self.standby.position}")

    def stop(self, back: int) -> None:
        """A replica crashes, or learns that it is not the owner any more; its requests may be on their way."""
        self.replica(back).lost("stopped")

    def time_out(self) -> None:
        """Kafka aborts a transaction that has lasted too long."""
        if self.coordinator.time_out():
            self.say("the owner's transaction has timed out")

    def write_marker(self, which: int) -> None:
        """One partition learns how a transaction has ended."""
        log = self.coordinator.write_marker(which)
        if log is not None:
            self.say(f"{log.name} has its marker")

    def arrive(self) -> None:
        """A commit that was delayed arrives."""
        if self.flying:
            coordinator, epoch = self.flying.pop(0)
            try:
                coordinator.end(epoch, State.COMMITTED)
            except (FencedError, InvalidStateError):
                return
            self.say("a delayed commit takes effect")

    def move_target(self, *, there: bool) -> None:
        """A target topic is made, or deleted."""
        if there and LATE_TARGET not in self.targets:
            self._made_ms = self.now_ms
        (self.targets.add if there else self.targets.discard)(LATE_TARGET)
        self.say(f"the topic {LATE_TARGET} is {'there' if there else 'not there'}")

    def rest(self) -> None:
        """The owner gets all the time that it needs. Then all is said, and nothing is due."""
        for _ in range(MOST_WORK):
            if not self.assigned.work() and not self.coordinator.write_marker(0):
                break
        if not self.assigned.idle:
            return
        unsaid = self.unsaid()
        if unsaid:
            raise BrokenError(f"an owner at rest has something to say: of {sorted(unsaid)}")
        reference = Reference(entries_of(self.log))
        now_ms = self.assigned.now_ms()
        looked_ms = min(now_ms, self.now_ms) - RETRY_MS
        for version in () if reference.held(self.log.end) else reference.in_force.values():
            there = version.target in self.targets and (version.target != LATE_TARGET or self._made_ms <= looked_ms)
            if version.due_ms <= now_ms and there and not version.paused and not self._jumped:
                raise BrokenError(f"an owner at rest has something due: {version}")
        shown = self._shown()
        if shown != set(reference.in_force):
            raise BrokenError(f"an owner at rest shows {sorted(shown)}, not {sorted(reference.in_force)}")

    def _shown(self) -> set[bytes]:
        owner = self.assigned
        keys = {version.offset: version.key for version in owner.in_force()}
        return {keys[version.offset] for version in owner.engine.page(-1, MOST_WORK)}

    def compact(self) -> None:
        """The cleaner runs; a walk is not fair to owners, so it leaves what an owner that gets its time would not need.

        What an owner has yet to read or to say: `min.compaction.lag.ms` is there for that. Tombstones that a restore
        under way has yet to come to: `delete.retention.ms`. And, where replicas cannot read a record again, what
        tells a restore that a cancel is in the history, or came too late; without it, that is told again.
        """
        owner = self.assigned
        readers = [replica.position for replica in self.replicas if replica.restoring]
        if self.standby is not None and self.standby.restores:
            readers.append(self.standby.position)
        read = self.log.end if owner.restoring or not owner.alive else owner.position
        spared = self.unsaid()
        if self.ahead_ms is None:
            spared = spared.union(*map(self._told_behind, readers))
        retention_ms = DELETE_RETENTION_MS
        if self.mutation is Mutation.NO_LAG:
            read, spared = self.log.end, set()
        elif self.mutation is Mutation.TOMBSTONES_GONE:
            readers, spared, retention_ms = [], self.unsaid(), 0
        removed = self.log.compact(
            self.now_ms, read, spared, lambda offset: all(offset < position for position in readers), retention_ms
        )
        self.compacted += removed
        if removed:
            self.say(f"{removed} records are cleaned away, not of {sorted(spared)}")

    def _told_behind(self, position: int) -> set[bytes]:
        """Keys known from before that position, of which an owner speaks behind it, with something to tell."""
        before, behind, to_tell = set(), set(), set()
        for entry in self.log.entries:
            if entry.key is None:
                continue
            if entry.offset < position:
                before.add(entry.key)
            elif entry.transaction is not None and entry.transaction.by != CLIENT:
                behind.add(entry.key)
                continue
            if entry.value is None or entry.value.startswith(NONSENSE):
                to_tell.add(entry.key)
        return before & behind & to_tell

    def unsaid(self) -> set[bytes]:
        """Keys whose newest record does not say all that is to be known of them."""
        stable = self.log.last_stable_offset()
        entries = [entry for entry in self.log.archive if entry.offset < stable]
        reference = Reference(entries)
        history = [entry for entry in self.logs[PLACE.history_topic].archive if entry.committed]
        told = {entry.value for entry in history}
        cancelled = {entry.value for entry in history if ("scheduler-outcome", b"cancelled") in entry.headers}
        unsaid = {entry.key for entry in reference.malformed if entry.value not in told}
        recurring = reference.recurring()
        for each in reference.cancelled:
            version = each.version
            if version.payload not in (cancelled if version.payload in recurring else told):
                unsaid.add(version.key)
        for key, entry in reference.last.items():
            alone, now = Reference([entry]).now(key), reference.now(key)
            if (alone and alone.content) != (now and now.content) or (alone and alone.continues):
                unsaid.add(key)
        return {key for key in unsaid if key is not None}

    # -- the end -------------------------------------------------------------------------------------

    def settle(self, *, afresh: bool) -> None:
        """Every client, zombie and late request comes to its end, and an owner does all that there is to do.

        Args:
            afresh: it is a new one, or else the last one where that is well.
        """
        while self._held:
            self.end_held(commit=True)
        for replica in self.replicas:
            replica.skew_ms = 0
        self.targets.add(LATE_TARGET)
        self.pause_all(on=False)
        self.advance(60_000)
        for replica in self.replicas:
            replica.end()
        while self.flying:
            self.arrive()
        self.time_out()  # what nobody ends any more
        while self.coordinator.write_marker(0):
            pass
        if afresh or not self.assigned.alive:
            self.take_over()
        self._rest()
        rounds = 0
        while paused := sorted(schedule.key for schedule in self.assigned.engine.pending if schedule.paused):
            self.assigned.asked += [(key, Change(Verb.RESUME)) for key in paused]
            self._rest()
            rounds += 1
            if rounds > 9:
                raise BrokenError("what is paused does not go on")

    def sums(self) -> dict[str, int]:
        """How much there was of what."""
        of_owners = {
            entry.transaction: entry.transaction.state
            for log in self.logs.values()
            for entry in log.archive
            if entry.transaction is not None and entry.transaction.by != CLIENT
        }
        committed = sum(state is State.COMMITTED for state in of_owners.values())
        return {
            "records of clients": sum(e.transaction is None or e.transaction.by == CLIENT for e in self.log.archive),
            "firings": sum(len(entries_of(self.logs[name])) for name in ("target", LATE_TARGET)),
            "transactions committed": committed,
            "aborted": len(of_owners) - committed,
            "owners": len(self.replicas),
            "records cleaned away": self.compacted,
        }

    def _rest(self) -> None:
        """The owner comes to rest; one that finds itself fenced by then is replaced."""
        for _ in range(3):
            self.advance(1000)  # targets are looked at again, and requests wait for the clock
            quiet = 0
            for _ in range(MOST_WORK):
                if not self.assigned.alive:
                    self.take_over()
                quiet = 0 if self.assigned.work() else quiet + 1
                while self.coordinator.write_marker(0):
                    quiet = 0
                if quiet > 1:
                    break
            else:
                raise BrokenError("the owner never comes to rest")


def entries_of(log: Log) -> list[Entry]:
    """All committed records that were ever in it."""
    return [entry for entry in log.archive if entry.committed]
