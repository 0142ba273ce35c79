"""What the scheduler and its clients write: values into headers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler.durations import format_duration
from scheduler.instants import format_epoch
from scheduler.schedule import Header, Misfire, Outcome, Rejected, Schedule, fire_id
from scheduler.wire.decoding import DEFAULT_RECURRING_GRACE_MS
from scheduler.wire.names import (
    AT,
    CONTINUES,
    CRON,
    DELAY,
    EPOCH,
    FIRE_ID,
    KEY,
    LATENESS,
    MISFIRE,
    MISFIRE_GRACE,
    OUTCOME,
    PAUSED,
    REASON,
    REASON_DETAIL,
    REPLACES,
    REPORTED,
    SHIFT,
    TARGET_KEY,
    TARGET_PARTITION,
    TARGET_TOMBSTONE,
    TARGET_TOPIC,
    TIMESTAMP,
    TIMEZONE,
    TOPIC,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.recurrence import Rule

BARE_DETAIL = 200


def said_of(schedule: Schedule, topic: bytes, due_ms: int) -> tuple[Header, ...]:
    """What the scheduler says of an occurrence, wherever it writes of it; the topic as UTF-8."""
    key = schedule.key
    name = b"%b@%d" % (key, due_ms) if key.isascii() else fire_id(key, due_ms).encode()
    return (
        (TIMESTAMP, b"%d" % (schedule.timestamp_ms // 1000)),
        (KEY, key),
        (TOPIC, topic),
        (EPOCH, format_epoch(due_ms)),
        (FIRE_ID, name),
    )


_OF_ONE_VERSION = frozenset((EPOCH, AT, DELAY, REPLACES, CONTINUES))
_OUTCOMES: dict[Outcome, Header] = {outcome: (OUTCOME, outcome.value.encode()) for outcome in Outcome}


def _lasting(schedule: Schedule) -> list[Header]:
    """The schedule's own headers without those of one version: its due time, and what it replaced."""
    return [header for header in schedule.own_headers if header[0] not in _OF_ONE_VERSION]


def lasting_headers(schedule: Schedule) -> list[Header]:
    """What a record of the schedule carries but for its due time: the customer's headers, then its own."""
    return [*schedule.headers, *_lasting(schedule)]


def fired_headers(schedule: Schedule, said: tuple[Header, ...]) -> list[Header]:
    """Headers of the message at the target: the customer's, then what the scheduler says of it (`said_of`)."""
    return [*schedule.headers, *said]


def history_headers(
    schedule: Schedule,
    said: tuple[Header, ...],
    outcome: Outcome,
    *,
    lateness_ms: int,
    reason: str | None = None,
    detail: str | None = None,
) -> list[Header]:
    """Headers of the history record of one version of a schedule; `said` is what `said_of` says."""
    headers = [
        *schedule.headers,
        *_lasting(schedule),
        *said,
        _OUTCOMES[outcome],
        (LATENESS, b"%d" % lateness_ms),
    ]
    return headers if reason is None and detail is None else _with_reason(headers, reason, detail)


_FIRED = _OUTCOMES[Outcome.FIRED]


def last_firing_headers(
    schedule: Schedule, topic: str, due_ms: int, lateness_ms: int, replaces: int
) -> tuple[list[Header], list[Header], list[Header]]:
    """What `fired_headers`, `history_headers` and `tombstone_headers` are where a schedule fires, and is over.

    In half the time, as that is what a replica does most.
    """
    key, headers = schedule.key, schedule.headers
    said: tuple[Header, ...] = (
        (TIMESTAMP, b"%d" % (schedule.timestamp_ms // 1000)),
        (KEY, key),
        (TOPIC, topic.encode()),
        (EPOCH, format_epoch(due_ms)),
        (FIRE_ID, b"%b@%d" % (key, due_ms) if key.isascii() else fire_id(key, due_ms).encode()),
    )
    lasting = [header for header in schedule.own_headers if header[0] not in _OF_ONE_VERSION]
    return (
        [*headers, *said],
        [*headers, *lasting, *said, _FIRED, (LATENESS, b"%d" % lateness_ms)],
        [(REPLACES, b"%d" % replaces), _FIRED],
    )


def rejected_headers(rejected: Rejected, topic: str) -> list[Header]:
    """Headers of the history record of a record that is no schedule: all of its own, and why."""
    headers: list[Header] = [
        *(header for header in rejected.headers if header[0] not in REPORTED),
        (TIMESTAMP, b"%d" % (rejected.timestamp_ms // 1000)),
        (KEY, rejected.key),
        (TOPIC, topic.encode()),
        (OUTCOME, Outcome.REJECTED.value.encode()),
    ]
    return _with_reason(headers, rejected.reason, rejected.detail)


def bare_headers(
    subject: Schedule | Rejected, due_ms: int, outcome: Outcome, reason: str | None, detail: str | None
) -> list[Header]:
    """Headers of a history record that can hold nothing of what the customer chose but the key."""
    headers: list[Header] = [(OUTCOME, outcome.value.encode())]
    if isinstance(subject, Rejected):
        reason, detail = subject.reason, subject.detail
    else:
        headers = [(TARGET_TOPIC, subject.target_topic.encode()), (EPOCH, format_epoch(due_ms)), *headers]
    return _with_reason(headers, reason, None if detail is None else detail[:BARE_DETAIL])


def _with_reason(headers: list[Header], reason: str | None, detail: str | None) -> list[Header]:
    if reason is not None:
        headers.append((REASON, reason.encode()))
    if detail is not None:
        headers.append((REASON_DETAIL, detail.encode()))
    return headers


def tombstone_headers(replaces: int, outcome: Outcome) -> list[Header]:
    """Headers of the tombstone that ends the version at the offset `replaces`."""
    return [(REPLACES, b"%d" % replaces), _OUTCOMES[outcome]]


def successor_headers(schedule: Schedule, due_ms: int, replaces: int) -> list[Header]:
    """Headers of a version that the scheduler writes back: the schedule as it stands, due at `due_ms`.

    The due time is absolute: the record's Kafka timestamp is a new one, a delay would move with it.
    """
    return [
        *lasting_headers(schedule),
        (EPOCH, format_epoch(due_ms)),
        (REPLACES, b"%d" % replaces),
    ]


def restated(
    schedule: Schedule, *, due_ms: int | None = None, rule: Rule | None = None, paused: bool | None = None
) -> Schedule:
    """The same version with another due time, another rule, paused or not; what is None stays as it is.

    A one-shot that becomes recurring can no longer `fire` however late; it gets the default of recurring ones.
    """
    now = replace(
        schedule,
        due_ms=schedule.due_ms if due_ms is None else due_ms,
        rule=schedule.rule if rule is None else rule,
        paused=schedule.paused if paused is None else paused,
    )
    changed = (EPOCH, AT, DELAY, PAUSED) if rule is None else (EPOCH, AT, DELAY, PAUSED, CRON, TIMEZONE, SHIFT)
    now.own_headers = [header for header in schedule.own_headers if header[0] not in changed]
    if rule is not None and now.misfire is Misfire.FIRE:
        now.misfire = Misfire.ONCE
        now.own_headers = [header for header in now.own_headers if header[0] != MISFIRE]
    if rule is not None and now.grace_ms is None:
        now.grace_ms = DEFAULT_RECURRING_GRACE_MS
    now.own_headers.append((EPOCH, format_epoch(now.due_ms)))
    if rule is not None:
        now.own_headers += [(CRON, rule.text.encode()), (TIMEZONE, rule.timezone.encode())]
        if rule.shift_ms:
            now.own_headers.append((SHIFT, format_duration(rule.shift_ms).encode()))
    if now.paused:
        now.own_headers.append((PAUSED, b"true"))
    return now


def schedule_headers(
    target_topic: str,
    *,
    due_ms: int | None = None,
    delay: str | None = None,
    target_key: bytes | None = None,
    target_partition: int | None = None,
    target_tombstone: bool = False,
    cron: str | None = None,
    timezone: str | None = None,
    shift_ms: int = 0,
    misfire: Misfire | None = None,
    misfire_grace: str | None = None,
    paused: bool = False,
    headers: Sequence[Header] = (),
) -> list[Header]:
    """Headers of a new schedule record, as a client writes it; `decode` says whether they are sound."""
    stated: list[tuple[str, bytes | None]] = [
        (EPOCH, None if due_ms is None else format_epoch(due_ms)),
        (DELAY, None if delay is None else delay.encode()),
        (TARGET_TOPIC, target_topic.encode()),
        (TARGET_KEY, target_key),
        (TARGET_PARTITION, None if target_partition is None else b"%d" % target_partition),
        (TARGET_TOMBSTONE, b"true" if target_tombstone else None),
        (CRON, None if cron is None else cron.encode()),
        (TIMEZONE, None if timezone is None else timezone.encode()),
        (SHIFT, format_duration(shift_ms).encode() if shift_ms else None),
        (MISFIRE, None if misfire is None else misfire.value.encode()),
        (MISFIRE_GRACE, None if misfire_grace is None else misfire_grace.encode()),
        (PAUSED, b"true" if paused else None),
    ]
    return [*headers, *(header for header in stated if header[1] is not None)]
