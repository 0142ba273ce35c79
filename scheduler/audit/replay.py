"""Replays a schedules log by the rule of the contract: which version was in force, how it ended, and who saw what.

It knows no clock: whether a cancel or an update came in time is a matter of offsets. An owner reads a partition in
order, so once one of its records names an offset, everything below that had been read when that record was decided
on. A later end of a version that was replaced or cancelled below it is a fault, not a race.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from scheduler.audit import contract
from scheduler.audit.contract import CANCELLED, FIRED, MISFIRED, OUTCOME, REJECTED, UNDELIVERABLE, RefusedError, Version
from scheduler.audit.verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.audit.records import Record


class Report(Protocol):
    """Is told of faults."""

    def __call__(self, fault: Fault, text: str, *shown_by: Record) -> None:
        """A fault, in words, and the records that show it."""
        ...


class End(NamedTuple):
    """What a record of an owner says of a version: an occurrence of it is over."""

    version: Version
    by: Record
    outcome: bytes | None
    """None: a next occurrence, which does not say how this one ended."""
    until_ms: int | None
    """The next occurrence; None: it was the last one."""
    perhaps: bool = False
    """It may only be written again: the next occurrence is the same, or was not certain before."""
    held: bool = False
    """Its partition was paused, and the owner had read so."""


@dataclass(slots=True)
class KeyLog:
    """One key in one partition."""

    standing: dict[int, Version] = field(default_factory=dict)
    """Every version by the offset at which it stands, the rewritten ones too."""
    superseded: dict[int, int] = field(default_factory=dict)
    """Where the record stands that replaced or cancelled the version at an offset."""
    by_owner: set[int] = field(default_factory=set)
    """Versions that an owner has ended or written anew: they must not be heard of again."""
    cancels: dict[int, int] = field(default_factory=dict)
    """Versions that a cancel found in force, and where it stands: each is to be told."""
    refusals: list[Record] = field(default_factory=list)
    """Customers' records that are no schedules: each is to be told."""
    ends: list[End] = field(default_factory=list)
    uncertain: set[int] = field(default_factory=set)
    """Versions that continue one of another rule: they are due when they say, or at their next occurrence."""
    cancelled_at: int = -1
    """The last cancel, where nothing was stated since."""
    in_force: int | None = None
    hidden: bool = False
    """Whether a later record of an owner hides what is in force from compaction."""
    told_to: int = -1
    """Everything about the key up to this offset has been told by an owner."""
    blind: int = 0
    """Ends of versions that the log no longer holds."""


class Replay:
    """The logs of all schedules partitions.

    Args:
        report: is told of faults.
        held_from: for a topic and partition, the offset from which on compaction has taken nothing.
    """

    def __init__(self, report: Report, held_from: Callable[[str, int], int]) -> None:
        self._report = report
        self._held_from = held_from
        self.keys: defaultdict[tuple[str, bytes], dict[int, KeyLog]] = defaultdict(dict)
        """By topic and key, then by partition."""
        self.paused: dict[tuple[str, int], bool] = {}
        self.schedules = self.replaced = self.too_late = 0
        self._read: defaultdict[tuple[str, int], int] = defaultdict(lambda: -1)
        """For each partition, up to which offset an owner is known to have read by now."""
        self._paused_at: dict[tuple[str, int], int] = {}

    def log_of(self, record: Record) -> KeyLog:
        """Where the record's key is kept."""
        partitions = self.keys[record.topic, record.key or b""]
        log = partitions.get(record.partition)
        if log is None:
            log = partitions[record.partition] = KeyLog()
        return log

    def run(self, records: Iterable[Record]) -> None:
        """Replay them; each partition in order of its offsets."""
        for record in records:
            if record.key == contract.PAUSE_KEY:
                place = record.topic, record.partition
                self.paused[place] = record.value_sha256 is not None
                self._paused_at[place] = record.offset
                continue
            log = self.log_of(record)
            try:
                replaces = contract.replaces(record)
                if replaces is None:
                    self._customers(log, record)
                else:
                    self._owners(log, record, replaces)
            except RefusedError:
                if record.key is not None:
                    log.refusals.append(record)

    def _fault(self, fault: Fault, record: Record, text: str) -> None:
        self._report(fault, f"{record.key!r} at {record.topic} {record.partition}/{record.offset}: {text}", record)

    # -- customers -----------------------------------------------------------------------------------

    def _customers(self, log: KeyLog, record: Record) -> None:
        version = None if record.value_sha256 is None else contract.version(record)
        before = log.in_force
        if version is not None:
            self.schedules += 1
            if version.continues and before is not None:
                version = self._continue(log, version, log.standing[before])
        if before is not None:
            log.superseded[before] = record.offset
            if version is None:
                log.cancels[before] = record.offset
            else:
                self.replaced += 1
        log.hidden = False
        log.in_force, log.cancelled_at = None, record.offset
        if version is not None:
            log.cancelled_at = -1
            log.standing[record.offset] = version
            log.in_force = record.offset

    def _continue(self, log: KeyLog, version: Version, base: Version) -> Version:
        if not _same_rule(version, base):
            log.uncertain.add(version.offset)
        return continuing(version, base)

    # -- owners --------------------------------------------------------------------------------------

    def _owners(self, log: KeyLog, record: Record, replaces: int) -> None:
        partition = record.topic, record.partition
        if record.value_sha256 is None:
            version = None
            self._tombstone(log, record, replaces)
        else:
            version = contract.version(record)
            if record.stated(contract.EPOCH) is None:
                self._fault(Fault.ALTERED, record, "written back without an absolute due time")
            self._written(log, version, replaces)
            log.standing[record.offset] = version
        self._takes_effect(log, record, replaces, version)
        log.told_to = max(log.told_to, replaces)
        self._read[partition] = max(self._read[partition], replaces)

    def _tombstone(self, log: KeyLog, record: Record, replaces: int) -> None:
        outcome = record.stated(OUTCOME)
        if outcome in (FIRED, MISFIRED, UNDELIVERABLE):
            self._ends(log, _end(log, record, replaces, outcome), record, replaces)
        elif outcome == CANCELLED:
            # of a cancel by a record it names that record, or a version that the cancel had kept from coming in force
            born = log.superseded.get(replaces, record.offset)
            if replaces in log.standing and born > replaces:
                self._ends(log, _end(log, record, replaces, outcome), record, replaces)
        elif outcome != REJECTED:
            self._fault(Fault.TORN, record, f"a tombstone of the scheduler that says {outcome!r}")

    def _written(self, log: KeyLog, new: Version, replaces: int) -> None:
        """A version that an owner wrote: a next occurrence, one written again, or one changed by request."""
        record, known = new.record, log.standing.get(replaces)
        if known is None or not new.same_payload(known):
            self._written_again(log, new, replaces)
            return
        if replaces in log.by_owner:
            text = f"the version at {replaces} is written again, which the scheduler had ended or written before"
            self._fault(Fault.DOUBLED, record, text)
        since = log.superseded.get(replaces)
        if since is not None and since <= max(self._read[record.topic, record.partition], replaces):
            text = f"the version at {replaces} is written again although the record at {since} had been read"
            self._fault(Fault.WRONG_VERSION, record, text)
        cancelled_at = log.cancels.get(replaces)
        if known.rule is not None and new.lasting == known.lasting and new.due_ms >= known.due_ms:
            perhaps = new.due_ms == known.due_ms or replaces in log.uncertain
            end = End(known, record, None, new.due_ms, perhaps)
            if perhaps:
                log.ends.append(end)
            else:
                self._ends(log, end, record, replaces)
        if cancelled_at is not None:
            # told of the version that it still stopped
            log.cancels.pop(replaces, None)
            log.cancels[record.offset] = cancelled_at

    def _written_again(self, log: KeyLog, new: Version, replaces: int) -> None:
        known = [each for offset, each in log.standing.items() if offset <= replaces]
        if any(each.same_words(new) and each.due_ms == new.due_ms for each in known):
            return
        if any(
            each.continues and each.same_payload(new) and (each.due_ms == new.due_ms or each.offset in log.uncertain)
            for each in known
        ):
            return
        if replaces >= self._held_from(new.record.topic, new.record.partition) and not log.blind:
            self._fault(
                Fault.FOREIGN, new.record, f"the scheduler wrote a version that nobody stated, due {new.due_ms}"
            )
        else:
            log.blind += 1

    def _takes_effect(self, log: KeyLog, record: Record, replaces: int, version: Version | None) -> None:
        newer = log.in_force
        if newer is not None and newer > replaces:
            log.hidden = True
            log.superseded[record.offset] = newer
            standing = log.standing[newer]
            if version is not None and standing.continues:
                log.standing[newer] = self._continue(log, standing, version)
            return
        if newer is not None:
            self._check_succession(log, record, version, newer)
            log.by_owner.add(newer)
        log.in_force = None
        if version is None:
            return
        if log.cancelled_at > replaces:
            log.superseded[record.offset] = log.cancelled_at
        else:
            log.in_force, log.hidden = record.offset, False

    def _check_succession(self, log: KeyLog, record: Record, version: Version | None, before: int) -> None:
        """What takes the place of a version in force ends it, or is that version."""
        said = log.ends and log.ends[-1].by is record and log.ends[-1].version.offset == before
        if not said and (version is None or not version.same_payload(log.standing[before])):
            self._fault(Fault.LOST, record, f"takes the place of the version at {before}, and does not say what of it")

    def _ends(self, log: KeyLog, end: End | None, record: Record, replaces: int) -> None:
        if end is None:
            if replaces >= self._held_from(record.topic, record.partition):
                self._fault(Fault.TORN, record, f"ends offset {replaces}, where nothing of this key stands")
            log.blind += 1
            return
        if replaces in log.by_owner:
            self._fault(Fault.DOUBLED, record, f"the version at {replaces} is ended a second time")
        log.by_owner.add(replaces)
        since = log.superseded.get(replaces)
        if since is not None:
            self.too_late += 1
            if log.cancels.get(replaces) == since:
                del log.cancels[replaces]  # it came too late, and is not told
            else:
                self.replaced -= 1
            # a next occurrence is looked at as a version that is written, below
            had_read = since <= max(self._read[record.topic, record.partition], replaces)
            if had_read and record.value_sha256 is None:
                text = f"the version at {replaces} is ended although the record at {since} had been read"
                self._fault(Fault.WRONG_VERSION, record, text)
        place = record.topic, record.partition
        had_read = self._paused_at.get(place, 0) <= max(self._read[place], replaces)
        log.ends.append(end._replace(held=self.paused.get(place, False) and had_read))


def _end(log: KeyLog, record: Record, replaces: int, outcome: bytes) -> End | None:
    version = log.standing.get(replaces)
    return None if version is None else End(version, record, outcome, None)


def continuing(version: Version, base: Version) -> Version:
    """A version as it goes on from the one that it replaces: where that one stands, if the rule is the same."""
    due_ms = base.due_ms - base.shift_ms + version.shift_ms if _same_rule(version, base) else version.due_ms
    return version._replace(due_ms=due_ms, paused=version.paused or base.paused)


def _same_rule(one: Version, other: Version) -> bool:
    rule, others = one.rule, other.rule
    return rule is not None and others is not None and (rule.text, rule.timezone) == (others.text, others.timezone)
