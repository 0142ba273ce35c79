"""What is kept of a record of the history, the results and the dead letters. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scheduler.headers import read_headers
from scheduler.history import event_of
from scheduler.letters import Marker, read_letter
from scheduler.schedule import display

if TYPE_CHECKING:
    from confluent_kafka import Message

    from scheduler.archive.store import Row
    from scheduler.schedule import Header

PAYLOAD_BYTES = 4096
"""Of a payload in the history; the topic has all of it."""
OUTPUT_CHARACTERS = 8192
"""Of the end of what an attempt said."""
LETTER_CHARACTERS = 16_384
HEADERS_KEPT = 50
HEADER_BYTES = 512


def event_row(message: Message) -> Row:
    """A record of the history."""
    try:
        headers: list[Header] = read_headers(message)
    except UnicodeDecodeError:
        headers = []  # they cannot be shown; the outcome is then `unknown`
    event = event_of(message, headers)
    value = event.value
    shown = [
        (name, None if raw is None else display(raw[:HEADER_BYTES]) + ("…" if len(raw) > HEADER_BYTES else ""))
        for name, raw in headers[:HEADERS_KEPT]
    ]
    return {
        "at_ms": event.at_ms,
        "place": f"{event.partition}-{event.offset}",
        "schedule_id": event.schedule_id,
        "outcome": event.outcome,
        "due_ms": event.due_ms,
        "lateness_ms": event.lateness_ms,
        "target": event.target,
        "fire_id": event.fire_id,
        "reason": event.reason,
        "detail": event.detail,
        "headers": json.dumps(shown),
        "payload": None if value is None else value[:PAYLOAD_BYTES],
        "payload_bytes": None if value is None else len(value),
    }


def run_row(message: Message) -> Row | None:
    """A record of the results; None where it is none."""
    try:
        told: Any = json.loads(message.value() or b"")
    except ValueError:
        return None
    if not isinstance(told, dict) or not all(isinstance(told.get(name), str) for name in ("run_id", "id", "outcome")):
        return None
    output = str(told.pop("output", None) or "")
    return {
        "at_ms": message.timestamp()[1],
        "place": f"{message.partition()}-{message.offset()}",
        "run_id": told["run_id"],
        "job_id": told["id"],
        "job": str(told.get("job") or told["id"]),
        "cluster": str(told.get("cluster") or ""),
        "outcome": told["outcome"],
        "told": json.dumps(told),
        "output": output[-OUTPUT_CHARACTERS:],
        "output_bytes": told.get("output_bytes"),
    }


def letter_row(message: Message) -> Row | Marker:
    """A record of the dead letters."""
    letter = read_letter(message)
    if isinstance(letter, Marker):
        return letter
    told = letter.everything()
    value = told["value"] or ""
    told |= {"value": value[:LETTER_CHARACTERS], "value_bytes": len(letter.value or b"")}
    told["value_is_cut"] = len(value) > LETTER_CHARACTERS
    told["can_redrive"] = letter.value is not None
    return {
        "at_ms": letter.at_ms,
        "place": letter.id,
        "kind": letter.kind.value,
        "name": letter.name,
        "cluster": letter.cluster,
        "told": json.dumps(told),
    }
