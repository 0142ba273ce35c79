"""What one transaction says about one version of a schedule, and the records that say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from scheduler import wire
from scheduler.schedule import Header, Outcome, Reason, Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence


class Told(IntEnum):
    """How much of a version the history and the dead letters get: less each time that they cannot take it."""

    ALL = 0
    WITHOUT_PAYLOAD = 1
    BARE = 2  # what became of it, and none of its own headers
    NOTHING = 3  # not even its key fits


@dataclass(slots=True)
class Settlement:
    """How a version ends, and what stands under its key afterwards."""

    subject: Schedule | Rejected
    outcome: Outcome | None
    """None: nothing happened to it, it is only written again behind a record that hides it."""
    due_ms: int
    """The occurrence that it is about."""
    lateness_ms: int
    replaces: int
    """Offset of the newest record of the key that this settles."""
    successor: Schedule | None
    """The version written back; None is a tombstone."""
    successor_due_ms: int = 0
    reason: Reason | None = None
    detail: str | None = None
    writes_back: bool = True
    """False where another settlement of the same transaction writes under this key."""
    told: Told = Told.ALL


class Place(NamedTuple):
    """Where a partition's records go."""

    topic: str
    partition: int
    history_topic: str
    dead_letter_topic: str


class Out(NamedTuple):
    """A record to produce; without a partition the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[Header]


_new: Final = tuple.__new__
"""Makes an `Out` in half the time of a call."""
_FIRED: Final = Outcome.FIRED
_ALL: Final = Told.ALL
"""To ask an enumeration takes four times as long as a name, and each firing does so several times."""


def weight(settlement: Settlement) -> int:
    """Bytes of the largest of its records, without what the scheduler says in it."""
    subject = settlement.subject
    headers = [*subject.headers, *subject.own_headers] if isinstance(subject, Schedule) else subject.headers
    return (
        len(subject.key or b"")
        + len(subject.value or b"")
        + sum(len(name) + len(said or b"") for name, said in headers)
    )


def records(settlement: Settlement, place: Place) -> Sequence[Out]:
    """The records of one settlement: the delivery and the bookkeeping. They belong in one transaction."""
    subject = settlement.subject
    if (
        settlement.outcome is _FIRED
        and settlement.successor is None
        and settlement.told is _ALL
        and settlement.reason is None
        and settlement.writes_back
        and isinstance(subject, Schedule)
    ):
        return _fired_for_good(settlement, subject, place)
    said = _said(settlement, place)
    out = _delivery(settlement, said)
    told = _bookkeeping(settlement, place, said)
    return told if out is None else [out, *told]


def _fired_for_good(settlement: Settlement, schedule: Schedule, place: Place) -> tuple[Out, Out, Out]:
    """The same of what ends by firing, as nearly everything does: in half the time."""
    key, value = schedule.key, schedule.value
    message, told, ended = wire.last_firing_headers(
        schedule, place.topic, settlement.due_ms, settlement.lateness_ms, settlement.replaces
    )
    payload = None if schedule.delivers_null else value
    return (
        _new(Out, (schedule.target_topic, schedule.target_partition, schedule.target_key, payload, message)),
        _new(Out, (place.history_topic, None, key, value, told)),
        _new(Out, (place.topic, place.partition, key, None, ended)),
    )


def delivery(settlement: Settlement, place: Place) -> Out | None:
    """The message to the target, where there is one."""
    return _delivery(settlement, _said(settlement, place))


def bookkeeping(settlement: Settlement, place: Place) -> list[Out]:
    """What the scheduler keeps of it: the history, the dead letter, the successor."""
    return _bookkeeping(settlement, place, _said(settlement, place))


_Said = tuple[Header, ...]


def _said(settlement: Settlement, place: Place) -> _Said:
    subject = settlement.subject
    if settlement.outcome is None or isinstance(subject, Rejected):
        return ()
    return wire.said_of(subject, place.topic.encode(), settlement.due_ms)


def _delivery(settlement: Settlement, said: _Said) -> Out | None:
    subject = settlement.subject
    if settlement.outcome is not Outcome.FIRED or isinstance(subject, Rejected):
        return None
    return Out(
        subject.target_topic,
        subject.target_partition,
        subject.target_key,
        None if subject.delivers_null else subject.value,
        wire.fired_headers(subject, said),
    )


def _bookkeeping(settlement: Settlement, place: Place, said: _Said) -> list[Out]:
    subject = settlement.subject
    outcome = settlement.outcome
    outs = []
    if outcome is not None and settlement.told is not Told.NOTHING:
        value = subject.value if settlement.told is Told.ALL else None
        headers = _history_headers(settlement, outcome, place, said)
        outs.append(Out(place.history_topic, None, subject.key, value, headers))
        if outcome is Outcome.UNDELIVERABLE:
            outs.append(Out(place.dead_letter_topic, None, subject.key, value, headers))
    if subject.key is None or not settlement.writes_back:
        return outs
    successor = settlement.successor
    if successor is None:
        ended = wire.tombstone_headers(settlement.replaces, outcome or Outcome.CANCELLED)
        outs.append(Out(place.topic, place.partition, subject.key, None, ended))
    else:
        headers = wire.successor_headers(successor, settlement.successor_due_ms, settlement.replaces)
        outs.append(Out(place.topic, place.partition, subject.key, successor.value, headers))
    return outs


def _history_headers(settlement: Settlement, outcome: Outcome, place: Place, said: _Said) -> list[Header]:
    subject, reason, detail = settlement.subject, settlement.reason, settlement.detail
    if settlement.told is Told.BARE:
        return wire.bare_headers(subject, settlement.due_ms, outcome, reason, detail)
    if isinstance(subject, Rejected):
        return wire.rejected_headers(subject, place.topic)
    return wire.history_headers(
        subject,
        said,
        outcome,
        lateness_ms=settlement.lateness_ms,
        reason=reason,
        detail=detail,
    )


def undeliverable(settlement: Settlement, reason: Reason, detail: str) -> Settlement:
    """The same settlement where the target cannot have the message: recorded, copied to the dead letters, over.

    Where that was tried already, less is told of it: the history could not take it either.
    """
    if isinstance(settlement.subject, Rejected):
        return replace(settlement, told=_less(settlement.told))
    told = _less(settlement.told) if settlement.outcome is Outcome.UNDELIVERABLE else settlement.told
    return replace(settlement, outcome=Outcome.UNDELIVERABLE, reason=reason, detail=detail, told=told)


def refused(settlement: Settlement, reason: Reason, detail: str, topics: frozenset[str], place: Place) -> Settlement:
    """The same settlement after `topics` have refused a record of it; empty: it is not known which one.

    Each time it asks for less, so that it ends: no delivery, no next occurrence, less of it in the history.
    """
    subject = settlement.subject
    if isinstance(subject, Schedule):
        if place.topic in topics and settlement.successor is not None:  # it cannot be written again: it ends here
            settlement = replace(settlement, successor=None, successor_due_ms=0)
            return undeliverable(settlement, reason, detail)
        if settlement.outcome is Outcome.FIRED and (not topics or subject.target_topic in topics):
            return undeliverable(settlement, reason, detail)
    elif place.topic in topics:
        settlement = replace(settlement, successor=None, successor_due_ms=0)
    return replace(settlement, reason=reason, detail=detail, told=_less(settlement.told))


def _less(told: Told) -> Told:
    return Told(min(told + 1, Told.NOTHING))


def arrived(settlement: Settlement, due_ms: int, lateness_ms: int) -> Settlement:
    """The same settlement where an occurrence of the version has been delivered before, and nothing tells of it yet.

    Whatever is decided now (the version is too late by now, or cancelled since, or a later occurrence is the latest
    one), that occurrence was fired. A recurring schedule goes on behind it: what came due since is decided next.
    """
    subject = settlement.subject
    if not isinstance(subject, Schedule) or (settlement.outcome is Outcome.FIRED and settlement.due_ms == due_ms):
        return settlement
    successor, successor_due_ms = settlement.successor, settlement.successor_due_ms
    if successor is subject and subject.rule is not None:
        successor_due_ms = subject.rule.next_after(due_ms, due_ms) or 0
        successor = successor if successor_due_ms else None
    return replace(
        settlement,
        outcome=Outcome.FIRED,
        due_ms=due_ms,
        lateness_ms=lateness_ms,
        successor=successor,
        successor_due_ms=successor_due_ms,
        reason=None,
        detail=None,
    )
