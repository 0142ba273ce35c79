"""What customers have written: the schedules log, by what their journal says of it."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING

from scheduler.audit import contract
from scheduler.audit.contract import RefusedError
from scheduler.audit.entries import ACKNOWLEDGED, REFUSED
from scheduler.audit.records import Record
from scheduler.audit.verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scheduler.audit.entries import Entry
    from scheduler.audit.judge import Evidence
    from scheduler.audit.records import Header, Place
    from scheduler.audit.replay import Report

_Words = tuple[str, bytes | None, bytes | None, tuple["Header", ...] | None]


class Written:
    """The records of the schedules topics, those included that are acknowledged and not there any more."""

    def __init__(
        self, evidence: Evidence, log: Sequence[Record], report: Report, held_from: Callable[[str, int], int]
    ) -> None:
        self._report = report
        self._held_from = held_from
        self._compacted = evidence.whole_since.keys()
        self._records = {record.place: record for record in log}
        self.complete = evidence.journal is not None and evidence.alone
        """Whether all that customers wrote is in the journal."""
        self.keys = {(entry.topic, entry.key) for entry in evidence.journal or ()}
        self.vanished: dict[Place, bool] = {}
        """Places of acknowledged records that nobody has seen there, and whether they should be there for sure."""
        self.unknown_found = 0
        if evidence.journal is not None:
            self._hear(evidence.journal)

    def in_order(self) -> Iterator[Record]:
        """Partition by partition, in order of offsets."""
        return iter(sorted(self._records.values(), key=itemgetter(0, 1, 2)))

    def _hear(self, journal: Sequence[Entry]) -> None:
        placed: dict[Place, Entry] = {}
        anywhere: defaultdict[_Words, list[Entry]] = defaultdict(list)
        for entry in journal:
            if entry.outcome == ACKNOWLEDGED and entry.partition is not None and entry.offset is not None:
                placed[entry.topic, entry.partition, entry.offset] = entry
            else:
                anywhere[_words_of(entry)].append(entry)
        self._find_elsewhere(placed, anywhere)
        for place, entry in placed.items():
            self._find(place, entry)
        for left in anywhere.values():
            for entry in left:
                # of a log that is not whole, compaction may have taken it
                if entry.outcome == ACKNOWLEDGED and entry.topic not in self._compacted:
                    self._report(Fault.LOST, f"{entry.key!r}: acknowledged, and never seen at {entry.topic}")

    def _find_elsewhere(self, placed: dict[Place, Entry], anywhere: dict[_Words, list[Entry]]) -> None:
        """Customers' records of which no acknowledgement says where they stand."""
        for place, record in self._records.items():
            if place in placed or _is_owners(record):
                continue
            candidates = anywhere.get((record.topic, record.key, record.value_sha256, record.headers), [])
            found = min(candidates, key=lambda entry: (entry.outcome == REFUSED, entry.outcome), default=None)
            where = f"{record.key!r} at {record.topic} {record.partition}/{record.offset}"
            if found is not None:
                candidates.remove(found)
                self.unknown_found += found.outcome != ACKNOWLEDGED
                if found.outcome == REFUSED:
                    self._report(Fault.FOREIGN, f"{where}: its producer was told that it was refused", record)
            elif self.complete:
                known = (record.topic, record.key) in self.keys
                text = (
                    "no customer wrote this there; a producer that retries needs enable.idempotence"
                    if known
                    else ("no customer wrote this")
                )
                self._report(Fault.FOREIGN, f"{where}: {text}", record)

    def _find(self, place: Place, entry: Entry) -> None:
        record, stated = self._records.get(place), _record(entry, place)
        if record is None:
            self._records[place] = stated
            self.vanished[place] = place[2] >= self._held_from(*place[:2])
            if self.vanished[place]:
                self._report(Fault.LOST, f"{entry.key!r}: acknowledged at {_at(place)}, and not there", stated)
        elif (record.key, record.value_sha256) != (stated.key, stated.value_sha256) or (
            record.headers is not None and record.headers != stated.headers
        ):
            self._report(Fault.ALTERED, f"{entry.key!r}: what stands at {_at(place)} was not written so", record)


def _words_of(entry: Entry) -> _Words:
    return entry.topic, entry.key, _digest(entry), entry.headers


def _digest(entry: Entry) -> bytes | None:
    return None if entry.value_sha256 is None else bytes.fromhex(entry.value_sha256)


def _record(entry: Entry, place: Place) -> Record:
    timestamp_ms = -1 if entry.timestamp_ms is None else entry.timestamp_ms
    return Record(*place, timestamp_ms, entry.key, _digest(entry), entry.value_size, entry.headers)


def _is_owners(record: Record) -> bool:
    try:
        return contract.replaces(record) is not None
    except RefusedError:
        return False


def _at(place: Place) -> str:
    return f"{place[0]} {place[1]}/{place[2]}"
