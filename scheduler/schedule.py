"""The values the whole product speaks of: a schedule, what can become of it, and why one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.recurrence import Rule

Header = tuple[str, bytes | None]
"""A Kafka header: name, value. A record has a list of them; names may repeat."""


class Outcome(StrEnum):
    """How a version of a schedule ended; the value of `scheduler-outcome` in the history."""

    FIRED = "fired"
    MISFIRED = "misfired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNDELIVERABLE = "undeliverable"


class Misfire(StrEnum):
    """What to do with a schedule that is later than its grace."""

    FIRE = "fire"  # one-shot: fire however late
    ONCE = "once"  # recurring: all missed occurrences become one firing, of the latest
    ALL = "all"  # recurring: every missed occurrence fires
    SKIP = "skip"  # not fired; recorded as misfired


class Reason(StrEnum):
    """Why a record is not a schedule (`rejected`) or could not be delivered (`undeliverable`)."""

    MISSING_KEY = "missing-key"
    UNREADABLE_HEADERS = "unreadable-headers"
    UNKNOWN_HEADER = "unknown-header"
    REPEATED_HEADER = "repeated-header"
    NOT_UTF8 = "not-utf8"
    MISSING_DUE_TIME = "missing-due-time"
    SEVERAL_DUE_TIMES = "several-due-times"
    BAD_EPOCH = "bad-epoch"
    BAD_AT = "bad-at"
    BAD_DELAY = "bad-delay"
    MISSING_TARGET = "missing-target-topic"
    BAD_TARGET = "bad-target-topic"
    FORBIDDEN_TARGET = "forbidden-target-topic"
    BAD_PARTITION = "bad-target-partition"
    BAD_TOMBSTONE = "bad-target-tombstone"
    BAD_CRON = "bad-cron"
    BAD_TIMEZONE = "bad-timezone"
    BAD_SHIFT = "bad-shift"
    BAD_MISFIRE = "bad-misfire"
    BAD_PAUSED = "bad-paused"
    BAD_CONTINUES = "bad-continues"
    BAD_REPLACES = "bad-replaces"
    UNKNOWN_TOPIC = "unknown-target-topic"
    UNKNOWN_PARTITION = "unknown-target-partition"
    TOO_LARGE = "too-large"
    UNAVAILABLE = "target-unavailable"
    RECORD_GONE = "record-gone"
    NOT_AUTHORIZED = "not-authorized"
    REFUSED = "refused-by-broker"


@dataclass(slots=True)
class Schedule:
    """One version of a schedule, as a record on a schedules topic states it.

    Instants are Unix milliseconds. Read-only by convention: a frozen dataclass would set each field by a
    call, for each of the millions that a restore reads.
    """

    key: bytes
    value: bytes
    """The payload, delivered byte for byte; empty is a payload."""
    due_ms: int
    target_topic: str
    target_key: bytes | None
    target_partition: int | None
    headers: list[Header]
    """The customer's headers, in order; they travel with the message."""
    own_headers: list[Header]
    """The record's `scheduler-*` headers, in order, as the customer wrote them."""
    timestamp_ms: int
    """The Kafka timestamp of the schedule record."""
    offset: int = -1
    """Where the record stands in its partition; -1 before it was written."""
    rule: Rule | None = None
    misfire: Misfire = Misfire.FIRE
    grace_ms: int | None = None
    """How late is still on time; None is for ever."""
    replaces: int | None = None
    """The offset of the version that the scheduler wrote this one for; None for a customer's record."""
    delivers_null: bool = False
    """Whether the target gets a null instead of the payload: a tombstone there."""
    paused: bool = False
    """Whether it waits, whatever its due time, until a version that is not paused replaces it."""
    continues: bool = False
    """Whether the version that it replaces says when it is due next, and whether it is paused."""

    @property
    def schedule_id(self) -> str:
        """The key as text, for people."""
        return display(self.key)

    @property
    def fire_id(self) -> str:
        """The name of this occurrence: the same for every copy of it."""
        return fire_id(self.key, self.due_ms)


@dataclass(slots=True)
class Cancel:
    """A null record: whatever is in force for the key ends."""

    key: bytes
    offset: int
    timestamp_ms: int
    replaces: int | None = None


PAUSE_KEY = b"||scheduler-paused||"
"""The key under which a record pauses its whole partition, and a null record lets it go on."""


@dataclass(slots=True)
class Pause:
    """A record under `PAUSE_KEY`: nothing of this partition fires until it is taken back."""

    on: bool
    offset: int


@dataclass(slots=True)
class Rejected:
    """A record that is not a schedule, and why."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]
    offset: int
    timestamp_ms: int
    reason: Reason
    detail: str


def display(raw: bytes | None) -> str:
    r"""Bytes as text for logs, tables and JSON; what is not UTF-8 is written as `\xNN`."""
    return "" if raw is None else raw.decode("utf-8", "backslashreplace")


def fire_id(key: bytes, due_ms: int) -> str:
    """`<schedule id>@<due ms>`: consumers dedupe by it, workers name runs by it."""
    return f"{display(key)}@{due_ms}"
