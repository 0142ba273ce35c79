"""The contract as the judge reads it, from docs/contract.md: what a record states, what a message or a history says.

Written once more, on purpose: a misreading in the scheduler must not be the judge's too. Only the notations are
shared (a duration, an instant, a cron expression): they decide nothing, and vectors of their own test them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from scheduler.durations import parse_duration
from scheduler.instants import LATEST_MS, parse_instant
from scheduler.recurrence import RecurrenceError, parse_rule

if TYPE_CHECKING:
    from scheduler.audit.records import Header, Record
    from scheduler.recurrence import Rule

OWN = "scheduler-"
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
GRACE = "scheduler-misfire-grace"
PAUSED = "scheduler-paused"
CONTINUES = "scheduler-continues"
REPLACES = "scheduler-replaces"
TIMESTAMP = "scheduler-timestamp"
KEY = "scheduler-key"
TOPIC = "scheduler-topic"
FIRE_ID = "scheduler-fire-id"
OUTCOME = "scheduler-outcome"
REASON = "scheduler-reason"
DETAIL = "scheduler-reason-detail"
LATENESS = "scheduler-lateness-ms"

OF_ONE_VERSION = frozenset({EPOCH, AT, DELAY, REPLACES, CONTINUES})
STATED = OF_ONE_VERSION | {
    TARGET_TOPIC,
    TARGET_KEY,
    TARGET_PARTITION,
    TARGET_TOMBSTONE,
    CRON,
    TIMEZONE,
    SHIFT,
    MISFIRE,
    GRACE,
    PAUSED,
}
OF_A_MESSAGE = frozenset({TIMESTAMP, KEY, TOPIC, EPOCH, FIRE_ID})
ADDED = frozenset({TIMESTAMP, KEY, TOPIC, FIRE_ID, OUTCOME, REASON, DETAIL, LATENESS})

FIRED, MISFIRED, CANCELLED = b"fired", b"misfired", b"cancelled"
REJECTED, UNDELIVERABLE = b"rejected", b"undeliverable"
PAUSE_KEY = b"||scheduler-paused||"
RECURRING_GRACE_MS = 60_000

_SECONDS = re.compile(rb"([0-9]{1,12})(?:\.([0-9]{1,3}))?")
_NUMBER = re.compile(rb"[0-9]{1,18}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


class RefusedError(Exception):
    """A record that is no schedule; the message says why."""


class Version(NamedTuple):
    """A schedule as one record states it. Instants are Unix ms."""

    record: Record
    due_ms: int
    target: str
    target_key: bytes | None
    target_partition: int | None
    delivers_null: bool
    customers: tuple[Header, ...]
    """The customer's headers, in order."""
    lasting: tuple[Header, ...]
    """What else it states, sorted, without what is of one version only."""
    rule: Rule | None
    shift_ms: int
    misfire: str
    grace_ms: int | None
    paused: bool
    continues: bool

    @property
    def offset(self) -> int:
        """Where it stands."""
        return self.record.offset

    def same_words(self, other: Version) -> bool:
        """Whether it says the same as another one, at another time."""
        return (
            self.record.value_sha256 == other.record.value_sha256
            and self.customers == other.customers
            and self.lasting == other.lasting
        )

    def same_payload(self, other: Version) -> bool:
        """Whether both are of one customer's record, whatever an operator has made of it since."""
        return self.record.value_sha256 == other.record.value_sha256 and self.customers == other.customers

    def reads_as(self, other: Version) -> bool:
        """Whether messages of both cannot be told apart, but for their due time."""
        return self.same_payload(other) and self.written_s == other.written_s

    @property
    def written_s(self) -> bytes:
        """`scheduler-timestamp` of its messages."""
        return b"%d" % (self.record.timestamp_ms // 1000)

    def next_after(self, instant_ms: int) -> int | None:
        """The first occurrence behind an instant, if it recurs."""
        if self.rule is None:
            return None
        found = self.rule.next_after(instant_ms - self.shift_ms, self.due_ms - self.shift_ms)
        return None if found is None else found + self.shift_ms

    def occurs(self, instant_ms: int) -> bool:
        """Whether it is due at an instant, from its due time on."""
        return instant_ms == self.due_ms or (instant_ms > self.due_ms and self.next_after(instant_ms - 1) == instant_ms)


def version(record: Record) -> Version:
    """What a record with a key and a value states.

    Raises:
        RefusedError: it is no schedule.
    """
    if not record.key:
        raise RefusedError("without a key")
    if record.headers is None:
        raise RefusedError("a header name is not UTF-8")
    own, customers = _apart(record.headers)
    rule, shift_ms = _rule(own)
    misfire, grace_ms = _misfire(own, recurs=rule is not None)
    continues = _flag(own, CONTINUES)
    if continues and not {CRON, EPOCH} <= own.keys():
        raise RefusedError(f"{CONTINUES} without {CRON} or {EPOCH}")
    partition = _whole(own, TARGET_PARTITION)
    if partition is not None and partition >= 2**31:
        raise RefusedError(TARGET_PARTITION)
    return Version(
        record,
        _due_ms(own, rule, shift_ms, record.timestamp_ms),
        _target(own),
        own.get(TARGET_KEY),
        partition,
        _flag(own, TARGET_TOMBSTONE),
        customers,
        _lasting(own),
        rule,
        shift_ms,
        misfire,
        grace_ms,
        _flag(own, PAUSED),
        continues,
    )


def replaces(record: Record) -> int | None:
    """Which record the scheduler wrote this one for; None for a customer's.

    Raises:
        RefusedError: it says so, and names no offset.
    """
    for name, value in record.headers or ():
        if name == REPLACES:
            if value is None or _NUMBER.fullmatch(value) is None:
                raise RefusedError(REPLACES)
            return int(value)
    return None


def customers_headers(record: Record) -> tuple[Header, ...]:
    """Those that do not begin with `scheduler-`, in order."""
    return tuple(header for header in record.headers or () if not header[0].startswith(OWN))


def epoch_ms(raw: bytes | None) -> int | None:
    """Unix ms of `1893456000` or `1893456000.25`; None for anything else."""
    match = _SECONDS.fullmatch(raw or b"")
    if match is None:
        return None
    instant_ms = int(match[1]) * 1000 + int((match[2] or b"").ljust(3, b"0"))
    return instant_ms if instant_ms <= LATEST_MS else None


def fire_id_ms(key: bytes, raw: bytes | None) -> int | None:
    """The due time that a fire id of the key names; None where it is none."""
    name, _, ms = (raw or b"").rpartition(b"@")
    right = name == key.decode(errors="backslashreplace").encode() and _NUMBER.fullmatch(ms) is not None
    return int(ms) if right else None


def _apart(headers: tuple[Header, ...]) -> tuple[dict[str, bytes | None], tuple[Header, ...]]:
    own: dict[str, bytes | None] = {}
    customers = []
    for header in headers:
        name, value = header
        if not name.startswith(OWN):
            customers.append(header)
        elif name in STATED:
            if name in own:
                raise RefusedError(f"{name} twice")
            own[name] = value
        elif name not in ADDED:
            raise RefusedError(f"{name} is not known")
    return own, tuple(customers)


def _lasting(own: dict[str, bytes | None]) -> tuple[Header, ...]:
    return tuple((name, own[name]) for name in sorted(own.keys() - OF_ONE_VERSION))


def _text(own: dict[str, bytes | None], name: str) -> str:
    try:
        return (own[name] or b"").decode()
    except UnicodeDecodeError:
        raise RefusedError(f"{name} is not UTF-8") from None


def _flag(own: dict[str, bytes | None], name: str) -> bool:
    if name in own and own[name] not in (b"true", b"false"):
        raise RefusedError(name)
    return own.get(name) == b"true"


def _whole(own: dict[str, bytes | None], name: str) -> int | None:
    if name not in own:
        return None
    if _NUMBER.fullmatch(own[name] or b"") is None:
        raise RefusedError(name)
    return int(own[name] or b"")


def _target(own: dict[str, bytes | None]) -> str:
    if TARGET_TOPIC not in own:
        raise RefusedError(f"without {TARGET_TOPIC}")
    target = _text(own, TARGET_TOPIC)
    if _NAME.fullmatch(target) is None or target in (".", ".."):
        raise RefusedError(TARGET_TOPIC)
    return target


def _duration(own: dict[str, bytes | None], name: str) -> int:
    try:
        return parse_duration(_text(own, name))
    except ValueError:
        raise RefusedError(name) from None


def _rule(own: dict[str, bytes | None]) -> tuple[Rule | None, int]:
    if CRON not in own:
        if TIMEZONE in own or SHIFT in own:
            raise RefusedError(f"without {CRON}")
        return None, 0
    try:
        rule = parse_rule(_text(own, CRON), _text(own, TIMEZONE) if TIMEZONE in own else "UTC")
    except RecurrenceError:
        raise RefusedError(CRON) from None
    if SHIFT not in own:
        return rule, 0
    if rule.text.lstrip().startswith("@every"):
        raise RefusedError(f"{SHIFT} with @every")
    return rule, _duration(own, SHIFT)


def _misfire(own: dict[str, bytes | None], *, recurs: bool) -> tuple[str, int | None]:
    allowed = ("once", "all", "skip") if recurs else ("fire", "skip")
    policy = _text(own, MISFIRE) if MISFIRE in own else allowed[0]
    if policy not in allowed:
        raise RefusedError(MISFIRE)
    if GRACE in own:
        return policy, _duration(own, GRACE)
    return policy, RECURRING_GRACE_MS if recurs else None


def _due_ms(own: dict[str, bytes | None], rule: Rule | None, shift_ms: int, timestamp_ms: int) -> int:
    given = [name for name in (EPOCH, AT, DELAY) if name in own]
    if len(given) > 1:
        raise RefusedError(f"{' and '.join(given)}")
    due_ms: int | None
    if given == [EPOCH]:
        due_ms = epoch_ms(own[EPOCH])
    elif given == [AT]:
        due_ms = parse_instant(_text(own, AT))
    elif given == [DELAY]:
        due_ms = timestamp_ms + _duration(own, DELAY)
        due_ms = due_ms if timestamp_ms >= 0 and due_ms <= LATEST_MS else None
    elif rule is None:
        raise RefusedError("without a due time")
    else:
        due_ms = rule.next_after(timestamp_ms - shift_ms, timestamp_ms - shift_ms)
        due_ms = None if due_ms is None else due_ms + shift_ms
    if due_ms is None:
        raise RefusedError(given[0] if given else CRON)
    return due_ms
