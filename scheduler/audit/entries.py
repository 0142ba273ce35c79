"""What a producer wrote, and what it was told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scheduler.audit.records import Header

ACKNOWLEDGED = "acknowledged"
UNKNOWN = "unknown"
"""An error after which the record may stand all the same."""
REFUSED = "refused"
"""It surely does not stand."""
OUTCOMES = (ACKNOWLEDGED, UNKNOWN, REFUSED)


class Entry(NamedTuple):
    """A record that a producer wrote: a schedule, or a cancel."""

    topic: str
    key: bytes
    outcome: str
    """`acknowledged`, `unknown` or `refused`."""
    partition: int | None
    offset: int | None
    """Where it was said to stand. A client that repeats itself may be told that it stands, and not where."""
    timestamp_ms: int | None
    """The record's Kafka timestamp, from the delivery report."""
    value_sha256: str | None
    """Hexadecimal; None for a null, a cancel."""
    value_size: int
    headers: tuple[Header, ...]
    """Exactly as written."""
