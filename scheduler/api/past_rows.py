"""Rows of the archive as the API shows them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from scheduler.api import past_models as models
from scheduler.api.ids import as_text
from scheduler.api.problems import ProblemError
from scheduler.archive.store import Spot
from scheduler.clock import rfc3339
from scheduler.instants import parse_instant

if TYPE_CHECKING:
    from scheduler.api.ids import Encoding
    from scheduler.archive.store import Row


def event(row: Row) -> dict[str, Any]:
    """An event of the history."""
    return {
        "place": row["place"],
        "time": rfc3339(row["at_ms"]),
        "id": row["schedule_id"],
        "outcome": row["outcome"],
        "due": None if row["due_ms"] is None else rfc3339(row["due_ms"]),
        "lateness_ms": row["lateness_ms"],
        "target_topic": row["target"],
        "fire_id": row["fire_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "payload_bytes": row["payload_bytes"],
    }


def _cut_text(raw: bytes) -> tuple[str, Encoding]:
    """The beginning of a payload, which may end within a character."""
    for end in range(len(raw) - 1, len(raw) - 4, -1):
        text, encoding = as_text(raw[:end])
        if encoding == "text":
            return text, encoding
    return base64.b64encode(raw).decode("ascii"), "base64"


def whole_event(row: Row) -> models.WholeEvent:
    """An event with its payload."""
    raw, size = row["payload"], row["payload_bytes"]
    payload, encoding = (None, "text") if raw is None else as_text(raw)
    cut = raw is not None and size > len(raw)
    if cut and encoding == "base64":
        payload, encoding = _cut_text(raw)
    return models.WholeEvent(
        **event(row),
        payload=payload,
        payload_encoding=encoding,
        payload_is_cut=cut,
        headers=[models.EventHeader(name=name, value=value) for name, value in json.loads(row["headers"])],
    )


def run(row: Row) -> models.Run:
    """An attempt of a job."""
    told = json.loads(row["told"])
    own = {name: row[name] for name in ("place", "run_id", "job", "cluster", "outcome")}
    return models.Run(**{**told, **own, "id": row["job_id"], "time": rfc3339(row["at_ms"])})


def whole_run(row: Row) -> models.WholeRun:
    """An attempt with the end of its output."""
    output = row["output"]
    cut = isinstance(row["output_bytes"], int) and row["output_bytes"] > len(output.encode())
    return models.WholeRun(**run(row).model_dump(), output=output, output_is_cut=cut)


def letter(row: Row) -> dict[str, Any]:
    """A dead letter."""
    settled_ms = row["settled_at_ms"]
    return {
        **json.loads(row["told"]),
        "settled": row["settled"],
        "settled_at": None if settled_ms is None else rfc3339(settled_ms),
    }


def instant(name: str, text: str | None) -> int | None:
    """An instant of a query.

    Raises:
        ProblemError: it is none.
    """
    if text is None:
        return None
    instant_ms = parse_instant(text)
    if instant_ms is None:
        raise ProblemError(422, f"query.{name}: not an RFC 3339 instant with offset: 2030-01-01T00:00:00Z")
    return instant_ms


def spot(cursor: str | None) -> Spot | None:
    """A cursor of a query.

    Raises:
        ProblemError: it is none.
    """
    if cursor is None:
        return None
    at_ms, _, seq = cursor.partition("-")
    if not (at_ms.isascii() and at_ms.isdecimal() and seq.isascii() and seq.isdecimal() and len(cursor) < 37):  # noqa: PLR2004
        raise ProblemError(422, "query.cursor: not one that this API has given")
    return Spot(int(at_ms), int(seq))
