"""Hand-made evidence for the judge: records of a schedules topic, and what is told and delivered of them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from scheduler.audit.entries import ACKNOWLEDGED, Entry
from scheduler.audit.judge import Evidence
from scheduler.audit.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scheduler.audit.records import Header

DUE_MS = 1_900_000_000_250
WRITTEN_MS = DUE_MS - 10_000
LATE_MS = 3
KEY = b"a"
SCHEDULES, TARGET, HISTORY, DEAD = "schedules", "target", "history", "dead-letters"


def epoch(instant_ms: int) -> bytes:
    return b"%d.%03d" % divmod(instant_ms, 1000)


def record(topic: str, offset: int, key: bytes | None, value: bytes | None, headers: Iterable[Header]) -> Record:
    digest = None if value is None else sha256(value).digest()
    return Record(topic, 0, offset, WRITTEN_MS, key, digest, len(value or b""), tuple(headers))


def schedule(
    offset: int, name: bytes = b"old", due_ms: int = DUE_MS, *, key: bytes = KEY, **own: bytes | int
) -> Record:
    """A record that states a schedule; `cron=b"@every 1s"` is `scheduler-cron`, `replaces=3` makes it an owner's."""
    stated = {"epoch": epoch(due_ms), "target_topic": TARGET.encode(), "target_key": b"to", **own}
    headers: list[Header] = [("trace", name), ("trace", b"\x00\xff")]
    for header, value in stated.items():
        raw = b"%d" % value if isinstance(value, int) else value
        headers.append((f"scheduler-{header.replace('_', '-')}", raw))
    return record(SCHEDULES, offset, key, b"payload of " + name, headers)


def cancel(offset: int, key: bytes = KEY) -> Record:
    return record(SCHEDULES, offset, key, None, [])


def tombstone(offset: int, replaces: int, outcome: bytes = b"fired", key: bytes = KEY) -> Record:
    headers: list[Header] = [("scheduler-replaces", b"%d" % replaces), ("scheduler-outcome", outcome)]
    return record(SCHEDULES, offset, key, None, headers)._replace(timestamp_ms=DUE_MS + LATE_MS)


def said(of: Record, due_ms: int) -> list[Header]:
    key = of.key or b""
    return [
        ("scheduler-timestamp", b"%d" % (of.timestamp_ms // 1000)),
        ("scheduler-key", key),
        ("scheduler-topic", SCHEDULES.encode()),
        ("scheduler-epoch", epoch(due_ms)),
        ("scheduler-fire-id", b"%s@%d" % (key, due_ms)),
    ]


def customers(of: Record) -> list[Header]:
    return [header for header in of.headers or () if not header[0].startswith("scheduler-")]


def message(of: Record, due_ms: int = DUE_MS, offset: int = 0) -> Record:
    """What the target gets of a schedule."""
    headers = (*customers(of), *said(of, due_ms))
    return of._replace(topic=TARGET, offset=offset, key=b"to", headers=headers, timestamp_ms=due_ms + LATE_MS)


def told(of: Record, outcome: bytes = b"fired", due_ms: int = DUE_MS, offset: int = 0) -> Record:
    """A line of the history."""
    own = [each for each in of.headers or () if each[0] in ("scheduler-target-topic", "scheduler-target-key")]
    ending: list[Header] = [("scheduler-outcome", outcome), ("scheduler-lateness-ms", b"3")]
    headers = (*customers(of), *own, *said(of, due_ms), *ending)
    return of._replace(topic=HISTORY, offset=offset, headers=headers, timestamp_ms=due_ms + LATE_MS)


def changed(of: Record, **headers: bytes | None) -> Record:
    """The record with other values of its `scheduler-*` headers; None leaves one out."""
    values = {f"scheduler-{name.replace('_', '-')}": value for name, value in headers.items()}
    now = [(name, values.get(name, value)) for name, value in of.headers or ()]
    return of._replace(headers=tuple(header for header in now if values.get(header[0], b"") is not None))


def entry(of: Record, outcome: str = ACKNOWLEDGED) -> Entry:
    """What the journal of its producer has of a record."""
    place = (of.partition, of.offset, of.timestamp_ms) if outcome == ACKNOWLEDGED else (None, None, None)
    digest = None if of.value_sha256 is None else of.value_sha256.hex()
    return Entry(of.topic, of.key or b"", outcome, *place, digest, of.value_size, of.headers or ())


def evidence(
    log: Sequence[Record], messages: Sequence[Record] = (), history: Sequence[Record] = (), **other: Any
) -> Evidence:
    """Evidence of a run; offsets of messages and of the history are given in order."""
    return Evidence(
        [SCHEDULES],
        HISTORY,
        list(log),
        [each._replace(offset=number) for number, each in enumerate(history)],
        [each._replace(offset=number) for number, each in enumerate(messages)],
        **{"now_ms": DUE_MS + 60_000, "dead_letter_topic": DEAD, "dead_letters": [], **other},
    )


def fired(log: Sequence[Record], *of: tuple[Record, int], **other: Any) -> Evidence:
    """Evidence in which each of the occurrences has a message and a line of the history."""
    messages = [message(each, due_ms) for each, due_ms in of]
    return evidence(log, messages, [told(each, b"fired", due_ms) for each, due_ms in of], **other)


def with_journal(case: Evidence, log: Sequence[Record]) -> Evidence:
    """The same, with the journal of the customers' records of a log."""
    return replace(case, journal=[entry(each) for each in log if not each.stated("scheduler-replaces")])


OLD_ENTRY_LINE = (
    '{"topic":"schedules","key":"YQ==","outcome":"acknowledged","partition":0,"offset":17,'
    '"timestamp_ms":1900000000000,"value_sha256":null,"value_size":0,"headers":[["trace","MQ=="],["none",null]]}'
)
"""A line of a journal, as any client may write it."""
