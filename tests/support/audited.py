"""A model world as evidence for the judge of `scheduler audit`."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.support.model import Broker

from scheduler.audit.judge import Evidence
from scheduler.audit.records import Record
from tests.support import model
from tests.support.cases import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.model import Entry, Out, Transaction, World


@contextmanager
def remembered() -> Iterator[dict[Broker, list[Entry]]]:
    """While the block lasts, every record that is written, those included that compaction removes; by broker."""
    written: dict[Broker, list[Entry]] = {}
    append = Broker.append

    def remembering(
        self: Broker, key: bytes | None, value: bytes | None, headers: list[model.Header], txn: Transaction | None
    ) -> int:
        offset = append(self, key, value, headers, txn)
        written.setdefault(self, []).append(self.log[-1])
        return offset

    with patch.object(Broker, "append", remembering):
        yield written


def evidence_of(world: World, written: list[Entry], *, journal: bool) -> Evidence:
    """What a reader that ran all the time has, with the journal of what clients wrote, or without."""
    kept = [each for each in written if each.key is not None and not model._aborted(each)]
    log = [
        _record(model.PLACE.topic, each.offset, each.timestamp_ms, each.key, each.value, each.headers) for each in kept
    ]
    out = [_delivered(number, at_ms, each) for number, (at_ms, each) in enumerate(world.broker.delivered)]
    return Evidence(
        [model.PLACE.topic],
        model.PLACE.history_topic,
        log,
        [each for each in out if each.topic == model.PLACE.history_topic],
        [each for each in out if each.topic == model.TARGET],
        world.broker.now_ms,
        model.PLACE.dead_letter_topic,
        [each for each in out if each.topic == model.PLACE.dead_letter_topic],
        [entry(each) for each in log if each.stated("scheduler-replaces") is None] if journal else None,
    )


def _delivered(number: int, at_ms: int, out: Out) -> Record:
    return _record(out.topic, number, at_ms, out.key, out.value, out.headers)


def _record(
    topic: str, offset: int, at_ms: int, key: bytes | None, value: bytes | None, headers: list[model.Header]
) -> Record:
    digest = None if value is None else sha256(value).digest()
    return Record(topic, 0, offset, at_ms, key, digest, len(value or b""), tuple(headers))
