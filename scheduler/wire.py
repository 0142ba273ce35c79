"""The wire contract: headers of a schedule record into values, and values into headers.

Pure: `decode` sees bytes, the functions below it return lists of headers. The names are those of
etf1/kafka-message-scheduler where it has them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler.durations import format_duration, parse_duration
from scheduler.instants import LATEST_MS, epoch_ms, format_epoch, parse_instant
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.schedule import (
    PAUSE_KEY,
    Cancel,
    Header,
    Misfire,
    Outcome,
    Pause,
    Reason,
    Rejected,
    Schedule,
    fire_id,
)
from scheduler.shifted import shifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.recurrence import Rule

PREFIX = "scheduler-"
EPOCH = "scheduler-epoch"
AT = "scheduler-at"
DELAY = "scheduler-delay"
TARGET_TOPIC = "scheduler-target-topic"
TARGET_KEY = "scheduler-target-key"
TARGET_PARTITION = "scheduler-target-partition"
TARGET_TOMBSTONE = "scheduler-target-tombstone"
CRON = "scheduler-cron"
TIMEZONE = "scheduler-timezone"
SHIFT = "scheduler-shift"
MISFIRE = "scheduler-misfire"
MISFIRE_GRACE = "scheduler-misfire-grace"
PAUSED = "scheduler-paused"
CONTINUES = "scheduler-continues"
REPLACES = "scheduler-replaces"
TIMESTAMP = "scheduler-timestamp"
KEY = "scheduler-key"
TOPIC = "scheduler-topic"
FIRE_ID = "scheduler-fire-id"
OUTCOME = "scheduler-outcome"
REASON = "scheduler-reason"
REASON_DETAIL = "scheduler-reason-detail"
LATENESS = "scheduler-lateness-ms"

STATED = frozenset(
    {
        EPOCH,
        AT,
        DELAY,
        TARGET_TOPIC,
        TARGET_KEY,
        TARGET_PARTITION,
        TARGET_TOMBSTONE,
        CRON,
        TIMEZONE,
        SHIFT,
        MISFIRE,
        MISFIRE_GRACE,
        PAUSED,
        CONTINUES,
        REPLACES,
    }
)
"""What a schedule record states."""
REPORTED = frozenset({TIMESTAMP, KEY, TOPIC, FIRE_ID, OUTCOME, REASON, REASON_DETAIL, LATENESS})
"""What the scheduler adds to what it writes; on a schedule record they say nothing and are dropped,
so that a consumer may send a fired message back with all its headers."""

BARE_DETAIL = 200
DEFAULT_RECURRING_GRACE_MS = 60_000
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


class _RejectedError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode(
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[Header] | None,
    *,
    timestamp_ms: int,
    offset: int = -1,
) -> Schedule | Cancel | Pause | Rejected:
    """Read a record of a schedules topic.

    Never raises for what a record holds: a record that is no schedule comes back as `Rejected`.
    """
    given = headers or ()
    try:
        # an empty key is no id, but its tombstone must not be one more refusal to be answered by a tombstone
        if key is None or (not key and value is not None):
            raise _RejectedError(Reason.MISSING_KEY, "the record has no key; the key is the schedule id")
        if key == PAUSE_KEY:
            return Pause(value is not None, offset)
        if value is None:
            return Cancel(key, offset, timestamp_ms, _cancelled_version(given))
        return _schedule(key, value, given, timestamp_ms, offset)
    except _RejectedError as error:
        return Rejected(key, value, list(given), offset, timestamp_ms, error.reason, str(error))


def _cancelled_version(headers: Sequence[Header]) -> int | None:
    for name, raw in headers:
        if name == REPLACES:
            return _offset(raw)
    return None


def _schedule(key: bytes, value: bytes, headers: Sequence[Header], timestamp_ms: int, offset: int) -> Schedule:
    stated: dict[str, bytes | None] = {}
    own: list[Header] = []
    customer: list[Header] = []
    for header in headers:
        name = header[0]
        if not name.startswith(PREFIX):
            customer.append(header)
        elif name in STATED:
            if name in stated:
                raise _RejectedError(Reason.REPEATED_HEADER, f"{name} is there twice")
            stated[name] = header[1]
            own.append(header)
        elif name not in REPORTED:
            raise _RejectedError(
                Reason.UNKNOWN_HEADER, f"{name[:80]} is not known; names that begin with {PREFIX} are reserved"
            )
    rule = _rule(stated)
    misfire, grace_ms = _misfire(stated, recurring=rule is not None)
    return Schedule(
        key=key,
        value=value,
        due_ms=_due(stated, rule, timestamp_ms),
        target_topic=_target_topic(stated),
        target_key=stated.get(TARGET_KEY),
        target_partition=_target_partition(stated),
        headers=customer,
        own_headers=own,
        timestamp_ms=timestamp_ms,
        offset=offset,
        rule=rule,
        misfire=misfire,
        grace_ms=grace_ms,
        replaces=_offset(stated[REPLACES]) if REPLACES in stated else None,
        delivers_null=TARGET_TOMBSTONE in stated and _flag(stated, TARGET_TOMBSTONE, Reason.BAD_TOMBSTONE),
        paused=PAUSED in stated and _flag(stated, PAUSED, Reason.BAD_PAUSED),
        continues=_continues(stated),
    )


def _text(stated: dict[str, bytes | None], name: str, reason: Reason) -> str:
    raw = stated[name]
    if raw is None:
        raise _RejectedError(reason, f"{name} is null")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _RejectedError(Reason.NOT_UTF8, f"{name} is not UTF-8: {raw[:40]!r}") from None


def _flag(stated: dict[str, bytes | None], name: str, reason: Reason) -> bool:
    text = _text(stated, name, reason)
    if text not in ("true", "false"):
        raise _RejectedError(reason, f"{name}: {text[:40]!r} is neither true nor false")
    return text == "true"


def _continues(stated: dict[str, bytes | None]) -> bool:
    if CONTINUES not in stated:
        return False
    continues = _flag(stated, CONTINUES, Reason.BAD_CONTINUES)
    if continues and (CRON not in stated or EPOCH not in stated):
        raise _RejectedError(Reason.BAD_CONTINUES, f"{CONTINUES} is for a schedule with {CRON} and {EPOCH}")
    return continues


def _due(stated: dict[str, bytes | None], rule: Rule | None, timestamp_ms: int) -> int:
    given = [name for name in (EPOCH, AT, DELAY) if name in stated]
    if len(given) > 1:
        raise _RejectedError(Reason.SEVERAL_DUE_TIMES, f"{' and '.join(given)}: give one of them")
    if given == [EPOCH]:
        text = _text(stated, EPOCH, Reason.BAD_EPOCH)
        due_ms = epoch_ms(text)
        if due_ms is None:
            raise _RejectedError(
                Reason.BAD_EPOCH,
                f"{EPOCH}: {text[:40]!r} is not Unix seconds such as 1893456000 or 1893456000.250, up to the year 9999",
            )
        return due_ms
    if given == [AT]:
        text = _text(stated, AT, Reason.BAD_AT)
        due_ms = parse_instant(text)
        if due_ms is None:
            raise _RejectedError(
                Reason.BAD_AT,
                f"{AT}: {text[:40]!r} is not an RFC 3339 instant with offset, from 1970 on: 2030-01-01T00:00:00Z",
            )
        return due_ms
    if given == [DELAY]:
        try:
            delay_ms = parse_duration(_text(stated, DELAY, Reason.BAD_DELAY))
        except ValueError as error:
            raise _RejectedError(Reason.BAD_DELAY, f"{DELAY}: {error}") from None
        if timestamp_ms < 0:
            raise _RejectedError(Reason.BAD_DELAY, f"{DELAY}: the record has no Kafka timestamp to count from")
        if timestamp_ms + delay_ms > LATEST_MS:
            raise _RejectedError(Reason.BAD_DELAY, f"{DELAY}: counted from the record's timestamp, after the year 9999")
        return timestamp_ms + delay_ms
    if rule is None:
        raise _RejectedError(Reason.MISSING_DUE_TIME, f"one of {EPOCH}, {AT}, {DELAY} or {CRON} is needed")
    due_ms = rule.next_after(timestamp_ms, timestamp_ms)
    if due_ms is None:
        raise _RejectedError(Reason.BAD_CRON, f"{CRON}: {rule.text} never occurs")
    return due_ms


def _target_topic(stated: dict[str, bytes | None]) -> str:
    if TARGET_TOPIC not in stated:
        raise _RejectedError(Reason.MISSING_TARGET, f"{TARGET_TOPIC} is missing")
    topic = _text(stated, TARGET_TOPIC, Reason.BAD_TARGET)
    if not is_topic_name(topic):
        raise _RejectedError(Reason.BAD_TARGET, f"{TARGET_TOPIC}: {topic[:60]!r} is not a topic name")
    return topic


def is_topic_name(text: str) -> bool:
    """Whether a broker would take it for the name of a topic."""
    return _TOPIC.fullmatch(text) is not None and text not in (".", "..")


def _target_partition(stated: dict[str, bytes | None]) -> int | None:
    if TARGET_PARTITION not in stated:
        return None
    text = _text(stated, TARGET_PARTITION, Reason.BAD_PARTITION)
    if _WHOLE.fullmatch(text) is None or int(text) > 2**31 - 1:
        raise _RejectedError(Reason.BAD_PARTITION, f"{TARGET_PARTITION}: {text[:40]!r} is not a partition number")
    return int(text)


def _rule(stated: dict[str, bytes | None]) -> Rule | None:
    if CRON not in stated:
        if TIMEZONE in stated:
            raise _RejectedError(Reason.BAD_TIMEZONE, f"{TIMEZONE} without {CRON}")
        if SHIFT in stated:
            raise _RejectedError(Reason.BAD_SHIFT, f"{SHIFT} without {CRON}")
        return None
    expression = _text(stated, CRON, Reason.BAD_CRON)
    timezone = _text(stated, TIMEZONE, Reason.BAD_TIMEZONE) if TIMEZONE in stated else "UTC"
    try:
        rule = parse_rule(expression, timezone)
    except RecurrenceError as error:
        _check_timezone(timezone)
        raise _RejectedError(Reason.BAD_CRON, f"{CRON}: {error}") from None
    return _shifted(rule, stated) if SHIFT in stated else rule


def _shifted(rule: Rule, stated: dict[str, bytes | None]) -> Rule:
    try:
        return shifted(rule, parse_duration(_text(stated, SHIFT, Reason.BAD_SHIFT)))
    except ValueError as error:
        raise _RejectedError(Reason.BAD_SHIFT, f"{SHIFT}: {error}") from None


def _check_timezone(timezone: str) -> None:
    try:
        parse_rule("* * * * *", timezone)
    except RecurrenceError as error:
        raise _RejectedError(Reason.BAD_TIMEZONE, f"{TIMEZONE}: {error}") from None


def _misfire(stated: dict[str, bytes | None], *, recurring: bool) -> tuple[Misfire, int | None]:
    allowed = (Misfire.ONCE, Misfire.ALL, Misfire.SKIP) if recurring else (Misfire.FIRE, Misfire.SKIP)
    policy = allowed[0]
    if MISFIRE in stated:
        text = _text(stated, MISFIRE, Reason.BAD_MISFIRE)
        if text not in allowed:
            raise _RejectedError(Reason.BAD_MISFIRE, f"{MISFIRE}: {text[:40]!r} is not one of {', '.join(allowed)}")
        policy = Misfire(text)
    grace_ms = DEFAULT_RECURRING_GRACE_MS if recurring else None
    if MISFIRE_GRACE in stated:
        try:
            grace_ms = parse_duration(_text(stated, MISFIRE_GRACE, Reason.BAD_MISFIRE))
        except ValueError as error:
            raise _RejectedError(Reason.BAD_MISFIRE, f"{MISFIRE_GRACE}: {error}") from None
    return policy, grace_ms


def _offset(raw: bytes | None) -> int:
    text = (raw or b"").decode("ascii", "replace")
    if _WHOLE.fullmatch(text) is None:
        raise _RejectedError(Reason.BAD_REPLACES, f"{REPLACES}: {text[:40]!r} is not an offset")
    return int(text)


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
