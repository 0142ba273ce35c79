"""What the engine of a partition makes of records that land between a firing and the record that it writes."""

import pytest

from scheduler import wire
from scheduler.engine.life import State
from scheduler.engine.partition import PartitionEngine
from scheduler.schedule import Outcome

KEY = b"a"
NOW_MS = 1_893_456_000_000


class Log:
    """Feeds an engine with one record after another."""

    def __init__(self):
        self.engine = PartitionEngine()
        self.end = 0

    def give(self, value, *, due_ms=NOW_MS, cron=None, replaces=None):
        headers = [] if value is None else wire.schedule_headers("target", due_ms=due_ms, cron=cron)
        if replaces is not None:
            headers.append((wire.REPLACES, b"%d" % replaces))
        self.engine.record(KEY, value, headers, timestamp_ms=NOW_MS, offset=self.end)
        self.end += 1

    def recurring(self, value, **stated):
        self.give(value, cron="@every 1h", **stated)

    def restored(self):
        self.engine.reached_end(self.end)
        self.engine.fenced(self.end)
        assert self.engine.state is State.RUNNING

    def cancelled(self):
        batch = self.engine.take(NOW_MS, 100)
        assert {settlement.outcome for settlement in batch} <= {Outcome.CANCELLED}
        return sorted(settlement.subject.value for settlement in batch)


BETWEEN = {
    "a cancel": ([None], [b"fires"]),
    "an update and a cancel": ([b"update", None], [b"update"]),
    "two updates and a cancel": ([b"first", b"second", None], [b"second"]),
    "a cancel, an update and a cancel": ([None, b"update", None], [b"fires", b"update"]),
    "an update, a cancel, an update and a cancel": ([b"first", None, b"second", None], [b"first", b"second"]),
    "two cancels": ([None, None], [b"fires"]),
}


@pytest.mark.parametrize(("between", "cancelled"), BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("read", ["before the commit", "behind the commit", "by a new owner"])
def test_of_what_is_cancelled_beside_a_firing_only_that_is_told_which_the_cancel_ended(between, cancelled, read):
    """What an update had replaced by then has changed, it did not end: it is not told to be cancelled."""
    log = Log()
    log.recurring(b"fires")
    batch = []
    if read != "by a new owner":
        log.restored()
        batch = log.engine.take(NOW_MS, 100)
        assert [settlement.outcome for settlement in batch] == [Outcome.FIRED]
    if read == "behind the commit":
        log.engine.committed(batch)
    for value in between:
        log.give(value, due_ms=NOW_MS + 1_000_000)
    if read == "before the commit":
        log.engine.committed(batch)
    log.recurring(b"fires", due_ms=NOW_MS + 3_600_000, replaces=0)
    if read == "by a new owner":
        log.restored()

    assert log.cancelled() == cancelled
    assert len(log.engine.pending) == 0


def test_a_restore_ends_with_a_record_behind_the_mark_for_want_of_an_end():
    """Whoever reads a topic that is written to all the time is never told that it stands at the end."""
    log = Log()
    log.give(b"below the mark", due_ms=NOW_MS + 1)
    log.engine.fenced(2)  # a marker stands at 1
    log.end = 2

    assert log.engine.state is State.RESTORING
    log.give(b"behind it", due_ms=NOW_MS + 2)
    assert log.engine.state is State.RUNNING
    assert log.engine.next_due_ms() == NOW_MS + 2


def test_a_record_without_readable_headers_ends_a_restore_as_well():
    engine = PartitionEngine()
    engine.fenced(1)
    engine.unreadable(KEY, b"x", timestamp_ms=NOW_MS, offset=0)

    assert engine.state is State.RUNNING


def test_a_partition_is_not_restored_up_to_what_is_no_offset():
    engine = PartitionEngine()
    with pytest.raises(ValueError, match="-1001 is no high watermark"):
        engine.fenced(-1001)
    assert engine.state is State.RESTORING
