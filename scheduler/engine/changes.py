"""What may be asked of a schedule in force, by an operator or by a version that continues it, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler import wire

if TYPE_CHECKING:
    from scheduler.recurrence import Rule
    from scheduler.schedule import Schedule


class Verb(StrEnum):
    """What is asked."""

    CANCEL = "cancel"  # it ends, and never fires
    FIRE = "fire"  # it fires now; a recurring one goes on as before
    PAUSE = "pause"  # it stays, and waits for `resume`
    RESUME = "resume"  # it goes on; occurrences of a recurring one that passed meanwhile are left out
    RESCHEDULE = "reschedule"  # another due time, another rule, or both


@dataclass(frozen=True, slots=True)
class Change:
    """A request; `due_ms` (Unix ms) and `rule` are for `RESCHEDULE`, at least one of them."""

    verb: Verb
    due_ms: int | None = None
    rule: Rule | None = None


class NotPendingError(Exception):
    """No schedule of that key is in force: it was never there, has fired or was cancelled."""


def rewritten(version: Schedule, change: Change, now_ms: int) -> Schedule:
    """The version that a pause, a resumption or another due time makes of it.

    A new rule without a due time begins with its next occurrence. One that never occurs leaves the due
    time as it was.
    """
    due_ms, rule = change.due_ms, change.rule
    if change.verb is Verb.PAUSE:
        return wire.restated(version, paused=True)
    if change.verb is Verb.RESUME:
        follows = version.paused and version.rule is not None and version.due_ms <= now_ms
        due_ms = version.rule.next_after(now_ms, version.due_ms) if follows and version.rule else None
        return wire.restated(version, due_ms=due_ms, paused=False)
    if due_ms is None and rule is not None:
        due_ms = rule.next_after(now_ms, now_ms)
    return wire.restated(version, due_ms=due_ms, rule=rule)


def continuing(version: Schedule, base: Schedule | None, acted_ms: int | None = None) -> Schedule:
    """The version as it goes on from the one that it replaces; the same object where that changes nothing.

    By the same rule, shifted otherwise or not, it is due at the occurrence at which that one is: what has
    fired does not fire again, what has not is not lost.
    By another rule it is due as it says, but not again at an instant that has fired: one that had come when an
    owner last wrote (`acted_ms`, where that one is not an owner's record itself) and for which that one waits no more.
    """
    if base is None:
        return version
    due_ms, rule = version.due_ms, version.rule
    if rule is None:
        return version
    if base.replaces is not None:
        acted_ms = base.timestamp_ms
    if base.rule is not None and (base.rule.text, base.rule.timezone) == (rule.text, rule.timezone):
        due_ms = base.due_ms - base.rule.shift_ms + rule.shift_ms
    elif acted_ms is not None and due_ms <= acted_ms and due_ms < base.due_ms:
        following_ms = rule.next_after(acted_ms, due_ms)
        due_ms = due_ms if following_ms is None else following_ms
    paused = version.paused or base.paused
    if (due_ms, paused) == (version.due_ms, version.paused):
        return version
    return wire.restated(version, due_ms=due_ms, paused=paused)
