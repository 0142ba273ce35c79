"""What a recorder has kept: in memory, or in a folder as lines of JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.audit.records import Place, Record, from_base64, headers_as_json, headers_from_json
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recording(NamedTuple):
    """Records by their place, as they were first received; and up to where each partition was read."""

    records: dict[Place, Record]
    reached: dict[tuple[str, int], int]


def as_line(record: Record) -> str:
    """A record as a line of JSON, with what names its kind left short: a recording has millions."""
    digest = None if record.value_sha256 is None else record.value_sha256.hex()
    key = None if record.key is None else b64encode(record.key).decode()
    headers = None if record.headers is None else headers_as_json(record.headers)
    fields = (*record[:4], key, digest, record.value_size, headers, record.received_ms)
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + "\n"


def read(folder: Path | str) -> Recording:
    """What stands in a folder.

    Raises:
        InputError: there is none, or a line is no record; it is named.
    """
    records: dict[Place, Record] = {}
    reached: dict[tuple[str, int], int] = {}
    paths = sorted(Path(folder).rglob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no recording; make one with: scheduler audit record --out {folder}")
    for record in (record for path in paths for record in _lines(path)):
        records.setdefault(record.place, record)
        place = record.topic, record.partition
        reached[place] = max(reached.get(place, 0), record.offset + 1)
    return Recording(records, reached)


def _lines(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _record(json.loads(line))
                except (ValueError, TypeError) as error:
                    if not line.endswith("\n"):
                        return  # cut off in the middle of its last line: that was not seen
                    raise InputError(f"{path}:{number}: no record of a recording: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None


def _record(fields: Any) -> Record:
    topic, partition, offset, timestamp_ms, key, digest, size, headers, received_ms = fields
    return Record(
        topic,
        partition,
        offset,
        timestamp_ms,
        None if key is None else from_base64(key, "the key"),
        None if digest is None else bytes.fromhex(digest),
        size,
        None if headers is None else headers_from_json(headers),
        received_ms,
    )
