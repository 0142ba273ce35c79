"""The engine of one partition: its log in, settlements out.

The rule that everything follows from: a record that carries `scheduler-replaces: o` was written by an
owner for the version at offset `o`, and takes effect only where nothing newer than `o` is in force. A
customer's record, which carries none, always takes effect. So an update or a cancel that lands between
the reading of a version and the record that ends it is never lost: it stays in force, and because that
record now hides it from compaction, the owner writes it again (a *shadowed* version).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from itertools import islice
from typing import TYPE_CHECKING

from scheduler import wire
from scheduler.engine.changes import Change, NotPendingError, Verb, continuing, rewritten
from scheduler.engine.far import Far
from scheduler.engine.kept import Kept
from scheduler.engine.life import Fact, State, after
from scheduler.engine.occurrence import decide
from scheduler.engine.pending import Pending, place
from scheduler.engine.settlement import Settlement, Told
from scheduler.instants import LATEST_MS
from scheduler.schedule import Cancel, Header, Outcome, Pause, Reason, Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler.engine.far import Versions

SAME_INSTANT_MS = 1000
"""A record stamped less than this ahead of the clock was written just now, by a clock that is a little ahead."""
MOST_FORESEEN = 4_000_000
"""Versions for which room is made before they have come; 12 bytes each."""


@dataclass(slots=True)
class _Open:
    """Something about a key that a transaction has yet to say: a cancel, a refusal, or a hidden version.

    An owner says all that is open about a key at once, and names the newest record that it had read.
    So a record of an owner that replaces `cause` or newer has said it.
    """

    cause: int
    """The record that made it so."""
    newest: int
    """The newest record of the key that has been read since."""
    outcome: Outcome | None
    subject: Schedule | Far | Rejected | None
    acted_ms: int | None = None
    """Of a hidden version that continues another: when an owner last wrote without knowing of it."""
    stated: Schedule | None = None
    """Of a hidden version that continues another: what its own record says."""
    gone: bool = False
    """Its record is no longer in the log: of the subject, the key and the due time are known."""

    def cancels(self, version: int, due_ms: int) -> bool:
        """Whether this is the cancel of that occurrence of a version that stood at or before the offset."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset <= version
            and subject.due_ms == due_ms
        )

    def cancels_between(self, version: int, first: int) -> bool:
        """Whether this is the cancel of a later version, which stood before the `first` cancel behind that one."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset > version
            and not version < first < subject.offset
        )

    def came_too_late(self, replaces: int, rewritten_due_ms: int | None) -> bool:
        """Whether it cancels a version that an owner had ended otherwise before it read the cancel."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset <= replaces
            and subject.due_ms != rewritten_due_ms
        )


class PartitionEngine:
    """Which versions are in force in one partition, and what has to be done about them."""

    def __init__(self) -> None:
        self.state = State.RESTORING
        self.pending = Pending()
        self.accepted = 0
        """Versions that a customer's record has brought in force; only grows."""
        self._open: defaultdict[bytes, list[_Open]] = defaultdict(list)
        self._nameless: list[Rejected] = []
        self._cancelled: dict[bytes, tuple[int, int]] = {}
        """Keys that a customer cancelled while an owner's record about them may still come: first and last cancel."""
        self._is_overtaken = False
        """Whether another owner was read to write, which a running one does not expect: it is not that any more."""
        self._acted_on = -1
        """The newest record that an owner's has named."""
        self._written: set[bytes] = set()
        """Keys whose successor is written but not read yet. They are left alone until it is: only then is
        it known what stands between the two."""
        self._waiting: dict[bytes, Schedule] = {}
        """Versions of such keys that are due."""
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
        self._wanted: set[int] = set()
        """Offsets of versions without which something cannot be said."""
        self._asked_for: set[int] = set()
        """Offsets that were wanted, and whose bodies have not come yet."""
        self._starving: set[bytes] = set()
        """Keys about which nothing can be said before a body is supplied."""
        self._doubtful: dict[int, bytes] = {}
        """Offsets, with their keys, of what a restore found cancelled or refused, until their records are read again.
        The cleaner may have passed while it read, and have taken the tombstone that told of it, or that the version
        had fired: a newer record hides that. It cleans in the order of the log, so it took this one before."""
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
            and key not in self._open
            and key not in self._gone
            and not self.paused  # the record that ends it is null as well
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
        if self._open:
            for key in versions.keys:
                self._drop_hidden(key)
        self.pending.put_far(versions)
        if self.state is not State.RUNNING:
            self.reached_end(versions.offsets[-1] + 1)

    def _stated(self, schedule: Schedule) -> None:
        self.accepted += 1
        if schedule.continues:
            self._continue(schedule)
        else:
            self._drop_hidden(schedule.key)
            self.pending.put(schedule)

    def _continue(self, schedule: Schedule) -> None:
        """A version goes on where the one that it replaces stands, not where its writer saw that one stand.

        What it goes on from may be compacted away, also while a new owner reads: that one would take it for the
        continuation of an older version, and fire again what has fired. So it is always written again as it stands.
        """
        key = schedule.key
        hidden = self._hidden(key)
        acted_ms = None if hidden is None else hidden.acted_ms
        base = self.pending.get(key) or self._gone.get(key)
        # a far one is a customer's one-shot: nothing goes on from that
        self.pending.put(continuing(schedule, None if isinstance(base, Far) else base, acted_ms))
        self._hide(key, schedule.offset, acted_ms, schedule)

    def _cancel(self, cancel: Cancel) -> None:
        key = cancel.key
        self._drop_hidden(key)
        for fact in self._open.get(key, ()):
            fact.newest = cancel.offset
        self._gone.pop(key, None)
        ended = self.pending.remove(key)
        if ended is not None:
            self._open[key].append(_Open(cancel.offset, cancel.offset, Outcome.CANCELLED, ended))
        if self.state is not State.RUNNING or key in self._written:
            first, _ = self._cancelled.get(key, (cancel.offset, 0))
            self._cancelled[key] = first, cancel.offset

    def _rejected(self, rejected: Rejected) -> None:
        if rejected.key is not None:
            self._open[rejected.key].append(_Open(rejected.offset, rejected.offset, Outcome.REJECTED, rejected))
        elif self.state is State.RUNNING:
            # without a key nothing can be written back, so only a running owner tells of it, once
            self._nameless.append(rejected)

    def _written_back(self, successor: Schedule, replaces: int) -> None:
        key = successor.key
        self._acted_on = max(self._acted_on, replaces)
        self._is_overtaken |= self.state is State.RUNNING and key not in self._written
        first, cancelled_at = self._cancelled.pop(key, (-1, -1))
        if any(f.cause > replaces and f.came_too_late(replaces, successor.due_ms) for f in self._open.get(key, ())):
            first = replaces + 1  # the first was this version's own
        self._said(key, replaces, successor.due_ms)
        newer = self.pending.offset_of(key)
        if cancelled_at > replaces:
            self._cancel_behind(successor, replaces, first)
        if newer is not None and newer > replaces:
            self._hide_behind(key, newer, successor)
        elif cancelled_at <= replaces:
            self.pending.put(successor)
        self._read_back(key)

    def _hide_behind(self, key: bytes, newer: int, successor: Schedule) -> None:
        """A successor hides the version in force; one that continues was read before what the successor tells of."""
        version = self.pending.get(key)
        if not isinstance(version, Schedule) or not version.continues:
            self._hide(key, newer)
            return
        hidden = self._hidden(key)
        # from what it says itself: a pause that it has taken over may have ended since
        stated = version if hidden is None or hidden.stated is None else hidden.stated
        self.pending.amend(continuing(stated, successor))
        self._hide(key, newer, successor.timestamp_ms, stated)

    def _cancel_behind(self, successor: Schedule, replaces: int, first: int) -> None:
        """A cancel came between a version and its successor: it holds, and is said behind the successor.

        Not where a newer version came before the `first` cancel: then that one was cancelled, and this one replaced.
        """
        for fact in self._open.get(successor.key, ()):
            if fact.cancels(replaces, successor.due_ms) or fact.cancels_between(replaces, first):
                fact.newest = successor.offset
                return
        self._open[successor.key].append(_Open(successor.offset, successor.offset, Outcome.CANCELLED, successor))

    def _read_back(self, key: bytes) -> None:
        """What was written about the key is read: it may be acted on again."""
        if key in self._written:
            self._written.discard(key)
            if key not in self._starving and (waiting := self._waiting.pop(key, None)) is not None:
                self.pending.give_back(waiting)

    def _ended(self, key: bytes, replaces: int) -> None:
        self._acted_on = max(self._acted_on, replaces)
        self._said(key, replaces, None)
        if key in self._cancelled and self._cancelled[key][1] <= replaces:
            del self._cancelled[key]
        if key in self._gone and self._gone[key].offset <= replaces:
            del self._gone[key]
        newer = self.pending.offset_of(key)
        if newer is None:
            return
        if newer > replaces:
            self._hide(key, newer)
        else:
            self.pending.remove(key)

    def _said(self, key: bytes, replaces: int, rewritten_due_ms: int | None) -> None:
        """An owner's record is read: what it has said is no longer open."""
        facts = self._open.get(key)
        if facts is not None:
            left = [f for f in facts if f.cause > replaces and not f.came_too_late(replaces, rewritten_due_ms)]
            self._keep(key, left)

    def _hide(self, key: bytes, offset: int, acted_ms: int | None = None, stated: Schedule | None = None) -> None:
        self._drop_hidden(key)
        self._open[key].append(_Open(offset, offset, None, None, acted_ms, stated))

    def _hidden(self, key: bytes) -> _Open | None:
        return next((fact for fact in self._open.get(key, ()) if fact.outcome is None), None)

    def _drop_hidden(self, key: bytes) -> None:
        facts = self._open.get(key)
        if facts is not None:
            self._keep(key, [fact for fact in facts if fact.outcome is not None])

    def _keep(self, key: bytes, facts: list[_Open]) -> None:
        if facts:
            self._open[key] = facts
        else:
            del self._open[key]

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
                self._doubt()
        self._mark = None
        self._cancelled.clear()
        for key in list(self._written):
            self._read_back(key)
        self.state = after(self.state, Fact.CAUGHT_UP)

    def _doubt(self) -> None:
        self._doubtful = {
            fact.subject.offset: key
            for key, facts in self._open.items()
            for fact in facts
            if fact.outcome is not None and fact.subject is not None
        }

    def lost(self) -> None:
        """The partition is another's, or will be: nothing more comes out of here."""
        self.state = after(self.state, Fact.LOST)
        self.pending = Pending()
        self._open.clear()
        self._waiting.clear()
        self._gone.clear()
        self._postponed.clear()
        self._nameless.clear()
        self._wanted.clear()
        self._asked_for.clear()
        self._starving.clear()
        self._doubtful.clear()

    # -- what is kept --------------------------------------------------------------------------------

    def kept(self, read_to: int) -> Kept | None:
        """The state at that offset, up to which all was heard; None where something is left to be said or read back.

        A restore from the beginning to there would come to the same.
        """
        if self.state is not State.RUNNING or self._open or self._nameless or self._written or self._gone:
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
        return len(self._cancelled)

    def forget(self) -> int:
        """Forget the cancels that all have read who may still write; how many are left.

        Whoever follows a log for long would remember every cancel of a key that was not pending. An owner reads in
        order and writes one batch after another, and who comes after it writes behind its fence, having read all that
        it has written. So where a record of an owner names one behind a cancel, that owner had read the cancel when
        it took the batch, and so has everybody who writes behind that record. A record of the key that comes then takes
        the cancel into account, and would have had it forgotten itself.
        """
        acted_on = self._acted_on
        self._cancelled = {key: each for key, each in self._cancelled.items() if each[1] >= acted_on}
        return len(self._cancelled)

    # -- bodies --------------------------------------------------------------------------------------

    def look_ahead(self, until_ms: int, limit: int) -> list[int]:
        """Move the horizon; the offsets of versions whose bodies are wanted now, at most `limit` of the soonest."""
        if self.state is not State.RUNNING or until_ms <= self.horizon_ms:
            return []
        ahead = self.pending.come_near(until_ms, limit)
        # of what is due in the last one's millisecond there may be more
        self.horizon_ms = until_ms if len(ahead) < limit else max(self.horizon_ms, ahead[-1].due_ms - 1)
        offsets = [far.offset for far in ahead]
        self._asked_for.update(offsets)
        return offsets

    def wanted(self) -> list[int]:
        """Offsets of versions whose bodies are wanted at once; each is told once, until it has come."""
        wanted = [*(self._wanted - self._asked_for)]
        self._asked_for |= self._wanted
        self._wanted.clear()
        return wanted

    def supply(self, schedule: Schedule) -> None:
        """The body of a far version, in force or cancelled."""
        self._asked_for.discard(schedule.offset)
        self.pending.supply(schedule)
        self._feed(schedule.key)
        for fact in self._open.get(schedule.key, ()):
            if isinstance(fact.subject, Far) and fact.subject.offset == schedule.offset:
                fact.subject = schedule

    def there(self, offset: int) -> bool:
        """A record that was asked for was read again: whether that is all that was to be known of it."""
        key = self._doubtful.pop(offset, None) if offset in self._asked_for else None
        if key is None:
            return False
        subjects = (fact.subject for fact in self._open.get(key, ()))
        if any(isinstance(subject, Far) and subject.offset == offset for subject in subjects):
            return False  # its body is missing too
        self._asked_for.discard(offset)
        self._feed(key)
        return True

    def gone(self, offset: int) -> bool:
        """The record there is no longer in the log; whether it is missed.

        Of a far version, retention, or an operator, has removed it: nothing can be delivered without it, and the
        history says so; it is all that can still be told. What was in doubt an earlier owner has told of.
        """
        self._asked_for.discard(offset)
        key = self._doubtful.pop(offset, None)
        if key is not None:
            if key in self._open:
                facts = self._open[key]
                self._keep(key, [fact for fact in facts if fact.subject is None or fact.subject.offset != offset])
            self._feed(key)
            return False
        key = self.pending.key_at(offset)
        if key is not None:
            version = self.pending.remove(key)
            if isinstance(version, Far):
                stub = _stub(key, version)
                self._open[key].append(_Open(offset, offset, Outcome.UNDELIVERABLE, stub, gone=True))
            self._feed(key)
        for opened, facts in self._open.items():
            for fact in facts:
                if isinstance(fact.subject, Far) and fact.subject.offset == offset:
                    fact.subject, fact.gone = _stub(opened, fact.subject), True
                    self._feed(opened)
        return True

    def _feed(self, key: bytes) -> None:
        """A body of the key has come, or never will."""
        self._starving.discard(key)
        if key not in self._written and (waiting := self._waiting.pop(key, None)) is not None:
            self.pending.give_back(waiting)

    # -- what is to be done --------------------------------------------------------------------------

    def settled(self, now_ms: int) -> bool:
        """Whether everything is done that is to be done by then, and read back; the postponed have their own time."""
        return (
            self.state is State.RUNNING
            and not (self._open or self._nameless or self._written)
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
        return bool(self._nameless) or any(key not in self._written and key not in self._starving for key in self._open)

    def take(self, now_ms: int, limit: int, oldest_ms: int = 0) -> list[Settlement]:
        """The next batch, at most about `limit`; it ends with `committed` or with `uncertain`.

        What was due before `oldest_ms` has misfired.
        """
        if self.state is not State.RUNNING:
            return []
        batch = self._take_open(now_ms, limit) if self._open or self._nameless else []
        written = self._written
        written.update(settlement.successor.key for settlement in batch if settlement.successor is not None)
        while self._postponed and self._postponed[0][0] <= now_ms:
            _, offset, key = heappop(self._postponed)
            version = self._version(key, offset)
            if version is not None and offset not in self._on_request:
                self.pending.give_back(version)
        while len(batch) < limit and not self.paused:
            schedule = self.pending.take_due(now_ms)
            if schedule is None:
                break
            if isinstance(schedule, Far):
                self._wanted.add(schedule.offset)
                continue
            if schedule.key in written or schedule.key in self._starving:
                self._waiting[schedule.key] = schedule
                continue
            settlement = _due(schedule, now_ms, oldest_ms)
            if settlement.successor is not None:
                written.add(schedule.key)
            batch.append(settlement)
        return batch

    def owes(self, key: bytes, offset: int) -> bool:
        """Whether the outcome of the version that stands there is not written yet, be it in force or cancelled."""
        return self.pending.offset_of(key) == offset or any(
            fact.subject is not None and fact.subject.offset == offset for fact in self._open.get(key, ())
        )

    def _take_open(self, now_ms: int, limit: int) -> list[Settlement]:
        batch = [Settlement(rejected, Outcome.REJECTED, 0, 0, rejected.offset, None) for rejected in self._nameless]
        for key, facts in self._open.items():
            if len(batch) >= limit:
                break
            if key in self._written or self._starves(key, facts):
                continue
            batch.extend(self._settle(key, facts, now_ms))
        return batch

    def _starves(self, key: bytes, facts: list[_Open]) -> bool:
        """Whether a body is missing that has to be told of; it is wanted then."""
        subjects = [fact.subject for fact in facts if fact.subject is not None]
        missing = [each.offset for each in subjects if isinstance(each, Far) or each.offset in self._doubtful]
        version = self.pending.get(key)
        if isinstance(version, Far):
            missing.append(version.offset)
        if not missing:
            return False
        if key not in self._starving:
            self._starving.add(key)
            self._wanted.update(missing)
        return True

    def _settle(self, key: bytes, facts: list[_Open], now_ms: int) -> Iterator[Settlement]:
        """All that is open about a key, at once; the version in force is written again behind it."""
        version = self._body(key)
        successor_due_ms = 0 if version is None else version.due_ms
        replaces = max(fact.newest for fact in facts)
        if version is not None:
            replaces = max(replaces, version.offset)
        for fact in facts:
            subject = fact.subject or version
            if subject is None or isinstance(subject, Far):
                raise AssertionError(f"{key!r}: a hidden version that is not in force, or not in memory")
            due_ms = subject.due_ms if isinstance(subject, Schedule) else 0
            settlement = Settlement(
                subject,
                fact.outcome,
                due_ms,
                max(0, now_ms - due_ms),
                replaces,
                version,
                successor_due_ms,
                writes_back=fact is facts[-1],
            )
            if fact.gone:
                settlement.reason, settlement.detail = Reason.RECORD_GONE, "its record is no longer in the log"
                settlement.told = Told.BARE
            yield settlement

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
        if self.state is not State.RUNNING or key in self._written or key in self._open:
            return None
        version = self.pending.get(key)
        if version is None:
            raise NotPendingError
        if isinstance(version, Far):
            self._wanted.add(version.offset)
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
                self.pending.end(subject)
            if key in self._open:
                self._said(key, settlement.replaces, settlement.successor_due_ms)

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


def _stub(key: bytes, far: Far) -> Schedule:
    """What is known of a version whose record is gone."""
    return Schedule(key, b"", far.due_ms, "", None, None, [], [], far.due_ms, far.offset)


def _due(schedule: Schedule, now_ms: int, oldest_ms: int) -> Settlement:
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
