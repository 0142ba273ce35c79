"""Records of a client, made and checked before they are sent: new schedules, and changes to those in force.

Pure: values in, a `Write` out. A change goes to the partition where the schedule stands and carries
everything else of it along.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from scheduler import wire
from scheduler.engine.changes import Change, Verb, rewritten
from scheduler.errors import InputError
from scheduler.records import Stored, Write
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.schedule import PAUSE_KEY, Misfire, Rejected, Schedule, display

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.engine.targets import TargetPolicy
    from scheduler.schedule import Header

PAUSED = b"paused"
"""What stands under `PAUSE_KEY`; whatever it is, it pauses."""
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPED = re.compile(r"\\x([89a-fA-F][0-9a-fA-F])")


class NewSchedule(TypedDict, total=False):
    """What may be said of a new schedule; `SchedulerClient.schedule` says what each means."""

    at: datetime | int | None
    delay: str | timedelta | None
    cron: str | None
    timezone: str | None
    target_key: str | bytes | None
    target_partition: int | None
    target_tombstone: bool
    misfire: Misfire | None
    misfire_grace: str | None
    paused: bool
    headers: Mapping[str, str | bytes] | Sequence[Header]
    partition: int | None


def new(
    topic: str,
    key: str | bytes,
    payload: str | bytes,
    target_topic: str,
    now_ms: int,
    policy: TargetPolicy,
    *,
    at: datetime | int | None = None,
    delay: str | timedelta | None = None,
    target_key: str | bytes | None = None,
    target_partition: int | None = None,
    target_tombstone: bool = False,
    cron: str | None = None,
    timezone: str | None = None,
    misfire: Misfire | None = None,
    misfire_grace: str | None = None,
    paused: bool = False,
    headers: Mapping[str, str | bytes] | Sequence[Header] = (),
    partition: int | None = None,
) -> Write:
    """A schedule that was not there, or replaces what is there whole; see `SchedulerClient.schedule`.

    Raises:
        InputError: it is no schedule, or may not be fired to that target.
    """
    own = wire.schedule_headers(
        target_topic,
        due_ms=None if at is None else instant_ms(at),
        delay=f"{delay // timedelta(milliseconds=1)}ms" if isinstance(delay, timedelta) else delay,
        target_key=None if target_key is None else as_key(target_key),
        target_partition=target_partition,
        target_tombstone=target_tombstone,
        cron=cron,
        timezone=timezone,
        misfire=misfire,
        misfire_grace=misfire_grace,
        paused=paused,
        headers=listed(headers),
    )
    write = Write(topic, as_key(key), as_key(payload), own, partition)
    refusal = policy.refusal(_sound(write, now_ms).target_topic)
    if refusal is not None:
        raise InputError(f"{display(write.key)}: {refusal}")
    return write


def cancel(topic: str, partition: int, key: bytes) -> Write:
    """A record that ends whatever is in force under the key in that partition."""
    return Write(topic, key, None, partition=partition)


def fire(stored: Stored, now_ms: int) -> Write:
    """The same schedule, due now; a recurring one goes on from there.

    Raises:
        InputError: it would not fire, or not only that.
    """
    schedule = stored.schedule
    if stored.partition_paused:
        raise InputError(
            f"{schedule.schedule_id}: partition {stored.partition} of {stored.topic} is paused, it would not fire; "
            "let it go on with: scheduler resume --all"
        )
    if schedule.paused and schedule.rule is not None:
        raise InputError(
            f"{schedule.schedule_id}: is paused and recurring; a record that fires it would also resume it. "
            "Resume it first: scheduler resume"
        )
    return _changed(stored, wire.restated(schedule, due_ms=now_ms, paused=False), now_ms)


def reschedule(
    stored: Stored,
    now_ms: int,
    *,
    at: datetime | int | None = None,
    cron: str | None = None,
    timezone: str | None = None,
) -> Write:
    """The same schedule at another time, by another rule, or both.

    Raises:
        InputError: nothing is given, or it cannot be read.
    """
    name = stored.schedule.schedule_id
    if at is None and cron is None:
        raise InputError(f"{name}: neither a time nor a rule is given")
    if timezone is not None and cron is None:
        raise InputError(f"{name}: a time zone without a rule")
    try:
        rule = None if cron is None else parse_rule(cron, timezone or "UTC")
    except RecurrenceError as error:
        raise InputError(f"{name}: {error}") from None
    change = Change(Verb.RESCHEDULE, None if at is None else instant_ms(at), rule)
    return _changed(stored, rewritten(stored.schedule, change, now_ms), now_ms)


def pause(stored: Stored, now_ms: int) -> Write:
    """The same schedule, which waits until it is resumed."""
    return _changed(stored, rewritten(stored.schedule, Change(Verb.PAUSE), now_ms), now_ms)


def resume(stored: Stored, now_ms: int) -> Write:
    """The same schedule, which waits no longer; what a recurring one missed meanwhile is left out."""
    return _changed(stored, rewritten(stored.schedule, Change(Verb.RESUME), now_ms), now_ms)


def hold(topic: str, partitions: int, *, on: bool) -> list[Write]:
    """Records that pause every partition of a topic, or let them go on."""
    value = PAUSED if on else None
    return [Write(topic, PAUSE_KEY, value, partition=partition) for partition in range(partitions)]


def as_key(key: str | bytes) -> bytes:
    """A schedule id as the bytes of a key."""
    return key.encode() if isinstance(key, str) else key


def keys_shown_as(text: str) -> tuple[bytes, ...]:
    r"""The keys that are shown as this text: its own bytes, and with `\xNN` for what is not UTF-8."""
    plain = text.encode()
    if _ESCAPED.search(text) is None:
        return (plain,)
    parts = _ESCAPED.split(text)  # text, two digits, text, two digits, ..., text
    escaped = b"".join(bytes.fromhex(part) if number % 2 else part.encode() for number, part in enumerate(parts))
    return (plain, escaped) if display(escaped) == text else (plain,)


def instant_ms(at: datetime | int) -> int:
    """Unix ms of an instant, rounded up: rounding down would fire early.

    Raises:
        InputError: a datetime without an offset, or outside of 1970 to 9999.
    """
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise InputError(f"{at.isoformat()}: a time without an offset; give it a zone, as datetime.now(UTC) has")
        at = -((_1970 - at) // timedelta(milliseconds=1))
    if at < 0:
        raise InputError(f"{at} ms lie before 1970")
    return at


def _changed(stored: Stored, version: Schedule, now_ms: int) -> Write:
    # an owner's own mark: a client's record that carried it would be taken for an owner's
    own = [header for header in version.own_headers if header[0] != wire.REPLACES]
    write = Write(stored.topic, version.key, version.value, [*version.headers, *own], stored.partition)
    _sound(write, now_ms)
    return write


def _sound(write: Write, now_ms: int) -> Schedule:
    """What a replica will make of the record.

    Raises:
        InputError: it is no schedule.
    """
    fact = wire.decode(write.key, write.value, write.headers, timestamp_ms=now_ms)
    if isinstance(fact, Rejected):
        raise InputError(f"{display(write.key)}: {fact.detail}")
    if not isinstance(fact, Schedule):
        raise InputError(f"{display(write.key)}: the key is reserved")
    return fact


def listed(headers: Mapping[str, str | bytes] | Sequence[Header]) -> list[Header]:
    """Headers as a client may give them, as pairs of a name and bytes."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]
