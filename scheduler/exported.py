"""A schedule as one line of an export, and back: JSON that holds every byte of it, its due time made absolute. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scheduler import wire
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.instants import format_epoch, parse_instant
from scheduler.schedule import Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.records import Stored
    from scheduler.schedule import Header

_TIMES = (wire.EPOCH, wire.AT, wire.DELAY)


class _Encoded(BaseModel):
    """Bytes that are not UTF-8."""

    model_config = ConfigDict(extra="forbid", strict=True)

    base64: str


_Bytes = str | _Encoded
_Count = Annotated[int, Field(ge=0)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    topic: str
    partition: _Count
    partitions: Annotated[int, Field(ge=1)]
    key: _Bytes
    value: _Bytes
    headers: list[tuple[str, _Bytes | None]]
    due: str
    written: str | None


@dataclass(frozen=True, slots=True)
class Exported:
    """What a line of an export states."""

    topic: str
    """The schedules topic on which it stood."""
    partition: int
    partitions: int
    """How many that topic had; with as many elsewhere, the schedule keeps its partition."""
    written_ms: int
    """When the version was written, Unix ms; -1 where Kafka did not know."""
    schedule: Schedule
    headers: Sequence[Header]
    """Of the record that brings it back."""


def line_of(stored: Stored, partitions: int) -> str:
    """The line of a schedule in force, on a topic with so many partitions."""
    schedule = stored.schedule
    line = {
        "topic": stored.topic,
        "partition": stored.partition,
        "partitions": partitions,
        "key": _shown(schedule.key),
        "value": _shown(schedule.value),
        "headers": [[name, None if value is None else _shown(value)] for name, value in wire.lasting_headers(schedule)],
        "due": rfc3339(schedule.due_ms),
        "written": None if schedule.timestamp_ms < 0 else rfc3339(schedule.timestamp_ms),
    }
    return json.dumps(line, ensure_ascii=False)


def read_line(text: str) -> Exported:
    """What a line states.

    Raises:
        InputError: it is no line of an export, or what it states is no schedule.
    """
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        raise InputError(_fault(error)) from None
    due_ms, written_ms = _instant("due", line.due), -1 if line.written is None else _instant("written", line.written)
    headers = [(name, None if value is None else _bytes(name, value)) for name, value in line.headers]
    for name, _ in headers:
        if name in _TIMES:
            raise InputError(f"headers: {name} is there; `due` says when")
        if name == wire.REPLACES:
            raise InputError(f"headers: {name} is there; only a replica may write it")
    headers.append((wire.EPOCH, format_epoch(due_ms)))
    fact = wire.decode(_bytes("key", line.key), _bytes("value", line.value), headers, timestamp_ms=written_ms)
    if isinstance(fact, Rejected):
        raise InputError(fact.detail)
    if not isinstance(fact, Schedule):
        raise InputError("key: is reserved")
    return Exported(line.topic, line.partition, line.partitions, written_ms, fact, headers)


def _shown(raw: bytes) -> str | dict[str, str]:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _bytes(name: str, shown: _Bytes) -> bytes:
    if isinstance(shown, str):
        try:
            return shown.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: holds half a character (a lone surrogate)") from None
    try:
        return base64.b64decode(shown.base64, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{name}: {shown.base64[:40]!r} is not base64") from None


def _instant(name: str, text: str) -> int:
    instant_ms = parse_instant(text)
    if instant_ms is None:
        raise InputError(f"{name}: {text[:40]!r} is not an instant such as 2030-01-01T00:00:00Z")
    return instant_ms


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong, by the name of its field."""
    fault: Any = error.errors(include_url=False, include_context=False)[0]
    # of a value that may be one of two kinds, the kind is named too, and would only confuse
    place = ".".join(str(part) for part in fault["loc"] if part not in ("str", _Encoded.__name__))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
