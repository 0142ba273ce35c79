"""What a request states into what the contract knows: headers of a record, or a change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scheduler import wire
from scheduler.api.ids import as_bytes
from scheduler.api.problems import ProblemError
from scheduler.durations import parse_duration
from scheduler.engine.changes import Change, Verb
from scheduler.instants import LATEST_MS, parse_instant
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.schedule import PAUSE_KEY, Misfire, Schedule

if TYPE_CHECKING:
    from scheduler.api.ids import Encoding
    from scheduler.api.models import Definition, Reschedule, Times
    from scheduler.engine.targets import TargetPolicy
    from scheduler.schedule import Header

_DUE = ("at", "epoch", "delay")


def record(definition: Definition, key: bytes, policy: TargetPolicy, now_ms: int) -> tuple[bytes, list[Header]]:
    """The value and the headers of the record that states the schedule.

    Raises:
        ProblemError: it is not sound, or its target is refused.
    """
    if key == PAUSE_KEY:
        raise ProblemError(422, f"the id {key.decode()} is reserved: it pauses a partition")
    due_ms = _due_ms(definition)
    if not _stated(definition) and definition.cron is None:
        raise ProblemError(422, "body: it is due when? Give one of at, epoch and delay, or cron")
    value = _bytes("payload", definition.payload, definition.payload_encoding)
    target_key = definition.target_key
    headers = wire.schedule_headers(
        definition.target_topic,
        due_ms=due_ms,
        delay=definition.delay,
        target_key=None if target_key is None else _bytes("target_key", target_key, definition.target_key_encoding),
        target_partition=definition.target_partition,
        target_tombstone=definition.target_tombstone,
        cron=definition.cron,
        timezone=definition.timezone,
        misfire=None if definition.misfire is None else Misfire(definition.misfire),
        misfire_grace=definition.misfire_grace,
        paused=definition.paused,
        headers=_customers(definition),
    )
    schedule = wire.decode(key, value, headers, timestamp_ms=now_ms)
    if not isinstance(schedule, Schedule):
        raise ProblemError(422, f"body: {getattr(schedule, 'detail', schedule)}")
    refused = policy.refusal(schedule.target_topic)
    if refused is not None:
        raise ProblemError(422, f"body.target_topic: {refused}")
    return value, headers


def reschedule(times: Reschedule, now_ms: int) -> Change:
    """The change to another time or rule.

    Raises:
        ProblemError: it states none, several, or one that cannot be read.
    """
    due_ms = _due_ms(times)
    if times.delay is not None:
        try:
            due_ms = now_ms + parse_duration(times.delay)
        except ValueError as error:
            raise ProblemError(422, f"body.delay: {error}") from None
        if due_ms > LATEST_MS:
            raise ProblemError(422, "body.delay: that is after the year 9999")
    if times.cron is None:
        if times.timezone is not None:
            raise ProblemError(422, "body.timezone: it is for cron; give both")
        if due_ms is None:
            raise ProblemError(422, "body: to when? Give one of at, epoch and delay, or cron")
        return Change(Verb.RESCHEDULE, due_ms)
    try:
        rule = parse_rule(times.cron, "UTC" if times.timezone is None else times.timezone)
    except RecurrenceError as error:
        raise ProblemError(422, f"body.cron: {error}") from None
    return Change(Verb.RESCHEDULE, due_ms, rule)


def _stated(times: Times) -> list[str]:
    return [name for name in _DUE if getattr(times, name) is not None]


def _due_ms(times: Times) -> int | None:
    """The instant, where one is given as such."""
    stated = _stated(times)
    if len(stated) > 1:
        raise ProblemError(422, f"body: {' and '.join(stated)}: give one of them")
    if times.at is not None:
        due_ms = parse_instant(times.at)
        if due_ms is None:
            raise ProblemError(422, "body.at: not an RFC 3339 instant with offset, from 1970 on: 2030-01-01T00:00:00Z")
        return due_ms
    # up to the next millisecond: rounding down would fire early
    return None if times.epoch is None else math.ceil(round(times.epoch * 1000, 3))


def _customers(definition: Definition) -> list[Header]:
    headers: list[Header] = []
    for number, header in enumerate(definition.headers):
        if header.name.startswith(wire.PREFIX):
            raise ProblemError(422, f"body.headers.{number}.name: names that begin with {wire.PREFIX} are reserved")
        where = f"headers.{number}.value"
        headers.append((header.name, None if header.value is None else _bytes(where, header.value, header.encoding)))
    return headers


def _bytes(where: str, text: str, encoding: Encoding) -> bytes:
    try:
        return as_bytes(text, encoding)
    except ValueError:
        raise ProblemError(422, f"body.{where}: not base64") from None
