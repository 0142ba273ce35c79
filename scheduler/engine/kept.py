"""What a restore finds, to be kept: all that is in force at one offset of a partition, as bytes and back.

Of what is plain the entries of the index are kept as they are in memory; of the others (recurring, paused, or written
by an owner) the records, which are decoded again.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scheduler import wire
from scheduler.engine.blocks import OFFSET_BITS, OFFSET_MASK
from scheduler.engine.far import FarIndex, Saved, Versions
from scheduler.engine.far_targets import UNKNOWN
from scheduler.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH_BYTES = 8


class KeptError(ValueError):
    """What was kept cannot be read, or would not read as what it was; a sentence that says why."""


@dataclass
class Kept:
    """The state of a partition in which nothing is left to be said; nobody changes it any more."""

    read_to: int
    """Every record below this offset is in it, and none behind."""
    paused: bool
    far: FarIndex
    near: dict[bytes, int] = field(default_factory=dict)
    """Places of other versions, by key; see `far.pack`."""
    bodies: dict[int, Schedule] = field(default_factory=dict)
    """Records of these by offset, as far as they are in memory."""

    def reduced(self) -> Kept:
        """The same as a restore takes it: all that is plain is far, and of the rest there are the records."""
        plain = Versions.none()
        bodies: dict[int, Schedule] = {}
        for key, place in self.near.items():
            offset = place & OFFSET_MASK
            body = self.bodies.get(offset)
            if body is None or is_plain(body):
                due_ms = place >> OFFSET_BITS if body is None else body.due_ms
                target = UNKNOWN if body is None else body.target_topic.encode()
                plain.add((key,), (due_ms,), (offset,), (target,))
            else:
                bodies[offset] = body
        far = self.far.copy()
        if plain.keys:
            far.put(plain)
        return Kept(self.read_to, self.paused, far, {}, bodies)


def to_bytes(kept: Kept, about: dict[str, Any]) -> Iterator[bytes | memoryview]:
    """The parts, one after another; `about` is for whoever reads it.

    Raises:
        KeptError: a version would not be the same when it is read.
    """
    kept = kept.reduced()
    records = [_record(body) for body in kept.bodies.values()]
    saved = kept.far.save()
    head = {
        **about,
        "read_to": kept.read_to,
        "paused": kept.paused,
        "byteorder": sys.byteorder,
        "records": records,
        "far": {**saved.head, "crowded": [[_text(key), number] for key, number in saved.crowded.items()]},
    }
    text = json.dumps(head).encode()
    yield len(text).to_bytes(_LENGTH_BYTES, "big")
    yield text
    yield from saved.parts


def read_about(data: memoryview) -> dict[str, Any]:
    """What is said of it.

    Raises:
        KeptError: it cannot be read.
    """
    try:
        head = json.loads(bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + _head_length(data)]))
    except ValueError as error:
        raise KeptError(f"its head is no JSON: {error}") from None
    if not isinstance(head, dict):
        raise KeptError("its head is no JSON object")
    return head


def from_bytes(data: memoryview) -> Kept:
    """The same as was kept.

    Raises:
        KeptError: it cannot be read.
    """
    head = read_about(data)
    if head.get("byteorder") != sys.byteorder:
        raise KeptError(f"it was written on a machine of byte order {head.get('byteorder')!r}")
    try:
        crowded = {_raw(key): number for key, number in head["far"]["crowded"]}
        parts = data[_LENGTH_BYTES + _head_length(data) :]
        kept = Kept(head["read_to"], head["paused"], FarIndex.load(Saved(head["far"], crowded, [parts])))
        for record in head["records"]:
            version = _stated(record)
            kept.bodies[version.offset] = version
    except (KeyError, TypeError, ValueError) as error:
        raise KeptError(f"it does not hold what its head says: {error!r}") from None
    return kept


def is_plain(version: Schedule) -> bool:
    """Whether nothing but its due time and offset has to be known of a version before it fires."""
    return version.rule is None and version.replaces is None and not version.paused and not version.continues


def _head_length(data: memoryview) -> int:
    return int.from_bytes(data[:_LENGTH_BYTES], "big")


def _record(version: Schedule) -> list[Any]:
    headers = [[name, None if raw is None else _text(raw)] for name, raw in (*version.headers, *version.own_headers)]
    record = [_text(version.key), _text(version.value), headers, version.timestamp_ms, version.offset]
    if _stated(record) != version:
        raise KeptError(f"the version at offset {version.offset} is not what its record states")
    return record


def _stated(record: list[Any]) -> Schedule:
    key, value, headers, timestamp_ms, offset = record
    given = [(name, None if text is None else _raw(text)) for name, text in headers]
    found = wire.decode(_raw(key), _raw(value), given, timestamp_ms=timestamp_ms, offset=offset)
    if not isinstance(found, Schedule):
        raise KeptError(f"the record at offset {offset} states no schedule")
    return found


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
