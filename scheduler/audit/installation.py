"""All that an installation has to show, read for the judge: schedules, history, targets and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.audit.contract import TARGET_TOPIC
from scheduler.audit.gathering import Gathering
from scheduler.audit.judge import Evidence
from scheduler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from scheduler.audit.entries import Entry
    from scheduler.audit.gathering import Offsets, Partition
    from scheduler.audit.recorder import Recorder
    from scheduler.audit.recording import Recording
    from scheduler.audit.records import Record
    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress

EARLY_MS = 3_600_000
"""Messages of what was due since an instant are read from so long before: one may be early."""


class Source(NamedTuple):
    """Where an installation is."""

    conf: Mapping[str, Any]
    """Properties of clients of the cluster with the schedules: `bootstrap.servers` at least."""
    schedules: Sequence[str]
    history: str
    dead_letters: str | None = None
    targets: Collection[str] = ()
    """Beside those that schedules and the history name."""
    target_conf: Mapping[str, Any] | None = None
    """For targets on another cluster."""


class Case(NamedTuple):
    """What else is known, and what is to be judged; see `Evidence`."""

    journal: Sequence[Entry] | None = None
    alone: bool = True
    recording: Recording | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def gather(source: Source, clock: Clock, case: Case | None = None, *, recorder: Recorder | None = None) -> Evidence:
    """Read all of an installation, once; a recorder that runs is waited for until it has come as far.

    Raises:
        InputError: a topic is not there.
        BrokerUnavailableError: the brokers do not answer.
    """
    reader = Reader(source, clock, case or Case(), recorder=recorder)
    try:
        return reader.read(clock.now_ms())
    finally:
        reader.close()


class Reader:
    """Reads all of an installation, as often as it is asked to, and what is new only."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        case: Case,
        *,
        recorder: Recorder | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source = source
        self._case = case
        self._clock = clock
        self._recorder = recorder
        self._begun_ms = clock.now_ms()
        self._lags_ms: dict[str, int] = {}
        recording = case.recording if recorder is None else recorder.recording()
        known = None if recording is None else recording.records
        self._home = Gathering(source.conf, clock, known=known, progress=progress)
        self._away = self._home
        if source.target_conf is not None:
            self._away = Gathering(source.target_conf, clock, known=known, progress=progress)

    def close(self) -> None:
        """End the connections."""
        self._home.close()
        if self._away is not self._home:
            self._away.close()

    def read(self, now_ms: int) -> Evidence:
        """Everything up to the ends as they are now; what was due by `now_ms` has to have ended.

        Raises:
            InputError: a topic is not there.
            BrokerUnavailableError: the brokers do not answer.
        """
        source, case, home, away = self._source, self._case, self._home, self._away
        since_ms = None if case.since_ms is None else case.since_ms - EARLY_MS
        # schedules first: what has ended there stands in the history and at the targets, read afterwards
        missing = home.read(source.schedules) | home.read([source.history], since_ms)
        if missing:
            raise InputError(f"the topic {min(missing)} does not exist; create it with: scheduler topics --create")
        recording = self._case.recording if self._recorder is None else self._recorder.recording()
        targets = self._targets(recording)
        gone = away.read(targets, since_ms)
        if source.dead_letters is not None:
            home.read([source.dead_letters], since_ms)
        recording = self._recording()
        self._lags_ms = home.lags_ms() | away.lags_ms()
        starts = home.starts() | away.starts()
        return Evidence(
            source.schedules,
            source.history,
            [record for topic in source.schedules for record in home.records[topic]],
            home.records[source.history],
            [record for topic in targets for record in away.records.get(topic, ())],
            now_ms,
            source.dead_letters,
            None if source.dead_letters is None else home.records.get(source.dead_letters),
            case.journal,
            alone=case.alone,
            recording=recording,
            hanging=home.hanging if away is home else [*home.hanging, *away.hanging],
            starts=starts,
            compacted=frozenset(self._lags_ms),
            whole_since=self._whole_since(recording, starts, now_ms),
            unread=gone,
            since_ms=case.since_ms,
            until_ms=case.until_ms,
            at_least_once=source.target_conf is not None,
        )

    def _targets(self, recording: Recording | None) -> list[str]:
        """Every topic that a schedule, the history or the recording names."""
        own = {*self._source.schedules, self._source.history, self._source.dead_letters}
        home = self._home.records
        named = {value for topic in (*self._source.schedules, self._source.history) for value in _named(home[topic])}
        named |= _named(self._case.journal or ())
        names = {value.decode("utf-8", "replace") for value in named} | set(self._source.targets)
        names |= {topic for topic, _ in recording.reached} if recording is not None else set()
        return sorted(name for name in names if name not in own and not name.startswith("__"))

    def _recording(self) -> Recording | None:
        if self._recorder is None:
            return self._case.recording
        ends = {**self._home.reached, **self._away.reached}
        read = set(self._recorder.topics)
        self._recorder.read_to({place: end for place, end in ends.items() if place[0] in read})
        return self._recorder.recording()

    def _whole_since(self, recording: Recording | None, starts: Offsets, now_ms: int) -> dict[str, int]:
        """Since when nothing is missing from topics that are compacted, or that have lost their beginning."""
        begun: dict[str, int] = {}
        first: dict[Partition, Record] = {}
        for record in () if recording is None else recording.records.values():
            received_ms = record.received_ms or now_ms
            begun[record.topic] = min(received_ms, begun.get(record.topic, received_ms))
            place = record.topic, record.partition
            if place not in first or record.offset < first[place].offset:
                first[place] = record
        since = {topic: begun.get(topic, self._begun_ms) - lag_ms for topic, lag_ms in self._lags_ms.items()}
        if self._case.since_ms is not None:
            read = {*self._home.records, *self._away.records} - set(self._source.schedules)
            since |= {topic: max(since.get(topic, 0), self._case.since_ms) for topic in read}
        records = self._away.records | self._home.records
        for (topic, partition), start in starts.items():
            recorded = first.get((topic, partition))
            if recorded is None or recorded.offset > start:
                stamps = [each.timestamp_ms for each in records[topic] if each.partition == partition]
                since[topic] = max(since.get(topic, 0), min(stamps, default=now_ms))
            elif recorded.offset > 0:
                since[topic] = max(since.get(topic, 0), recorded.timestamp_ms)
        return since


def _named(records: Iterable[Record | Entry]) -> set[bytes]:
    return {value for record in records for name, value in record.headers or () if name == TARGET_TOPIC and value}
