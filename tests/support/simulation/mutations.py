"""Defects to be found: one defence switched off each. A simulation that does not notice proves nothing about it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from scheduler.engine.changes import Change, Verb
from scheduler.engine.kept import Kept
from scheduler.engine.life import State
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.unsaid import Unsaid
from scheduler.engine.wants import Wants
from scheduler.schedule import Cancel, Misfire, Outcome, Pause, Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.engine.settlement import Out, Settlement

BEYOND = 2**40
"""An offset behind everything."""


class Mutation(Enum):
    """A defect, and what it is."""

    # of the shell
    NO_FENCE = "a new owner does not fence the old one"
    MARK_BEFORE_FENCE = "the high watermark is asked for before the fence is up"
    MARK_IS_LAST_STABLE = "a restore ends at the last stable offset"
    FIRES_BEFORE_RESTORED = "an owner fires before it has read its log"
    READ_AHEAD_IS_ENOUGH = "a new owner does not read what came after it had read ahead, before its fence was up"
    END_BEFORE_RECORDS = "the end is applied before the records that came with it"
    READS_UNCOMMITTED = "a restore sees what was aborted"
    TWO_TRANSACTIONS = "delivery and tombstone are not one transaction"
    UNCERTAIN_IS_COMMITTED = "a commit without an answer is taken for success"
    UNCERTAIN_IS_ABORTED = "a commit without an answer is taken for failure"
    PRODUCER_KEPT = "the producer is used again after a commit without an answer"
    EARLY = "the clock is read a second ahead"
    # of the records
    BLIND_TOMBSTONE = "a tombstone does not say which version it ends"
    TOMBSTONE_ELSEWHERE = "a tombstone goes where the partitioner says"
    SUCCESSOR_ELSEWHERE = "a next occurrence goes where the partitioner says"
    NOT_TOLD = "a cancel is not told to the history"
    HISTORY_TWICE = "what fires is told twice"
    DELAY_MOVES = "what is written back keeps its delay, which counts anew"
    HEADERS_LOST = "what is written back has lost the customer's headers"
    # of the engine
    SUCCESSOR_WINS = "what an owner writes takes effect whatever came before it"
    CANCEL_RESURRECTED = "a cancel before a successor is forgotten"
    UPDATE_DROPPED = "an update that lands beside a tombstone ends with it"
    HIDDEN_STAYS_HIDDEN = "a version that something hides is not written again"
    MALFORMED_CANCELS = "a malformed update ends the version before it"
    REPLACED_IS_CANCELLED = "a version that another replaces is told to be cancelled"
    DOUBT_FORGETS = "what was in doubt is not queued again"
    RETURNED_FORGOTTEN = "what was taken and not written is not queued again"
    POSTPONED_FORGOTTEN = "a schedule that waits for its target is not tried again"
    POSTPONED_COMES_BACK = "a postponed schedule is fired beside what is asked of it"
    NEXT_FROM_NOW = "the next occurrence counts from now"
    NEXT_FROM_DUE = "the next occurrence is the one behind what was due, missed or not"
    MISFIRE_IGNORED = "what is too late to fire does"
    ALL_IS_ONCE = "of missed occurrences that shall all fire, one does"
    PAUSED_FIRES = "a paused schedule fires"
    HELD_FIRES = "a paused partition fires"
    DOUBLED_ON_PAUSE = "a schedule that is being paused fires as well"
    RESUMED_IN_THE_PAST = "what passed during a pause is not left out"
    FIRED_NOW_ENDS = "a recurring schedule that is fired on request ends"
    # of the world around
    CONTINUES_BLINDLY = "a changed recurring schedule is due when its writer saw it due"
    NO_LAG = "the cleaner does not wait until what is hidden is written again"
    KEPT_FOR_EVER = "a snapshot is good however old it is"
    KEPT_TOO_SOON = "what is kept leaves out what is still to be said"
    TOMBSTONES_GONE = "the cleaner removes tombstones below a reader"
    FOLLOWED_FOR_EVER = "what was followed is good however far behind it is"
    FOLLOWED_SKIPS = "who takes over from what was followed begins to read at the end"
    FOLLOWED_IS_ENOUGH = "who takes over from what was followed does not read what came since"
    DOUBTLESS = "what a restore found cancelled or refused is told, whether or not the log still has it"
    CANCELS_FORGOTTEN = "who follows forgets cancels of which an owner may still speak"


MEDIANS = {
    Mutation.NO_FENCE: 1,
    Mutation.MARK_BEFORE_FENCE: 132,
    Mutation.MARK_IS_LAST_STABLE: 5,
    Mutation.FIRES_BEFORE_RESTORED: 5,
    Mutation.READ_AHEAD_IS_ENOUGH: 5,
    Mutation.END_BEFORE_RECORDS: 2,
    Mutation.READS_UNCOMMITTED: 2,
    Mutation.TWO_TRANSACTIONS: 1,
    Mutation.UNCERTAIN_IS_COMMITTED: 2,
    Mutation.UNCERTAIN_IS_ABORTED: 227,
    Mutation.PRODUCER_KEPT: 50,
    Mutation.EARLY: 1,
    Mutation.BLIND_TOMBSTONE: 1,
    Mutation.TOMBSTONE_ELSEWHERE: 1,
    Mutation.SUCCESSOR_ELSEWHERE: 1,
    Mutation.NOT_TOLD: 1,
    Mutation.HISTORY_TWICE: 1,
    Mutation.DELAY_MOVES: 11,
    Mutation.HEADERS_LOST: 1,
    Mutation.SUCCESSOR_WINS: 1,
    Mutation.CANCEL_RESURRECTED: 19,
    Mutation.UPDATE_DROPPED: 522,
    Mutation.HIDDEN_STAYS_HIDDEN: 30,
    Mutation.MALFORMED_CANCELS: 2,
    Mutation.REPLACED_IS_CANCELLED: 1,
    Mutation.DOUBT_FORGETS: 2,
    Mutation.RETURNED_FORGOTTEN: 251,
    Mutation.POSTPONED_FORGOTTEN: 21,
    Mutation.POSTPONED_COMES_BACK: 60,
    Mutation.NEXT_FROM_NOW: 1,
    Mutation.NEXT_FROM_DUE: 2,
    Mutation.MISFIRE_IGNORED: 2,
    Mutation.ALL_IS_ONCE: 77,
    Mutation.PAUSED_FIRES: 5,
    Mutation.HELD_FIRES: 3,
    Mutation.DOUBLED_ON_PAUSE: 13,
    Mutation.RESUMED_IN_THE_PAST: 15,
    Mutation.FIRED_NOW_ENDS: 30,
    Mutation.CONTINUES_BLINDLY: 110,
    Mutation.NO_LAG: 12,
    Mutation.KEPT_FOR_EVER: 589,
    Mutation.KEPT_TOO_SOON: 52,
    Mutation.TOMBSTONES_GONE: 93,
    Mutation.FOLLOWED_FOR_EVER: 67,
    Mutation.FOLLOWED_SKIPS: 16,
    Mutation.FOLLOWED_IS_ENOUGH: 10,
    Mutation.DOUBTLESS: 235,
    Mutation.CANCELS_FORGOTTEN: 105,
}
"""How many worlds it takes until each is noticed, as `make simulate MUTATIONS=1` has measured it."""


class _SuccessorWins(PartitionEngine):
    def hear(self, fact):
        super().hear(replace(fact, replaces=BEYOND) if isinstance(fact, Schedule) and fact.replaces else fact)


class _Doubtless(PartitionEngine):
    def __init__(self):
        super().__init__()
        self._wants = _SureOfAll()


class _SureOfAll(Wants):
    def doubt(self, offsets):
        pass


class _CancelResurrected(PartitionEngine):
    def __init__(self):
        super().__init__()
        self._cancelled_at = {}

    def hear(self, fact):
        if isinstance(fact, Cancel) and fact.replaces is None:
            self._cancelled_at[fact.key] = fact.offset
        elif isinstance(fact, Schedule) and fact.replaces is not None and fact.key not in self.pending:
            fact = replace(fact, replaces=max(fact.replaces, self._cancelled_at.get(fact.key, -1)))
        super().hear(fact)


class _UpdateDropped(PartitionEngine):
    def committed(self, batch: Iterable[Settlement]) -> None:
        super().committed(batch)
        for settlement in batch:
            if settlement.successor is None and settlement.outcome is Outcome.FIRED:
                self.pending.remove(settlement.subject.key)


class _HiddenStaysHidden(PartitionEngine):
    def __init__(self):
        super().__init__()
        self._unsaid = _WithoutHidden()


class _WithoutHidden(Unsaid):
    def hide(self, key, offset, acted_ms=None, stated=None):  # noqa: ARG002
        self.drop_hidden(key)


class _MalformedCancels(PartitionEngine):
    def hear(self, fact):
        super().hear(fact)
        if isinstance(fact, Rejected):
            self.pending.remove(fact.key)


class _ReplacedIsCancelled(PartitionEngine):
    def hear(self, fact):
        if isinstance(fact, Schedule) and fact.replaces is None and fact.key in self.pending:
            super().hear(Cancel(fact.key, fact.offset, fact.timestamp_ms))
        super().hear(fact)


class _DoubtForgets(PartitionEngine):
    def uncertain(self, batch: Iterable[Settlement]) -> None:  # noqa: ARG002
        super().uncertain(())


class _ReturnedForgotten(PartitionEngine):
    def returned(self, batch: Iterable[Settlement]) -> None:
        pass


class _PostponedForgotten(PartitionEngine):
    def postpone(self, settlement, until_ms):
        super().postpone(settlement, until_ms + 10**12)


class _PostponedComesBack(PartitionEngine):
    def _take_on_request(self, version):
        self.pending.take(version)


class _Decides(PartitionEngine):
    """Decides otherwise about what is due."""

    def take(self, now_ms, limit, oldest_ms=0):
        batch = super().take(now_ms, limit, oldest_ms)
        for settlement in batch:
            if settlement.outcome in (Outcome.FIRED, Outcome.MISFIRED):
                self.decide(settlement, settlement.subject.rule, now_ms)
        return batch

    def decide(self, settlement, rule, now_ms):
        raise NotImplementedError


class _NextFromNow(_Decides):
    def decide(self, settlement, rule, now_ms):
        if rule is not None:
            settlement.successor_due_ms = rule.next_after(now_ms, now_ms)


class _NextFromDue(_Decides):
    def decide(self, settlement, rule, now_ms):  # noqa: ARG002
        if rule is not None:
            settlement.successor_due_ms = rule.next_after(settlement.subject.due_ms, settlement.subject.due_ms)


class _MisfireIgnored(_Decides):
    def decide(self, settlement, rule, now_ms):  # noqa: ARG002
        settlement.outcome = Outcome.FIRED


class _AllIsOnce(_Decides):
    def decide(self, settlement, rule, now_ms):
        if rule is not None and settlement.subject.misfire is Misfire.ALL:
            settlement.due_ms = rule.latest_until(now_ms, settlement.due_ms)
            settlement.successor_due_ms = rule.next_after(now_ms, settlement.due_ms)


class _PausedFires(PartitionEngine):
    def hear(self, fact):
        super().hear(replace(fact, paused=False) if isinstance(fact, Schedule) else fact)


class _HeldFires(PartitionEngine):
    def hear(self, fact):
        super().hear(replace(fact, on=False) if isinstance(fact, Pause) else fact)


class _DoubledOnPause(PartitionEngine):
    def change(self, key: bytes, change: Change, now_ms: int) -> Settlement | None:
        settlement = super().change(key, change, now_ms)
        if settlement is not None and change.verb is Verb.PAUSE:
            self._written.discard(key)
        return settlement


class _ResumedInThePast(PartitionEngine):
    def change(self, key: bytes, change: Change, now_ms: int) -> Settlement | None:
        settlement = super().change(key, change, now_ms)
        if settlement is not None and change.verb is Verb.RESUME:
            settlement.successor_due_ms = settlement.subject.due_ms
        return settlement


class _FiredNowEnds(PartitionEngine):
    def change(self, key: bytes, change: Change, now_ms: int) -> Settlement | None:
        settlement = super().change(key, change, now_ms)
        if settlement is not None and change.verb is Verb.FIRE:
            settlement.successor = None
        return settlement


class _CancelsForgotten(PartitionEngine):
    def forget(self):
        self._cancels.clear()
        return 0


class _KeptTooSoon(PartitionEngine):
    def kept(self, read_to):
        return Kept(read_to, self.paused, *self.pending.keep()) if self.state is State.RUNNING else None


ENGINES: dict[Mutation | None, type[PartitionEngine]] = {
    Mutation.SUCCESSOR_WINS: _SuccessorWins,
    Mutation.CANCEL_RESURRECTED: _CancelResurrected,
    Mutation.UPDATE_DROPPED: _UpdateDropped,
    Mutation.HIDDEN_STAYS_HIDDEN: _HiddenStaysHidden,
    Mutation.MALFORMED_CANCELS: _MalformedCancels,
    Mutation.REPLACED_IS_CANCELLED: _ReplacedIsCancelled,
    Mutation.DOUBT_FORGETS: _DoubtForgets,
    Mutation.RETURNED_FORGOTTEN: _ReturnedForgotten,
    Mutation.POSTPONED_FORGOTTEN: _PostponedForgotten,
    Mutation.POSTPONED_COMES_BACK: _PostponedComesBack,
    Mutation.NEXT_FROM_NOW: _NextFromNow,
    Mutation.NEXT_FROM_DUE: _NextFromDue,
    Mutation.MISFIRE_IGNORED: _MisfireIgnored,
    Mutation.ALL_IS_ONCE: _AllIsOnce,
    Mutation.PAUSED_FIRES: _PausedFires,
    Mutation.HELD_FIRES: _HeldFires,
    Mutation.DOUBLED_ON_PAUSE: _DoubledOnPause,
    Mutation.RESUMED_IN_THE_PAST: _ResumedInThePast,
    Mutation.FIRED_NOW_ENDS: _FiredNowEnds,
    Mutation.KEPT_TOO_SOON: _KeptTooSoon,
    Mutation.DOUBTLESS: _Doubtless,
    Mutation.CANCELS_FORGOTTEN: _CancelsForgotten,
}
"""Engines with a defect."""


def _blind(out: Out) -> list[Out]:
    if out.value is not None:
        return [out]
    return [
        out._replace(headers=[(n, str(BEYOND).encode() if n == "scheduler-replaces" else v) for n, v in out.headers])
    ]


def _moving(out: Out) -> list[Out]:
    delay = dict(out.headers).get("delayed")
    if delay is None:
        return [out]
    return [
        out._replace(headers=[("scheduler-delay", delay) if n == "scheduler-epoch" else (n, v) for n, v in out.headers])
    ]


def _without_customers_headers(out: Out) -> list[Out]:
    return [out._replace(headers=[header for header in out.headers if header[0].startswith("scheduler-")])]


def _outcome(out: Out) -> bytes | None:
    return dict(out.headers).get("scheduler-outcome")


SCHEDULES, HISTORY = "schedules", "history"

RECORDS: dict[Mutation | None, tuple[str, Callable[[Out], list[Out]]]] = {
    Mutation.BLIND_TOMBSTONE: (SCHEDULES, _blind),
    Mutation.TOMBSTONE_ELSEWHERE: (SCHEDULES, lambda out: [] if out.value is None else [out]),
    Mutation.SUCCESSOR_ELSEWHERE: (SCHEDULES, lambda out: [out] if out.value is None else []),
    Mutation.NOT_TOLD: (HISTORY, lambda out: [] if _outcome(out) == b"cancelled" else [out]),
    Mutation.HISTORY_TWICE: (HISTORY, lambda out: [out, out] if _outcome(out) == b"fired" else [out]),
    Mutation.DELAY_MOVES: (SCHEDULES, _moving),
    Mutation.HEADERS_LOST: (SCHEDULES, _without_customers_headers),
}
"""What becomes of each record of a topic."""


def mutated(outs: list[Out], mutation: Mutation | None) -> list[Out]:
    """The records of a transaction, as the defect makes them."""
    if mutation not in RECORDS:
        return outs
    topic, change = RECORDS[mutation]
    return [changed for out in outs for changed in (change(out) if out.topic == topic else [out])]
