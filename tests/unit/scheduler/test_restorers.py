"""What is shared of a restore, and that an engine goes on in another process as it would have in its own."""

import pickle

import pytest

from scheduler.broker.restorer import PROTOCOL, Job, Restored
from scheduler.broker.restorers import share
from scheduler.engine.far import Versions
from scheduler.engine.partition import PartitionEngine
from scheduler.schedule import PAUSE_KEY

NOW_MS = 1_900_000_000_000
FAR = [("scheduler-epoch", b"1900009000"), ("scheduler-target-topic", b"target")]


def key(number):
    return "schedules", number


# ---------------------------------------------------------------- what is shared


@pytest.mark.parametrize("readers", [2, 3, 8])
def test_equal_partitions_are_shared_equally(readers):
    shares = share({key(number): 1000 for number in range(24)}, readers)

    assert [len(each) for each in shares] == [24 // readers] * (readers - 1)
    assert len({each for some in shares for each in some}) == 24 - 24 // readers


def test_one_partition_is_not_shared():
    assert share({key(0): 1_000_000}, 4) == []


def test_one_that_has_most_of_all_is_left_to_the_replica_and_the_rest_is_not():
    counts = {key(0): 10, key(1): 1_000, key(2): 20, key(3): 30}

    assert share(counts, 2) == [[key(3), key(2), key(0)]]


def test_unequal_partitions_are_shared_by_what_stands_in_them():
    counts = {key(0): 40, key(1): 50, key(2): 60, key(3): 70}

    assert share(counts, 2) == [[key(2), key(1)]]


def test_nobody_else_reads_nothing():
    assert share({key(number): 1000 for number in range(4)}, 1) == []


# ---------------------------------------------------------------- the way of an engine


def filled():
    """A restore that is not over, with something of everything."""
    engine = PartitionEngine()
    engine.horizon_ms = NOW_MS
    offset = 0

    def record(name, value=b"payload", headers=FAR):
        nonlocal offset
        engine.record(name, value, headers, timestamp_ms=NOW_MS, offset=offset)
        offset += 1

    def far(*names):
        nonlocal offset
        count = len(names)
        dues = [NOW_MS + 1000 * each for each in range(1, count + 1)]
        engine.far(Versions(list(names), dues, list(range(offset, offset + count)), [b"target"] * count))
        offset += count

    far(*(b"far-%d" % each for each in range(10_000)))
    record(b"near")
    record(b"daily", headers=[*FAR[1:], ("scheduler-cron", b"0 4 * * *"), ("scheduler-timezone", b"Europe/Riga")])
    record(b"shifted", headers=[*FAR[1:], ("scheduler-cron", b"0 4 * * *"), ("scheduler-shift", b"5s")])
    record(b"often", headers=[*FAR, ("scheduler-cron", b"@every 5s")])
    record(b"paused", headers=[*FAR, ("scheduler-paused", b"true")])
    record(b"malformed", headers=FAR[1:])
    record(b"far-3", None, [])
    record(b"unknown", None, [])
    far(b"far-4", b"far-5")
    record(b"far-6", None, [("scheduler-replaces", b"6")])
    record(b"far-7", headers=[*FAR, ("scheduler-replaces", b"7")])
    record(b"hidden")
    record(b"hidden", headers=[*FAR, ("scheduler-replaces", b"1")])
    record(b"often", headers=[*FAR, ("scheduler-cron", b"@every 5s"), ("scheduler-continues", b"true")])
    record(PAUSE_KEY)
    engine.unreadable(b"far-8", b"payload", timestamp_ms=NOW_MS, offset=offset)
    return engine, offset + 1


def passed_on(engine):
    return pickle.loads(pickle.dumps(Restored(Job("schedules", 0, 7, NOW_MS), 7, engine), PROTOCOL)).engine  # noqa: S301 - our own


def state(engine):
    """All that an engine that restores knows."""
    far = {name: engine.pending._far.get(name) for name in (b"far-%d" % each for each in range(10_000))}
    return (
        engine.state,
        engine.paused,
        engine.accepted,
        engine.horizon_ms,
        engine._end,
        engine.pending._near,
        engine.pending._bodies,
        far,
        engine.pending.far_by_target(),
        engine._unsaid.by_key,
        engine._cancels,
        engine._is_overtaken,
        vars(engine._wants),
    )


def test_an_engine_is_the_same_behind_a_pipe():
    engine, _ = filled()

    assert state(passed_on(engine)) == state(engine)


def test_it_goes_on_as_it_would_have():
    """Its records go on, its fence is put up, and it says and fires the same."""
    engine, end = filled()
    other = passed_on(engine)
    told = []
    for each in (engine, other):
        each.record(b"far-9", None, [], timestamp_ms=NOW_MS, offset=end)
        each.record(b"far-10", b"newer", FAR, timestamp_ms=NOW_MS, offset=end + 1)
        each.record(PAUSE_KEY, None, [], timestamp_ms=NOW_MS, offset=end + 2)
        each.fenced(end + 3)
        each.look_ahead(NOW_MS + 10_000_000, 5)
        told.append((each.take(NOW_MS + 9_000_000_000, 100), each.wanted(), state(each)))

    assert told[0] == told[1]
    assert told[0][0]
