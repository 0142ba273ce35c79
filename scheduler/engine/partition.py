"""The engine of one partition: its log in, settlements out.

The rule that everything follows from: a record that carries `scheduler-replaces: o` was written by an
owner for the version at offset `o`, and takes effect only where nothing newer than `o` is in force. A
customer's record, which carries none, always takes effect. So an update or a cancel that lands between
the reading of a version and the record that ends it is never lost: it stays in force, and because that
record now hides it from compaction, the owner writes it again (a *shadowed* version).

What is in force is in `pending`; what has to be told or written again, in `unsaid`; what an owner may not have heard of
when it wrote, in `cancels`; what has to be read again, in `wants`.
"""

from __future__ import annotations

from heapq import heappop, heappush, merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from scheduler import wire
from scheduler.engine.cancels import Cancels
from scheduler.engine.changes import Change, NotPendingError, Verb, continuing, rewritten
from scheduler.engine.far import Far
from scheduler.engine.kept import Kept
from scheduler.engine.life import Fact, State, after
from scheduler.engine.occurrence import decide
from scheduler.engine.pending import Pending, place
from scheduler.engine.settlement import Settlement
from scheduler.engine.unsaid import Unsaid
from scheduler.engine.wants import Wants
from scheduler.instants import LATEST_MS
from scheduler.schedule import Cancel, Header, Outcome, Pause, Reason, Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scheduler.engine.far import Versions

SAME_INSTANT_MS = 1000
"""A record stamped less than this ahead of the clock was written just now, by a clock that is a little ahead."""
MOST_FORESEEN = 4_000_000
"""Versions for which room is made before they have come; 12 bytes each."""
_FIRED: Final = Outcome.FIRED
"""A name is asked four times as fast as an enumeration."""


class PartitionEngine:
    """Which versions are in force in one partition, and what has to be done about them."""

    def __init__(self) -> None:
        self.state = State.RESTORING
        self.pending = Pending()
        self.accepted = 0
        """Versions that a customer's record has brought in force; only grows."""
        self._unsaid = Unsaid()
        self._nameless: list[Rejected] = []
        """Refused records without a key, which are yet to be told of."""
        self._cancels = Cancels()
        self._is_overtaken = False
        """Whether another owner was read to write, which a running one does not expect: it is not that any more."""
        self._written: set[bytes] = set()
        """Keys whose successor is written but not read yet. They are left alone until it is: only then is
        it known what stands between the two."""
        self._waiting: dict[bytes, Schedule] = {}
        """Versions that are due of such keys, and of those that wait for a record to be read again."""
        self._gone: dict[bytes, Schedule] = {}
        """Recurring or paused versions whose tombstone is written but not read yet: an update that stands before it
        in the log may continue them."""
        self._postponed: list[tuple[int, int, bytes]] = []
        """A heap of when to try again, offset, key: versions that are due and cannot be delivered yet."""
        self._on_request: set[int] = set()
        """Offsets of versions that the batch under way ends or fires because that was asked for."""
        self.paused = False
        """Whether a record of `PAUSE_KEY` holds the whole partition."""
        self.horizon_ms = LATEST_MS
        """The bodies of versions due until then are kept; of others `far` may be told instead."""
        self._wants = Wants()
        self._end = -1
        self._mark: int | None = None

    # -- what the log says ---------------------------------------------------------------------------

    def has_no_use_for_tombstone(self, key: bytes) -> bool:
        """Whether a null record of this key changes nothing, so that its headers need not be read.

        The echo of every firing is one, so this is asked as often as something fires.
        """
        return (
            self.state is State.RUNNING
            and key not in self.pending
            and key not in self._written
            and key not in self._unsaid.by_key
            and key not in self._gone
            and not self.paused  # the record that ends it is null as well
        )

    def has_no_use_for_tombstones(self, keys: Sequence[bytes]) -> bool:
        """The same of several at once, for a third of the time."""
        return (
            self.state is State.RUNNING
            and self.pending.has_none_of(keys)
            and self._written.isdisjoint(keys)
            and self._unsaid.by_key.keys().isdisjoint(keys)
            and self._gone.keys().isdisjoint(keys)
            and not self.paused
        )

    def record(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] | None,
        *,
        timestamp_ms: int,
        offset: int,
    ) -> None:
        """A record was read; offsets grow from call to call."""
        self.hear(wire.decode(key, value, headers, timestamp_ms=timestamp_ms, offset=offset))

    def unreadable(self, key: bytes | None, value: bytes | None, *, timestamp_ms: int, offset: int) -> None:
        """A record whose headers the client cannot read (a name that is not UTF-8)."""
        detail = "a header name is not UTF-8"
        self.hear(Rejected(key, value, [], offset, timestamp_ms, Reason.UNREADABLE_HEADERS, detail))

    def hear(self, fact: Schedule | Cancel | Pause | Rejected) -> None:
        """What a record says."""
        if isinstance(fact, Schedule):
            if fact.replaces is None:
                self._stated(fact)
            else:
                self._written_back(fact, fact.replaces)
        elif isinstance(fact, Cancel):
            if fact.replaces is None:
                self._cancel(fact)
            else:
                self._ended(fact.key, fact.replaces)
        elif isinstance(fact, Pause):
            self.paused = fact.on
        else:
            self._rejected(fact)
        if self.state is not State.RUNNING:
            # also without the reader's word that it stands at the end: under steady traffic it never does
            self.reached_end(fact.offset + 1)

    def far(self, versions: Versions) -> None:
        """Records were read, one after another, that each state a customer's one-shot due behind the horizon.

        See `plain.plain_due_ms`.
        """
        self.accepted += len(versions.keys)
        if self._unsaid.by_key:
            for key in versions.keys:
                self._unsaid.drop_hidden(key)
        self.pending.put_far(versions)
        if self.state is not State.RUNNING:
            self.reached_end(versions.offsets[-1] + 1)

    def _stated(self, schedule: Schedule) -> None:
        self.accepted += 1
        if schedule.continues:
            self._continue(schedule)
        else:
            self._unsaid.drop_hidden(schedule.key)
            self.pending.put(schedule)

    def _continue(self, schedule: Schedule) -> None:
        """A version goes on where the one that it replaces stands, not where its writer saw that one stand.

        What it goes on from may be compacted away, also while a new owner reads: that one would take it for the
        continuation of an older version, and fire again what has fired. So it is always written again as it stands.
        """
        key = schedule.key
        hidden = self._unsaid.hidden(key)
        acted_ms = None if hidden is None else hidden.acted_ms
        base = self.pending.get(key) or self._gone.get(key)
        # a far one is a customer's one-shot: nothing goes on from that
        self.pending.put(continuing(schedule, None if isinstance(base, Far) else base, acted_ms))
        self._unsaid.hide(key, schedule.offset, acted_ms, schedule)

    def _cancel(self, cancel: Cancel) -> None:
        key = cancel.key
        self._gone.pop(key, None)
        self._unsaid.cancelled(key, cancel.offset, self.pending.remove(key))
        if self.state is not State.RUNNING or key in self._written:
            self._cancels.remember(key, cancel.offset)

    def _rejected(self, rejected: Rejected) -> None:
        if rejected.key is not None:
            self._unsaid.refused(rejected.key, rejected)
        elif self.state is State.RUNNING:
            # without a key nothing can be written back, so only a running owner tells of it, once
            self._nameless.append(rejected)

    def _written_back(self, successor: Schedule, replaces: int) -> None:
        key = successor.key
        self._is_overtaken |= self.state is State.RUNNING and key not in self._written
        first, cancelled_at = self._cancels.written_back(key, replaces)
        if key in self._unsaid.by_key:
            if self._unsaid.came_too_late(key, replaces, successor.due_ms):
                first = replaces + 1  # the first was this version's own
            self._unsaid.said(key, replaces, successor.due_ms)
        newer = self.pending.offset_of(key)
        if cancelled_at > replaces:
            self._unsaid.cancel_behind(successor, replaces, first)
        if newer is not None and newer > replaces:
            self._hide_behind(key, newer, successor)
        elif cancelled_at <= replaces:
            self.pending.put(successor)
        self._read_back(key)

    def _hide_behind(self, key: bytes, newer: int, successor: Schedule) -> None:
        """A successor hides the version in force; one that continues was read before what the successor tells of."""
        version = self.pending.get(key)
        if not isinstance(version, Schedule) or not version.continues:
            self._unsaid.hide(key, newer)
            return
        hidden = self._unsaid.hidden(key)
        # from what it says itself: a pause that it has taken over may have ended since
        stated = version if hidden is None or hidden.stated is None else hidden.stated
        self.pending.amend(continuing(stated, successor))
        self._unsaid.hide(key, newer, successor.timestamp_ms, stated)

    def _read_back(self, key: bytes) -> None:
        """What was written about the key is read: it may be acted on again."""
        if key in self._written:
            self._written.discard(key)
            if key not in self._wants.starving and (waiting := self._waiting.pop(key, None)) is not None:
                self.pending.give_back(waiting)

    def _ended(self, key: bytes, replaces: int) -> None:
        self._cancels.ended(key, replaces)
        if key in self._unsaid.by_key:
            self._unsaid.said(key, replaces, None)
        if key in self._gone and self._gone[key].offset <= replaces:
            del self._gone[key]
        newer = self.pending.offset_of(key)
        if newer is None:
            return
        if newer > replaces:
            self._unsaid.hide(key, newer)
        else:
            self.pending.remove(key)

    # -- where we stand ------------------------------------------------------------------------------

    def reached_end(self, offset: int) -> None:
        """Everything below `offset` has been given: the reader stands at the end, or was given a record behind it."""
        self._end = offset
        self._catch_up()

    def foresee(self, first: int, last: int, end: int) -> None:
        """Make room for the far versions from `last` to `end`, if they are as many as they were from `first` on."""
        if last > first:
            likely = len(self.pending) * (end - last) // (last - first)
            self.pending.reserve(max(0, min(likely, MOST_FORESEEN)))

    def fenced(self, high_watermark: int) -> None:
        """No other owner can write any more; all that one has written stands below `high_watermark`.

        Raises:
            ValueError: it is no offset; what stands below it would be nothing.
        """
        if high_watermark < 0:
            raise ValueError(f"{high_watermark} is no high watermark")
        self._mark = high_watermark
        self._catch_up()

    def _catch_up(self) -> None:
        if self.state in (State.RUNNING, State.CLOSED) or self._mark is None or self._end < self._mark:
            return
        if self.state is State.RESTORING:
            self.pending.sort()
            if self.horizon_ms != LATEST_MS:
                self._wants.doubt(self._unsaid.endings())
        self._mark = None
        self._cancels.clear()
        for key in list(self._written):
            self._read_back(key)
        self.state = after(self.state, Fact.CAUGHT_UP)

    def lost(self) -> None:
        """The partition is another's, or will be: nothing more comes out of here."""
        self.state = after(self.state, Fact.LOST)
        self.pending = Pending()
        self._unsaid.by_key.clear()
        self._waiting.clear()
        self._gone.clear()
        self._postponed.clear()
        self._nameless.clear()
        self._wants.clear()

    # -- what is kept --------------------------------------------------------------------------------

    def kept(self, read_to: int) -> Kept | None:
        """The state at that offset, up to which all was heard; None where something is left to be said or read back.

        A restore from the beginning to there would come to the same.
        """
        if self.state is not State.RUNNING or self._unsaid.by_key or self._nameless or self._written or self._gone:
            return None
        if self._is_overtaken:
            return None  # which cancels that one had not read is not known: they are remembered while nothing fires
        return Kept(read_to, self.paused, *self.pending.keep())

    def resume(self, kept: Kept) -> None:
        """Begin with what was in force at an offset, rather than with nothing at the first one."""
        self.paused = kept.paused
        self.pending.resume(kept.far)
        for version in kept.bodies.values():
            self.pending.put(version)
        self.reached_end(kept.read_to)

    @property
    def cancels(self) -> int:
        """How many cancels are remembered, because an owner that has not read them may still write."""
        return len(self._cancels)

    def forget(self) -> int:
        """Forget the cancels that all have read who may still write; how many are left."""
        self._cancels.forget()
        return len(self._cancels)

    # -- bodies --------------------------------------------------------------------------------------

    def look_ahead(self, until_ms: int, limit: int) -> list[int]:
        """Move the horizon; the offsets of versions whose bodies are wanted now, at most `limit` of the soonest."""
        if self.state is not State.RUNNING or until_ms <= self.horizon_ms:
            return []
        ahead = self.pending.come_near(until_ms, limit)
        # of what is due in the last one's millisecond there may be more
        self.horizon_ms = until_ms if len(ahead) < limit else max(self.horizon_ms, ahead[-1].due_ms - 1)
        offsets = [far.offset for far in ahead]
        self._wants.asked_for(offsets)
        return offsets

    def wanted(self) -> list[int]:
        """Offsets of versions whose bodies are wanted at once; each is told once, until it has come."""
        return self._wants.take()

    def supply(self, schedule: Schedule) -> None:
        """The body of a far version, in force or cancelled."""
        self._wants.came(schedule.offset)
        self.pending.supply(schedule)
        self._unsaid.supply(schedule)
        self._feed(schedule.key)

    def there(self, offset: int) -> bool:
        """A record that was asked for was read again: whether that is all that was to be known of it."""
        key = self._wants.confirm(offset)
        if key is None or self._unsaid.lacks(key, offset):
            return False
        self._wants.came(offset)
        self._feed(key)
        return True

    def gone(self, offset: int) -> bool:
        """The record there is no longer in the log; whether it is missed.

        Of a far version, retention, or an operator, has removed it: nothing can be delivered without it, and the
        history says so; it is all that can still be told. What was in doubt an earlier owner has told of.
        """
        self._wants.came(offset)
        key = self._wants.refute(offset)
        if key is not None:
            self._unsaid.retract(key, offset)
            self._feed(key)
            return False
        key = self.pending.key_at(offset)
        if key is not None:
            version = self.pending.remove(key)
            if isinstance(version, Far):
                self._unsaid.undeliverable(key, version)
            self._feed(key)
        for cancelled in self._unsaid.lost(offset):
            self._feed(cancelled)
        return True

    def _feed(self, key: bytes) -> None:
        """A body of the key has come, or never will."""
        self._wants.starving.discard(key)
        if key not in self._written and (waiting := self._waiting.pop(key, None)) is not None:
            self.pending.give_back(waiting)

    # -- what is to be done --------------------------------------------------------------------------

    def settled(self, now_ms: int) -> bool:
        """Whether everything is done that is to be done by then, and read back; the postponed have their own time."""
        return (
            self.state is State.RUNNING
            and not (self._unsaid.by_key or self._nameless or self._written)
            and (self.paused or not self.pending.overdue(now_ms))
            and not (self._postponed and self._postponed[0][0] <= now_ms)
        )

    def next_due_ms(self) -> int | None:
        """When to `take` next; 0 is now; None is not before something is read."""
        if self.state is not State.RUNNING:
            return None
        if self._has_to_tell():
            return 0
        if self.paused:
            return None
        due_ms = self.pending.next_due_ms()
        if self._postponed and (due_ms is None or self._postponed[0][0] < due_ms):
            return self._postponed[0][0]
        return due_ms

    def _has_to_tell(self) -> bool:
        written, starving = self._written, self._wants.starving
        return bool(self._nameless) or any(key not in written and key not in starving for key in self._unsaid.by_key)

    def take(self, now_ms: int, limit: int, oldest_ms: int = 0) -> list[Settlement]:
        """The next batch, at most about `limit`; it ends with `committed` or with `uncertain`.

        What was due before `oldest_ms` has misfired.
        """
        if self.state is not State.RUNNING:
            return []
        batch = self._take_unsaid(now_ms, limit) if self._unsaid.by_key or self._nameless else []
        written, starving = self._written, self._wants.starving
        written.update(settlement.successor.key for settlement in batch if settlement.successor is not None)
        while self._postponed and self._postponed[0][0] <= now_ms:
            _, offset, key = heappop(self._postponed)
            version = self._version(key, offset)
            if version is not None and offset not in self._on_request:
                self.pending.give_back(version)
        while len(batch) < limit and not self.paused and (due := self.pending.take_due(now_ms, limit - len(batch))):
            for schedule in due:
                if isinstance(schedule, Far):
                    self._wants.want(schedule.offset)
                elif schedule.key in written or schedule.key in starving:
                    self._waiting[schedule.key] = schedule
                else:
                    settlement = _due(schedule, now_ms, oldest_ms)
                    if settlement.successor is not None:
                        written.add(schedule.key)
                    batch.append(settlement)
        return batch

    def owes(self, key: bytes, offset: int) -> bool:
        """Whether the outcome of the version that stands there is not written yet, be it in force or cancelled."""
        return self.pending.offset_of(key) == offset or self._unsaid.is_about(key, offset)

    def _take_unsaid(self, now_ms: int, limit: int) -> list[Settlement]:
        batch = [Settlement(rejected, Outcome.REJECTED, 0, 0, rejected.offset, None) for rejected in self._nameless]
        for key in self._unsaid.by_key:
            if len(batch) >= limit:
                break
            if key in self._written or self._starves(key):
                continue
            batch.extend(self._unsaid.settle(key, self._body(key), now_ms))
        return batch

    def _starves(self, key: bytes) -> bool:
        """Whether a body is missing for what is to be told, or that is in doubt; the records are wanted then."""
        missing = self._unsaid.needs(key, self._wants.doubtful)
        version = self.pending.get(key)
        if isinstance(version, Far):
            missing.append(version.offset)
        if missing:
            self._wants.starve(key, missing)
        return bool(missing)

    def postpone(self, settlement: Settlement, until_ms: int) -> None:
        """What was taken cannot be delivered yet; it is taken again then, unless it was replaced meanwhile."""
        subject = settlement.subject
        if isinstance(subject, Schedule):
            self._written.discard(subject.key)
            self._on_request.discard(subject.offset)
            heappush(self._postponed, (until_ms, subject.offset, subject.key))

    @property
    def postponed(self) -> int:
        """How many are due and wait for their target, replaced ones included."""
        return len(self._postponed)

    def _version(self, key: bytes, offset: int) -> Schedule | None:
        """The version at the offset, if it is still in force."""
        return self._body(key) if self.pending.offset_of(key) == offset else None

    def _body(self, key: bytes) -> Schedule | None:
        version = self.pending.get(key)
        return None if isinstance(version, Far) else version

    def change(self, key: bytes, change: Change, now_ms: int) -> Settlement | None:
        """What an operator asks for, to be settled like what is due; None: not now, ask again after the next read.

        At most one for a key in a batch.

        Raises:
            NotPendingError: nothing is in force under the key.
        """
        if self.state is not State.RUNNING or key in self._written or key in self._unsaid.by_key:
            return None
        version = self.pending.get(key)
        if version is None:
            raise NotPendingError
        if isinstance(version, Far):
            self._wants.want(version.offset)
            return None
        if change.verb is Verb.CANCEL:
            self._take_on_request(version)
            lateness_ms = max(0, now_ms - version.due_ms)
            return Settlement(version, Outcome.CANCELLED, version.due_ms, lateness_ms, version.offset, None)
        if change.verb is Verb.FIRE:
            return self._fire_now(version, now_ms)
        self._written.add(key)
        successor = rewritten(version, change, now_ms)
        return Settlement(version, None, version.due_ms, 0, version.offset, successor, successor.due_ms)

    def _fire_now(self, version: Schedule, now_ms: int) -> Settlement | None:
        if version.replaces is not None and 0 <= version.timestamp_ms - now_ms < SAME_INSTANT_MS:
            return None  # it may have been fired by request in this very millisecond: the fire id would be the same
        self._take_on_request(version)
        if version.due_ms <= now_ms:
            settlement = _due(version, now_ms, 0)
            settlement.outcome = Outcome.FIRED
        else:
            recurs = version if version.rule is not None else None
            due_ms = version.due_ms if recurs else 0
            settlement = Settlement(version, Outcome.FIRED, now_ms, 0, version.offset, recurs, due_ms)
        if settlement.successor is not None:
            self._written.add(version.key)
        return settlement

    def _take_on_request(self, version: Schedule) -> None:
        """Take a version from the queue, into which none that is postponed comes back beside this."""
        self.pending.take(version)
        self._on_request.add(version.offset)

    def is_read_back(self, key: bytes) -> bool:
        """Whether all that was written about the key is read."""
        return key not in self._written

    def page(self, after: int, count: int) -> list[Schedule | Far]:
        """The next so many versions in force in order of due time, behind the place `after` (-1: from the first).

        See `pending.place`; of those behind the horizon there are no bodies. What is being rewritten at this moment
        is left out.
        """
        postponed = (self._version(key, offset) for _, offset, key in self._postponed)
        taken = {version.offset: version for version in (*postponed, *self._waiting.values()) if version is not None}
        beside = sorted((version for version in taken.values() if place(version) > after), key=place)
        return list(islice(merge(self.pending.page(after, count), beside, key=place), count))

    def committed(self, batch: Iterable[Settlement]) -> None:
        """The batch stands in the log, all of it; what was read since it was taken holds nevertheless."""
        self._on_request.clear()
        unsaid, end_fired = self._unsaid.by_key, self.pending.end_taken
        for settlement in batch:
            subject = settlement.subject
            key = subject.key
            if key is None:
                self._nameless = [rejected for rejected in self._nameless if rejected is not subject]
                continue
            if not settlement.writes_back:
                continue
            if settlement.successor is not None:
                self.pending.end(settlement.successor)
            elif isinstance(subject, Schedule):
                if (subject.rule is not None or subject.paused) and self._version(key, subject.offset) is not None:
                    self._gone[key] = subject
                if settlement.outcome is _FIRED:
                    end_fired(subject)  # it was taken, be it on request
                else:
                    self.pending.end(subject)
            if key in unsaid:
                self._unsaid.said(key, settlement.replaces, settlement.successor_due_ms)

    def stand(self, batch: Iterable[Settlement]) -> bool:
        """Whether what was read since the batch was taken leaves it as it is."""
        offset_of = self.pending.offset_of
        return not self.paused and all(
            settlement.outcome is None
            or settlement.subject.key is None
            or offset_of(settlement.subject.key) == settlement.subject.offset
            for settlement in batch
        )

    def returned(self, batch: Iterable[Settlement]) -> None:
        """The batch is not written: what it is about is to be taken again."""
        for settlement in batch:
            if settlement.successor is not None:
                self._read_back(settlement.successor.key)
            if isinstance(settlement.subject, Schedule) and settlement.outcome is not None:
                self.pending.give_back(settlement.subject)

    def uncertain(self, batch: Iterable[Settlement]) -> None:
        """Nobody knows whether the batch stands in the log; the log itself will tell.

        Nothing fires until a new fence is up (`fenced`) and the log is read up to it.
        """
        self.state = after(self.state, Fact.UNCERTAIN)
        self._on_request.clear()
        for settlement in batch:
            # a version that is only written again, or otherwise, was never taken from the queue
            if isinstance(settlement.subject, Schedule) and settlement.outcome is not None:
                self.pending.give_back(settlement.subject)


def _due(schedule: Schedule, now_ms: int, oldest_ms: int) -> Settlement:
    due_ms = schedule.due_ms
    if schedule.rule is None and schedule.grace_ms is None and due_ms >= oldest_ms:
        # nearly all, and what `decide` comes to as well, in three times the time
        return Settlement(schedule, _FIRED, due_ms, now_ms - due_ms, schedule.offset, None)
    outcome, due_ms, next_due_ms = decide(schedule, now_ms, oldest_ms)
    return Settlement(
        schedule,
        outcome,
        due_ms,
        now_ms - due_ms,
        schedule.offset,
        None if next_due_ms is None else schedule,
        next_due_ms or 0,
    )
