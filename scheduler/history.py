"""The history topic as events for people and programs: what became of which schedule, when and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler import wire
from scheduler.clock import rfc3339
from scheduler.headers import read_headers
from scheduler.instants import epoch_ms
from scheduler.schedule import Outcome, display

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from scheduler.schedule import Header

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class HistoryEvent:
    """One record of the history topic. Instants are Unix ms; None where the record does not say."""

    at_ms: int
    schedule_id: str
    outcome: str
    due_ms: int | None
    lateness_ms: int | None
    target: str | None
    fire_id: str | None
    reason: str | None
    detail: str | None
    partition: int
    offset: int
    value: bytes | None

    def as_json(self) -> dict[str, Any]:
        """For programs; the payload as text where it is UTF-8."""
        return {
            "time": rfc3339(self.at_ms),
            "schedule_id": self.schedule_id,
            "outcome": self.outcome,
            "due": None if self.due_ms is None else rfc3339(self.due_ms),
            "lateness_ms": self.lateness_ms,
            "target_topic": self.target,
            "fire_id": self.fire_id,
            "reason": self.reason,
            "detail": self.detail,
            "partition": self.partition,
            "offset": self.offset,
            "payload": None if self.value is None else display(self.value),
        }


@dataclass(frozen=True)
class Filter:
    """Which events are wanted; None lets all through."""

    key: str | None = None
    outcome: Outcome | None = None
    target: str | None = None

    def wants(self, event: HistoryEvent) -> bool:
        """Whether the event is one of them."""
        return (
            (self.key is None or event.schedule_id == self.key)
            and (self.outcome is None or event.outcome == self.outcome)
            and (self.target is None or event.target == self.target)
        )


def read_event(message: Message) -> HistoryEvent:
    """An event from a record; what the record does not say is None, `outcome` is then `unknown`."""
    try:
        headers = read_headers(message)
    except UnicodeDecodeError:
        headers = []
    return event_of(message, headers)


def event_of(message: Message, headers: Sequence[Header]) -> HistoryEvent:
    """The same where the headers were read already, which can be done once."""
    said = {name: display(raw) for name, raw in headers if name.startswith(wire.PREFIX)}
    return HistoryEvent(
        at_ms=message.timestamp()[1],
        schedule_id=display(message.key()),
        outcome=said.get(wire.OUTCOME, "unknown"),
        due_ms=_epoch_ms(said.get(wire.EPOCH)),
        lateness_ms=_whole(said.get(wire.LATENESS)),
        target=said.get(wire.TARGET_TOPIC),
        fire_id=said.get(wire.FIRE_ID),
        reason=said.get(wire.REASON),
        detail=said.get(wire.REASON_DETAIL),
        partition=message.partition(),
        offset=message.offset(),
        value=message.value(),
    )


def _epoch_ms(text: str | None) -> int | None:
    # a rejected record's own headers may hold anything
    return None if text is None else epoch_ms(text)


def _whole(text: str | None) -> int | None:
    return None if text is None or _WHOLE.fullmatch(text) is None else int(text)
