"""A reader that ran all the time against the one that reads at the end: what was committed once stays so."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from scheduler.audit.verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.audit.judge import Evidence
    from scheduler.audit.recording import Recording
    from scheduler.audit.records import Place, Record
    from scheduler.audit.replay import Report


class Seen(NamedTuple):
    """What either of them was given, in order within each partition, with the time at which the first one had it."""

    schedules: list[Record]
    history: list[Record]
    targets: list[Record]
    dead_letters: list[Record] | None


def compare_readers(evidence: Evidence, report: Report) -> Seen:
    """Put together what both have, and report where they do not agree."""
    final = {
        record.place: record
        for records in (evidence.schedules, evidence.history, evidence.targets, evidence.dead_letters or ())
        for record in records
    }
    live: dict[Place, Record] = {}
    if evidence.recording is not None:
        live = evidence.recording.records
        _disagreements(evidence, evidence.recording, final, report)
    records = sorted({**final, **live}.values(), key=itemgetter(0, 1, 2))
    schedules, own = set(evidence.schedules_topics), {evidence.history_topic, evidence.dead_letter_topic}
    no_dead_letters = evidence.dead_letters is None
    return Seen(
        [record for record in records if record.topic in schedules],
        [record for record in records if record.topic == evidence.history_topic],
        [record for record in records if record.topic not in schedules and record.topic not in own],
        None if no_dead_letters else [record for record in records if record.topic == evidence.dead_letter_topic],
    )


def _disagreements(evidence: Evidence, recording: Recording, final: dict[Place, Record], report: Report) -> None:
    newest = _newest((*final.values(), *recording.records.values()))
    for place, record in recording.records.items():
        other = final.get(place)
        if other is not None and not record.same_as(other):
            report(Fault.RETRACTED, f"{_words(record)}: at the end there is another record", record)
        elif other is None and record.topic not in evidence.unread and not _may_go(evidence, record, newest):
            report(Fault.RETRACTED, f"{_words(record)}: it is gone at the end", record)
    for place, record in final.items():
        if place not in recording.records and record.offset < recording.reached.get(place[:2], 0):
            report(Fault.UNSEEN, f"{_words(record)}: the reader had passed it", record)


def _newest(records: Iterable[Record]) -> dict[tuple[str, int, bytes | None], int]:
    found: dict[tuple[str, int, bytes | None], int] = {}
    for record in records:
        name = record.topic, record.partition, record.key
        found[name] = max(record.offset, found.get(name, -1))
    return found


def _may_go(evidence: Evidence, record: Record, newest: dict[tuple[str, int, bytes | None], int]) -> bool:
    """Whether retention or compaction may have taken it meanwhile."""
    if record.offset < evidence.starts.get((record.topic, record.partition), 0):
        return True
    if record.topic not in evidence.compacted:
        return False
    return record.value_sha256 is None or newest[record.topic, record.partition, record.key] > record.offset


def _words(record: Record) -> str:
    return f"{record.topic} {record.partition}/{record.offset} of {record.timestamp_ms}, key {record.key!r}"
