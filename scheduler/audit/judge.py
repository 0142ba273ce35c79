"""The judge: compares what was written with what became of it, by the contract alone. Pure."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from scheduler.audit import contract, said
from scheduler.audit.comparison import Comparison
from scheduler.audit.contract import OUTCOME, TOPIC, UNDELIVERABLE
from scheduler.audit.replay import Replay
from scheduler.audit.testimony import compare_readers
from scheduler.audit.verdict import Fault, Verdict
from scheduler.audit.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from scheduler.audit.entries import Entry
    from scheduler.audit.recording import Recording
    from scheduler.audit.records import Record
    from scheduler.audit.said import Said

Schedule = tuple[str, bytes]
"""Schedules topic and key."""
NOTHING = 1 << 63
"""Behind every offset."""


class Hanging(NamedTuple):
    """A partition whose last stable offset stays below its high watermark."""

    topic: str
    partition: int
    last_stable_offset: int
    high_watermark: int


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run. Instants are Unix ms."""

    schedules_topics: Sequence[str]
    history_topic: str
    schedules: Sequence[Record]
    """What stands in the schedules topics, read committed from the beginning; so with the others."""
    history: Sequence[Record]
    targets: Sequence[Record]
    now_ms: int
    """What was due by then has to have ended."""
    dead_letter_topic: str | None = None
    dead_letters: Sequence[Record] | None = None
    """None: not read, not judged."""
    journal: Sequence[Entry] | None = None
    """What was written; None: unknown, what the topics alone can show is judged."""
    alone: bool = True
    """The journal has everything that customers wrote to the schedules topics."""
    recording: Recording | None = None
    """What a reader had that ran the whole time."""
    hanging: Sequence[Hanging] = ()
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Where partitions begin, of topics whose retention has taken something."""
    compacted: Collection[str] = ()
    """Topics that are."""
    whole_since: Mapping[str, int] = field(default_factory=dict)
    """For topics of which something may be gone: since when nothing is."""
    unread: Collection[str] = ()
    """Topics that are not there: nothing is known of them."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Judge occurrences that were due in between, and records that were written until then."""
    at_least_once: bool = False
    """The targets are on another cluster: copies are allowed."""


def judge(evidence: Evidence) -> Verdict:
    """Compare."""
    collects = gc.isenabled()
    gc.disable()  # nothing here is a cycle, and looking for some among millions of tuples takes longer than the rest
    try:
        return _Trial(evidence).verdict()
    finally:
        if collects:
            gc.enable()


class _Trial:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._verdict = Verdict()

    def verdict(self) -> Verdict:
        """Go through all of it."""
        evidence, verdict = self._evidence, self._verdict
        for hanging in evidence.hanging:
            text = f"{hanging.topic}/{hanging.partition}: last stable offset {hanging[2]} of {hanging[3]}"
            verdict.add(Fault.HANGING, text)
        seen = compare_readers(evidence, self._report)
        held_from = self._held_from(seen.schedules)
        written = Written(evidence, seen.schedules, self._report, held_from)
        replay = Replay(self._report, held_from)
        replay.run(written.in_order())
        told = self._told(seen.history, replay)
        messages = self._messages(seen.targets, replay)
        comparison = Comparison(
            verdict,
            self._report,
            held=self._held,
            judged=self._judged,
            history=evidence.history_topic,
            now_ms=evidence.now_ms,
            paused=replay.paused,
            vanished=written.vanished,
            at_least_once=evidence.at_least_once,
        )
        for schedule in replay.keys.keys() | told.keys() | messages.keys():
            if schedule in replay.keys or not written.complete or schedule in written.keys:
                logs = list(replay.keys.get(schedule, {}).values())
                comparison.compare(*schedule, logs, told.get(schedule, ()), messages.get(schedule, ()))
            else:
                self._foreign(schedule, told.get(schedule, ()), messages.get(schedule, ()))
        self._dead_letters(told, seen.dead_letters)
        verdict.schedules, verdict.replaced, verdict.too_late = replay.schedules, replay.replaced, replay.too_late
        verdict.unknown_found = written.unknown_found
        verdict.firings.sort()
        verdict.lateness_ms = sorted(at_ms - due_ms for at_ms, due_ms in verdict.firings)
        return verdict

    # -- what may be judged --------------------------------------------------------------------------

    def _report(self, fault: Fault, text: str, *shown_by: Record) -> None:
        until_ms = self._evidence.until_ms
        if until_ms is not None and any(record.timestamp_ms > until_ms for record in shown_by):
            self._verdict.unjudged["written while it was read"] += 1
        else:
            self._verdict.add(fault, text)

    def _judged(self, due_ms: int) -> bool:
        since_ms, until_ms = self._evidence.since_ms, self._evidence.until_ms
        return (since_ms is None or due_ms >= since_ms) and (until_ms is None or due_ms <= until_ms)

    def _held(self, topic: str, instant_ms: int) -> bool:
        return topic not in self._evidence.unread and instant_ms >= self._evidence.whole_since.get(topic, 0)

    def _held_from(self, schedules: Sequence[Record]) -> Callable[[str, int], int]:
        """For a partition, the offset from which on compaction has taken nothing."""
        since_ms = self._evidence.whole_since
        found: dict[tuple[str, int], int] = {}
        for record in schedules:
            if record.topic in since_ms:
                place = record.topic, record.partition
                least = found.get(place, record.offset + 1)
                found[place] = min(least, record.offset) if record.timestamp_ms >= since_ms[record.topic] else least
        return lambda topic, partition: found.get((topic, partition), NOTHING if topic in since_ms else 0)

    # -- what is said --------------------------------------------------------------------------------

    def _told(self, history: Sequence[Record], replay: Replay) -> dict[Schedule, list[Said]]:
        found: defaultdict[Schedule, list[Said]] = defaultdict(list)
        for record in history:
            each = said.told(record)
            topic = self._topic(record, each.key, replay)
            if topic is None:
                self._verdict.unjudged["of schedules topics that are not audited"] += 1
                continue
            found[topic, each.key].append(each)
            if each.due_ms is None or self._judged(each.due_ms):
                self._verdict.outcomes[(each.outcome or b"").decode(errors="backslashreplace")] += 1
        return found

    def _topic(self, record: Record, key: bytes, replay: Replay) -> str | None:
        """The schedules topic that a record is about; None: one that is not audited."""
        topics = self._evidence.schedules_topics
        raw = record.stated(TOPIC)
        if raw is None:  # a line of the history that holds nothing but the outcome
            return next((topic for topic in topics if (topic, key) in replay.keys), topics[0])
        topic = raw.decode(errors="backslashreplace")
        return topic if topic in topics else None

    def _messages(self, targets: Sequence[Record], replay: Replay) -> dict[Schedule, list[Said]]:
        found: defaultdict[Schedule, list[Said]] = defaultdict(list)
        for record in targets:
            key = record.stated(contract.KEY)
            if key is None:
                continue  # anybody may write to a target
            topic = self._topic(record, key, replay)
            if topic is None:
                continue
            logs = replay.keys.get((topic, key), {}).values()
            each = said.message(record, {end.version.due_ms for log in logs for end in log.ends})
            found[topic, key].append(each)
            if each.due_ms is not None and self._judged(each.due_ms):
                self._timed(each, each.due_ms)
        return found

    def _timed(self, message: Said, due_ms: int) -> None:
        record = message.record
        at_ms = record.timestamp_ms if record.received_ms is None else record.received_ms
        self._verdict.messages += 1
        self._verdict.firings.append((at_ms, due_ms))
        if min(at_ms, record.timestamp_ms) < due_ms:
            text = f"{message.key!r}: due {due_ms}, message {record.topic} {record.partition}/{record.offset} of "
            received = "" if record.received_ms is None else f", received {record.received_ms}"
            self._report(Fault.EARLY, f"{text}{record.timestamp_ms}{received}", record)

    # -- beside the schedules ------------------------------------------------------------------------

    def _foreign(self, schedule: Schedule, told: Sequence[Said], messages: Sequence[Said]) -> None:
        for each in (*told, *messages):
            record = each.record
            text = f"{schedule[1]!r}: {record.topic} {record.partition}/{record.offset}, of a schedule never submitted"
            self._report(Fault.FOREIGN, text, record)

    def _dead_letters(self, told: dict[Schedule, list[Said]], dead_letters: Sequence[Record] | None) -> None:
        """Each undeliverable one is among the dead letters."""
        topic = self._evidence.dead_letter_topic
        if dead_letters is None or topic is None:
            return
        given_up = {record.place: record for record in dead_letters if record.stated(OUTCOME) == UNDELIVERABLE}
        left = Counter((record.key, record.stated(contract.FIRE_ID)) for record in given_up.values())
        for each in (each for one in told.values() for each in one if each.outcome == UNDELIVERABLE):
            name = each.record.key, each.record.stated(contract.FIRE_ID)
            if left[name]:
                left[name] -= 1
            elif self._held(topic, each.record.timestamp_ms):
                self._report(Fault.TORN, f"{each.key!r}: due {each.due_ms}, undeliverable, no dead letter", each.record)
            else:
                self._verdict.unjudged["dead letters that are gone"] += 1
        for record in _of_names(given_up.values(), left):
            if self._held(self._evidence.history_topic, record.timestamp_ms):
                text = f"{record.key!r}: dead letter {record.partition}/{record.offset}, and no history"
                self._report(Fault.TORN, text, record)


def _of_names(records: Iterable[Record], left: Counter[tuple[bytes | None, bytes | None]]) -> Iterator[Record]:
    for record in records:
        name = record.key, record.stated(contract.FIRE_ID)
        if left[name] > 0:
            left[name] -= 1
            yield record
