"""The journal of a producer: what it wrote, and what it was told of each record.

A file of JSON lines, which any client in any language can write; `docs/audit.md` has its fields.
"""

from __future__ import annotations

import json
import os
import re
import threading
from base64 import b64encode
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaError

from scheduler.audit.entries import ACKNOWLEDGED, OUTCOMES, REFUSED, UNKNOWN, Entry
from scheduler.audit.records import from_base64, headers_as_json, headers_from_json
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from confluent_kafka import Message

    from scheduler.audit.records import Header

_DIGEST = re.compile(r"[0-9a-f]{64}")
_REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's public codes, here and below
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._QUEUE_FULL,  # noqa: SLF001
        KafkaError._PURGE_QUEUE,  # noqa: SLF001
        KafkaError._INVALID_ARG,  # noqa: SLF001
    }
)


class Journal:
    """Appends to a journal; any thread may. What was written is on the disk after `close`."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - closed by `close`

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def report(
        self, topic: str, key: bytes, value: bytes | None, headers: Iterable[Header]
    ) -> Callable[[KafkaError | None, Message | None], object]:
        """What to give to `produce` as `on_delivery`, with the same topic, key, value and headers."""
        return partial(self.delivered, topic, key, value, tuple(headers))

    def delivered(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Iterable[Header],
        error: KafkaError | None,
        message: Message | None,
    ) -> Entry:
        """Note what a delivery report says of a record; without error and message nobody was told anything."""
        outcome, place = UNKNOWN, (None, None, None)
        if error is not None:
            outcome = REFUSED if error.code() in _REFUSALS else UNKNOWN
        elif message is not None:
            outcome = ACKNOWLEDGED
            offset = message.offset()
            known = offset is not None and offset >= 0
            place = (message.partition(), offset if known else None, message.timestamp()[1] if known else None)
        digest = None if value is None else sha256(value).hexdigest()
        entry = Entry(topic, key, outcome, *place, digest, 0 if value is None else len(value), tuple(headers))
        self.append(entry)
        return entry

    def append(self, entry: Entry) -> None:
        """Note it."""
        fields = entry._asdict()
        fields["key"] = b64encode(entry.key).decode()
        fields["headers"] = headers_as_json(entry.headers)
        line = json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + "\n"
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        """Bring all of it to the disk."""
        with self._lock:
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()


def read(path: Path | str) -> list[Entry]:
    """Every entry of a journal.

    Raises:
        InputError: the file cannot be read, or a line is none; it is named.
    """
    entries = []
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    entries.append(_entry(json.loads(line)))
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path}:{number}: {_said(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    return entries


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no line of JSON: {error.msg}"
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _entry(fields: Any) -> Entry:
    if not isinstance(fields, dict):
        raise TypeError("an entry is a JSON object")
    entry = Entry(
        fields["topic"],
        from_base64(fields["key"], "key"),
        fields["outcome"],
        fields["partition"],
        fields["offset"],
        fields["timestamp_ms"],
        fields["value_sha256"],
        fields.get("value_size", 0),
        headers_from_json(fields["headers"]),
    )
    if entry.outcome not in OUTCOMES:
        raise ValueError(f"outcome is {entry.outcome!r}, and not one of {', '.join(OUTCOMES)}")
    for name in ("partition", "offset", "timestamp_ms"):
        if not isinstance(fields[name], int | None):
            raise TypeError(f"{name} is {fields[name]!r}, and not a number or null")
    if entry.value_sha256 is not None and _DIGEST.fullmatch(entry.value_sha256) is None:
        raise ValueError(f"value_sha256 is {entry.value_sha256!r}, and not 64 hexadecimal digits or null")
    return entry
