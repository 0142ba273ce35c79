"""The judge of races: replays a schedules log by the rule of the contract and compares what came of it.

Its evidence is what clients were told of their own records (offsets, by delivery reports), what the owners
wrote between them, and what stands in the target and in the history. It knows no clock: whether a cancel or
an update came in time is a matter of offsets. An owner reads a partition in order, so once one of its records
names an offset, everything below that offset had been read when that record was decided on. A later firing
of a version that was replaced or cancelled below it is a fault, not a race.

Every customer's record has the header `version`, and states its due time by `scheduler-epoch`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.support.records import Record

VERSION = "version"
REPLACES = "scheduler-replaces"

Occurrence = tuple[bytes, int]
"""The header `version` of the record that states it, and the due time in Unix ms."""


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run when nobody writes any more."""

    written: Sequence[Record]
    """Customers' records that were acknowledged, where they stand."""
    log: Sequence[Record]
    """What was read from the schedules topic, in any order; of a compacted one, also what is gone by now."""
    target: Sequence[Record]
    history: Sequence[Record]
    now_ms: int
    """Up to when what was due has to have ended."""


class Verdict(NamedTuple):
    """What the replay found."""

    faults: list[str]
    fired: int
    cancelled: int
    replaced: int
    """Versions that ended unfired because a newer record stood in time."""
    too_late: int
    """Firings that a newer record of the key had not stopped: it stood before their end, and nobody had read it."""


class _Standing(NamedTuple):
    version: bytes
    due_ms: int


@dataclass
class _Key:
    standing: dict[int, _Standing] = field(default_factory=dict)
    """Every version by the offset at which it stands, the rewritten ones too."""
    superseded: dict[int, int] = field(default_factory=dict)
    """Where the record stands that replaced or cancelled the version at an offset."""
    by_owner: set[int] = field(default_factory=set)
    """Versions that an owner has ended or written anew: they must not be heard of again."""
    cancels: dict[int, int] = field(default_factory=dict)
    """Versions that a cancel found in force, and where it stands."""
    cancelled_at: int = -1
    """The last cancel, where nothing was stated since."""
    in_force: int | None = None
    hidden: bool = False
    """Whether a later record of an owner hides what is in force from compaction."""


def judge(evidence: Evidence) -> Verdict:
    """Replay the log and compare."""
    return _Replay(evidence).verdict()


class _Replay:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._faults: list[str] = []
        self._keys: defaultdict[tuple[int, bytes], _Key] = defaultdict(_Key)
        self._read: defaultdict[int, int] = defaultdict(lambda: -1)
        """For each partition, up to which offset an owner is known to have read by now."""
        self._ended: Counter[Occurrence] = Counter()
        """Occurrences that an owner's record has ended as fired or misfired."""
        self._periods: list[tuple[bytes, int, int]] = []
        """Version, from, to: stretches of which one occurrence of a recurring schedule was ended."""
        self._replaced = self._too_late = 0

    def verdict(self) -> Verdict:
        for record in self._in_order():
            key = self._keys[record.partition, record.key or b""]
            if record[REPLACES] is None:
                self._customers(key, record)
            else:
                self._owners(key, record)
        self._close()
        cancelled = self._compare()
        return Verdict(self._faults, len(self._evidence.target), cancelled, self._replaced, self._too_late)

    def _fault(self, record: Record, text: str) -> None:
        self._faults.append(f"{record.key!r} at {record.partition}/{record.offset}: {text}")

    def _in_order(self) -> Iterator[Record]:
        """Customers' records by what they were told, owners' as they were read."""
        records = {(each.partition, each.offset): each for each in self._evidence.written}
        for record in self._evidence.log:
            place = (record.partition, record.offset)
            if record[REPLACES] is None and place not in records:
                self._fault(record, "no customer wrote this")
            elif record[REPLACES] is not None:
                records[place] = record
        return iter(sorted(records.values(), key=lambda record: (record.partition, record.offset)))

    # -- the rule ------------------------------------------------------------------------------------

    def _customers(self, key: _Key, record: Record) -> None:
        before = key.in_force
        if before is not None:
            key.superseded[before] = record.offset
            if record.value is None:
                key.cancels[before] = record.offset
            else:
                self._replaced += 1
        key.hidden = False
        key.in_force, key.cancelled_at = None, record.offset
        if record.value is not None:
            key.cancelled_at = -1
            key.standing[record.offset] = _Standing(_version(record), _due_ms(record))
            key.in_force = record.offset

    def _owners(self, key: _Key, record: Record) -> None:
        replaces = int(record[REPLACES] or b"")
        known = key.standing.get(replaces)
        if record.value is None:
            if record["scheduler-outcome"] in (b"fired", b"misfired"):
                self._ends(key, record, replaces, known, None)
        else:
            due_ms, version = _due_ms(record), _version(record)
            key.standing[record.offset] = _Standing(version, due_ms)
            if known is not None and known.version == version and known.due_ms != due_ms:
                cancelled_at = key.cancels.get(replaces)
                self._ends(key, record, replaces, known, due_ms)
                if cancelled_at is not None:
                    key.cancels[record.offset] = cancelled_at  # told of the occurrence that it still stopped
            elif not any(each == (version, due_ms) for each in list(key.standing.values())[:-1]):
                self._fault(record, f"an owner wrote a version that nobody stated: {version!r} due {due_ms}")
        self._takes_effect(key, record, replaces)
        self._read[record.partition] = max(self._read[record.partition], replaces)

    def _takes_effect(self, key: _Key, record: Record, replaces: int) -> None:
        newer = key.in_force
        if newer is not None and newer > replaces:
            key.hidden = True
            key.superseded[record.offset] = newer
            return
        if newer is not None:
            key.by_owner.add(newer)
        key.in_force = None
        if record.value is None:
            return
        if key.cancelled_at > replaces:
            key.superseded[record.offset] = key.cancelled_at
        else:
            key.in_force, key.hidden = record.offset, False

    def _ends(self, key: _Key, record: Record, replaces: int, ended: _Standing | None, next_ms: int | None) -> None:
        if ended is None:
            self._fault(record, f"ends offset {replaces}, where nothing of this key stands")
            return
        if replaces in key.by_owner:
            self._fault(record, f"{ended.version!r} at {replaces} is ended a second time")
        key.by_owner.add(replaces)
        since = key.superseded.get(replaces)
        if since is not None:
            self._too_late += 1
            if key.cancels.get(replaces) == since:
                del key.cancels[replaces]  # it came too late, and is not told
            else:
                self._replaced -= 1
            if since <= max(self._read[record.partition], replaces):
                self._fault(record, f"{ended.version!r} is ended although the record at {since} had been read")
        if next_ms is None:
            self._ended[ended.version, ended.due_ms] += 1
        else:
            self._periods.append((ended.version, ended.due_ms, next_ms))

    def _close(self) -> None:
        for (partition, name), key in self._keys.items():
            if key.in_force is None:
                continue
            standing = key.standing[key.in_force]
            if standing.due_ms <= self._evidence.now_ms:
                self._faults.append(
                    f"{name!r} at {partition}/{key.in_force}: {standing.version!r} is lost: in force, due, never ended"
                )
            if key.hidden:
                self._faults.append(f"{name!r} at {partition}/{key.in_force}: hidden, and not written again")

    # -- what came of it -----------------------------------------------------------------------------

    def _compare(self) -> int:
        told = Counter[Occurrence]()
        missed = Counter[Occurrence]()
        cancelled = Counter[bytes]()
        for record in self._evidence.history:
            outcome, occurrence = record["scheduler-outcome"], (_version(record), fire_ms(record))
            if outcome == b"fired":
                told[occurrence] += 1
            elif outcome == b"misfired":
                missed[occurrence] += 1
            elif outcome == b"cancelled":
                cancelled[occurrence[0]] += 1
            else:
                self._fault(record, f"the history says {outcome!r}")
        fired = Counter((_version(record), fire_ms(record)) for record in self._evidence.target)
        self._same(told, fired, "the history", "the target")
        ended = self._with_periods(told + missed)
        self._same(ended, told + missed, "the log", "the history")
        stopped = Counter(key.standing[offset].version for key in self._keys.values() for offset in key.cancels)
        self._same(stopped, cancelled, "the cancels in time", "the history's cancelled")
        self._check_messages()
        return cancelled.total()

    def _with_periods(self, told: Counter[Occurrence]) -> Counter[Occurrence]:
        """Of each stretch of a recurring schedule, the one occurrence that was told."""
        ended = self._ended.copy()
        left = told - ended
        for version, start_ms, end_ms in self._periods:
            found = [each for each in left if each[0] == version and start_ms <= each[1] < end_ms]
            if not found:
                self._faults.append(f"{version!r}: nothing is told of what was due from {start_ms} until {end_ms}")
                continue
            ended[found[0]] += 1
            left -= Counter(found[:1])
        return ended

    def _same(self, one: Counter[object], other: Counter[object], name: str, others_name: str) -> None:
        for missing in (one - other).elements():
            self._faults.append(f"{missing!r} is in {name} and not in {others_name}")
        for missing in (other - one).elements():
            self._faults.append(f"{missing!r} is in {others_name} and not in {name}")

    def _check_messages(self) -> None:
        stated = {_version(each): each for each in self._evidence.written if each.value is not None}
        for message in self._evidence.target:
            origin = stated.get(_version(message))
            if origin is None or message.value != origin.value or message["scheduler-key"] != origin.key:
                self._fault(message, f"fired otherwise than it was written: {message}")
            if message.timestamp_ms < fire_ms(message):
                self._fault(message, f"fired {fire_ms(message) - message.timestamp_ms} ms early")


def fire_ms(record: Record) -> int:
    """Which occurrence a message or a history record is about."""
    return int((record["scheduler-fire-id"] or b"").rpartition(b"@")[2])


def _version(record: Record) -> bytes:
    version = record[VERSION]
    assert version is not None, f"without the header `{VERSION}`: {record}"
    return version


def _due_ms(record: Record) -> int:
    whole, _, part = (record["scheduler-epoch"] or b"").partition(b".")
    return int(whole) * 1000 + int((part + b"000")[:3])


def gone(log: Iterable[Record], left: Iterable[Record]) -> int:
    """How many records of a log compaction has removed."""
    return len({(each.partition, each.offset) for each in log} - {(each.partition, each.offset) for each in left})
