"""What is kept of a partition is what a restore finds: after a detour through bytes, everything goes on as it would."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.broker.cluster import Extent, Identity
from scheduler.broker.snapshots import About, SnapshotError
from scheduler.engine.kept import KeptError, from_bytes, read_about, to_bytes
from scheduler.engine.life import State
from scheduler.engine.partition import PartitionEngine
from scheduler.schedule import PAUSE_KEY, Header, Schedule
from tests.support.far import versions

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def headers(due_ms: int, **more: str) -> list[Header]:
    said = {"epoch": f"{due_ms // 1000}.{due_ms % 1000:03}", "target-topic": "orders", **more}
    own = [(f"scheduler-{name.replace('_', '-')}", text.encode()) for name, text in said.items()]
    return [("trace", b"\xff"), ("trace", None), *own]


def running() -> PartitionEngine:
    found = PartitionEngine()
    found.horizon_ms = NOW_MS + 60_000
    found.fenced(0)
    found.reached_end(0)
    return found


def again(engine: PartitionEngine, read_to: int) -> PartitionEngine:
    """The same from what was kept of it."""
    kept = engine.kept(read_to)
    assert kept is not None
    data = memoryview(b"".join(to_bytes(kept, {"of": "a test"})))
    assert read_about(data)["of"] == "a test"
    other = PartitionEngine()
    other.horizon_ms = NOW_MS
    other.resume(from_bytes(data))
    assert other.state is State.RESTORING, "nothing fires before a fence is up"
    other.fenced(read_to)
    return other


def in_force(engine: PartitionEngine) -> list[object]:
    return [(type(each), each.due_ms, each.offset) for each in engine.page(-1, 10_000)]


KINDS = st.sampled_from(
    [
        {},
        {"cron": "0 4 * * *", "timezone": "Europe/Riga", "misfire": "skip"},
        {"paused": "true"},
        {"replaces": "0", "cron": "* * * * *"},
        {"target_key": "k", "misfire_grace": "5s"},
    ]
)


def by_target(engine: PartitionEngine) -> Counter[str]:
    """How many are in force of each target."""
    return Counter(engine.pending.far_by_target()) + Counter(each.target_topic for each in engine.pending)


RECORDS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), KINDS), max_size=25)


@given(RECORDS)
def test_what_is_in_force_is_the_same_afterwards(records: list[tuple[int, int, dict[str, str]]]) -> None:
    engine = running()
    for offset, (key, hours, more) in enumerate(records):
        due_ms = NOW_MS + hours * HOUR_MS + offset
        if due_ms > engine.horizon_ms and not more:
            engine.far(versions([(b"%d" % key, due_ms, offset)], b"target-%d" % (key % 2)))
        else:
            given = headers(due_ms, **more)
            engine.record(b"%d" % key, b"\x00payload", given, timestamp_ms=NOW_MS, offset=offset)
    if engine.kept(len(records)) is None:
        return  # an owner's record hides a newer version: that has to be said first
    other = again(engine, len(records))

    assert [each[1:] for each in in_force(other)] == [each[1:] for each in in_force(engine)]  # type: ignore[index]
    standing = {each.key: each for each in engine.pending if each.rule is not None or each.paused}
    assert {each.key: each for each in other.pending if each.rule is not None or each.paused} == standing
    assert by_target(other) == by_target(engine)
    for engines in (engine, other):
        engines.record(b"0", None, [], timestamp_ms=NOW_MS, offset=len(records))
    assert (b"0" in other.pending, len(other.pending)) == (b"0" in engine.pending, len(engine.pending))


def test_a_partition_that_was_paused_still_is() -> None:
    engine = running()
    engine.record(PAUSE_KEY, b"", [], timestamp_ms=NOW_MS, offset=0)

    assert again(engine, 1).paused


def test_what_is_near_is_wanted_again() -> None:
    engine = running()
    engine.record(b"near", b"payload", headers(NOW_MS + 1_000), timestamp_ms=NOW_MS, offset=0)
    other = again(engine, 1)

    assert other.next_due_ms() == NOW_MS + 1_000
    assert other.look_ahead(NOW_MS + 60_000, 10) == [0]


def test_nothing_is_kept_while_something_is_left_to_be_said_or_a_successor_to_be_read() -> None:
    engine = running()
    engine.record(b"k", b"", headers(NOW_MS, cron="0 4 * * *"), timestamp_ms=NOW_MS, offset=0)
    engine.record(b"bad", b"payload", [], timestamp_ms=NOW_MS, offset=1)
    assert engine.kept(2) is None, "a refusal is to be told"
    batch = engine.take(NOW_MS, 10)
    assert engine.kept(2) is None
    engine.committed(batch)
    assert engine.kept(2) is None, "what stands before the next occurrence is not known"
    successor = headers(NOW_MS + HOUR_MS, cron="0 4 * * *", replaces="0")
    engine.record(b"k", b"", successor, timestamp_ms=NOW_MS, offset=2)

    assert engine.kept(3) is not None


@pytest.mark.parametrize("between", ["nothing", "cancel", "update"])
def test_a_tombstone_that_is_not_read_back_comes_to_the_same(between: str) -> None:
    engine = running()
    engine.record(b"k", b"payload", headers(NOW_MS), timestamp_ms=NOW_MS, offset=0)
    engine.committed(engine.take(NOW_MS, 10))
    other = again(engine, 1)
    from_the_log = PartitionEngine()
    from_the_log.record(b"k", b"payload", headers(NOW_MS), timestamp_ms=NOW_MS, offset=0)
    for each in (other, from_the_log):
        each.uncertain(()) if each is other else None
        if between == "cancel":
            each.record(b"k", None, [], timestamp_ms=NOW_MS, offset=1)
        if between == "update":
            each.record(b"k", b"newer", headers(NOW_MS + HOUR_MS), timestamp_ms=NOW_MS, offset=1)
        each.record(b"k", None, [("scheduler-replaces", b"0")], timestamp_ms=NOW_MS, offset=2)
        each.fenced(3)

    batches = [
        [(s.subject.key, s.outcome, s.replaces) for s in each.take(NOW_MS, 10)] for each in (other, from_the_log)
    ]
    assert batches[0] == batches[1]
    assert in_force(other) == in_force(from_the_log)


def test_what_is_kept_does_not_change_with_what_it_was_kept_of() -> None:
    engine = running()
    engine.far(versions([(b"%d" % number, NOW_MS + HOUR_MS + number, number) for number in range(5_000)]))
    kept = engine.kept(5_000)
    assert kept is not None
    for number in range(4_000):
        engine.record(b"%d" % number, None, [], timestamp_ms=NOW_MS, offset=5_000 + number)
    engine.far(versions([(b"4999", NOW_MS + 2 * HOUR_MS, 9_000), (b"new", NOW_MS + HOUR_MS, 9_001)]))

    data = memoryview(b"".join(to_bytes(kept, {})))
    assert sorted(from_bytes(data).far) == [(NOW_MS + HOUR_MS + number) << 48 | number for number in range(5_000)]


@pytest.mark.parametrize("cut", [3, 40, -1])
def test_what_is_cut_off_cannot_be_read(cut: int) -> None:
    engine = running()
    engine.far(versions([(b"k", NOW_MS + HOUR_MS, 0)]))
    kept = engine.kept(1)
    assert kept is not None
    data = memoryview(b"".join(to_bytes(kept, {})))

    with pytest.raises(KeptError):
        from_bytes(data[:cut])
    with pytest.raises(KeptError):
        from_bytes(memoryview(bytes(data) + b"x"))


def test_a_version_that_its_record_does_not_state_is_not_kept() -> None:
    engine = running()
    engine.record(b"k", b"", headers(NOW_MS + HOUR_MS, cron="* * * * *"), timestamp_ms=NOW_MS, offset=0)
    version = engine.pending.get(b"k")
    assert isinstance(version, Schedule)
    version.due_ms += 1
    kept = engine.kept(1)
    assert kept is not None

    with pytest.raises(KeptError, match="offset 0"):
        list(to_bytes(kept, {}))


LAG_MS = 600_000
TOPIC = Identity("schedules", "id-1", LAG_MS)
SOUND = About("schedules", "id-1", 3, NOW_MS, LAG_MS, 500)


@pytest.mark.parametrize(
    ("topic", "extent", "now_ms", "reason"),
    [
        (TOPIC, Extent(0, 500), NOW_MS + 1_000, None),
        (TOPIC, Extent(500, 900), NOW_MS + 480_000, None),
        (TOPIC, Extent(0, 500), NOW_MS - 30_000, None),
        (TOPIC, Extent(0, 499), NOW_MS, "ends at 500"),
        (TOPIC, Extent(501, 900), NOW_MS, "ends at 500"),
        (TOPIC, Extent(0, 500), NOW_MS + 480_001, "min.compaction.lag.ms"),
        (TOPIC._replace(compaction_lag_ms=60_000), Extent(0, 500), NOW_MS + 48_001, "good for 48 s"),
        (TOPIC._replace(compaction_lag_ms=HOUR_MS), Extent(0, 500), NOW_MS + 480_001, "good for 480 s"),
        (TOPIC, Extent(0, 500), NOW_MS - HOUR_MS, "future"),
        (TOPIC._replace(id="id-2"), Extent(0, 900), NOW_MS, "made anew"),
        (TOPIC._replace(name="other"), Extent(0, 900), NOW_MS, "it is of schedules/3"),
    ],
)
def test_a_snapshot_is_good_only_where_the_log_still_tells_all_that_came_since(
    topic: Identity, extent: Extent, now_ms: int, reason: str | None
) -> None:
    if reason is None:
        SOUND.check(3, topic, extent, now_ms)
        return
    with pytest.raises(SnapshotError, match=reason):
        SOUND.check(3, topic, extent, now_ms)


def test_an_owner_that_reads_what_another_one_writes_keeps_nothing() -> None:
    """It does not remember the cancel that the other had not read, and would have the schedule go on."""
    engine = running()
    engine.record(b"k", b"v", headers(NOW_MS + HOUR_MS, cron="0 4 * * *"), timestamp_ms=NOW_MS, offset=0)
    assert engine.kept(1) is not None
    engine.record(b"k", None, [], timestamp_ms=NOW_MS, offset=1)
    next_one = headers(NOW_MS + 2 * HOUR_MS, cron="0 4 * * *", replaces="0")
    engine.record(b"k", b"v", next_one, timestamp_ms=NOW_MS, offset=2)

    assert engine.kept(3) is None
