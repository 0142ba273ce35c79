"""A simulated world as evidence for the judge of `scheduler audit`."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from scheduler.audit.judge import Evidence
from scheduler.audit.records import Record
from tests.support.cases import entry
from tests.support.simulation.replica import PLACE
from tests.support.simulation.world import LATE_TARGET, entries_of

if TYPE_CHECKING:
    from tests.support.simulation.broker import Entry
    from tests.support.simulation.world import World

TARGETS = ("target", LATE_TARGET)


def evidence_of(world: World, *, journal: bool) -> Evidence:
    """What a reader that ran all the time has, with the journal of what clients wrote, or without."""
    log = _of(world, PLACE.topic)
    return Evidence(
        [PLACE.topic],
        PLACE.history_topic,
        log,
        _of(world, PLACE.history_topic),
        [record for target in TARGETS for record in _of(world, target)],
        world.now_ms,
        PLACE.dead_letter_topic,
        _of(world, PLACE.dead_letter_topic),
        [entry(each) for each in log if each.stated("scheduler-replaces") is None] if journal else None,
    )


def _of(world: World, topic: str) -> list[Record]:
    return [_record(topic, each) for each in entries_of(world.logs[topic])]


def _record(topic: str, each: Entry) -> Record:
    digest = None if each.value is None else sha256(each.value).digest()
    headers = tuple(each.headers)
    return Record(topic, 0, each.offset, each.timestamp_ms, each.key, digest, len(each.value or b""), headers)
