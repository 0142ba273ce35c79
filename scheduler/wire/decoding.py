"""What a record of a schedules topic says: its headers into values, or why it is none."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from scheduler.durations import parse_duration
from scheduler.instants import LATEST_MS, epoch_ms, parse_instant
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.schedule import PAUSE_KEY, Cancel, Header, Misfire, Pause, Reason, Rejected, Schedule
from scheduler.shifted import shifted
from scheduler.wire.names import (
    AT,
    CONTINUES,
    CRON,
    DELAY,
    EPOCH,
    MISFIRE,
    MISFIRE_GRACE,
    PAUSED,
    PREFIX,
    REPLACES,
    REPORTED,
    SHIFT,
    STATED,
    TARGET_KEY,
    TARGET_PARTITION,
    TARGET_TOMBSTONE,
    TARGET_TOPIC,
    TIMEZONE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.recurrence import Rule

DEFAULT_RECURRING_GRACE_MS = 60_000
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_USUAL = frozenset((EPOCH, TARGET_TOPIC, TARGET_KEY))
_MOST_TARGETS = 10_000
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
    if stated.keys() <= _USUAL:  # nearly all; to ask for each of the others takes as long as the rest
        due_ms, target = _due(stated, None, timestamp_ms), _target_topic(stated)
        return Schedule(key, value, due_ms, target, stated.get(TARGET_KEY), None, customer, own, timestamp_ms, offset)
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
    if (EPOCH in stated) + (AT in stated) + (DELAY in stated) > 1:
        given = [name for name in (EPOCH, AT, DELAY) if name in stated]
        raise _RejectedError(Reason.SEVERAL_DUE_TIMES, f"{' and '.join(given)}: give one of them")
    if EPOCH in stated:
        text = _text(stated, EPOCH, Reason.BAD_EPOCH)
        due_ms = epoch_ms(text)
        if due_ms is None:
            raise _RejectedError(
                Reason.BAD_EPOCH,
                f"{EPOCH}: {text[:40]!r} is not Unix seconds such as 1893456000 or 1893456000.250, up to the year 9999",
            )
        return due_ms
    if AT in stated:
        text = _text(stated, AT, Reason.BAD_AT)
        due_ms = parse_instant(text)
        if due_ms is None:
            raise _RejectedError(
                Reason.BAD_AT,
                f"{AT}: {text[:40]!r} is not an RFC 3339 instant with offset, from 1970 on: 2030-01-01T00:00:00Z",
            )
        return due_ms
    if DELAY in stated:
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
    return _topic_name(stated[TARGET_TOPIC])


@lru_cache(_MOST_TARGETS)
def _topic_name(raw: bytes | None) -> str:
    topic = _text({TARGET_TOPIC: raw}, TARGET_TOPIC, Reason.BAD_TARGET)
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
