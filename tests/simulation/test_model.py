"""The model of Kafka does what the simulation relies on."""

from __future__ import annotations

import pytest

from tests.support.simulation.broker import (
    COMPACTION_LAG_MS,
    DELETE_RETENTION_MS,
    Coordinator,
    FencedError,
    InvalidStateError,
    Log,
    NotYetError,
    State,
    Transaction,
)

LATER_MS = COMPACTION_LAG_MS + 1


def keys(log: Log, **how: bool) -> list[bytes | None]:
    return [entry.key for entry in log.read(0, 100, **how)[0]]


def begun(coordinator: Coordinator, log: Log, key: bytes) -> tuple[int, Transaction]:
    epoch = coordinator.init()
    transaction = Transaction("owner")
    coordinator.begin(epoch, transaction)
    coordinator.produce(epoch, transaction, log, key, b"", [], 0)
    return epoch, transaction


def test_nobody_reads_beyond_an_open_transaction_nor_before_its_marker_is_written():
    log, coordinator = Log("schedules"), Coordinator()
    epoch, _ = begun(coordinator, log, b"a")
    log.append(b"b", b"", [], 0)
    assert (keys(log), keys(log, uncommitted=True)) == ([], [b"a", b"b"])

    coordinator.end(epoch, State.COMMITTED)
    assert keys(log) == []
    coordinator.write_marker(0)
    assert (keys(log), log.last_stable_offset()) == ([b"a", b"b"], 3)


def test_who_is_fenced_can_do_nothing_and_its_transaction_is_aborted():
    log, coordinator = Log("schedules"), Coordinator()
    epoch, transaction = begun(coordinator, log, b"a")
    with pytest.raises(NotYetError):
        coordinator.init()
    coordinator.write_marker(0)
    coordinator.init()

    with pytest.raises(FencedError):
        coordinator.produce(epoch, transaction, log, b"b", b"", [], 0)
    with pytest.raises(FencedError):
        coordinator.end(epoch, State.COMMITTED)
    assert keys(log) == []


def test_a_late_end_decides_a_later_transaction_of_the_same_epoch():
    log, coordinator = Log("schedules"), Coordinator()
    epoch, _ = begun(coordinator, log, b"a")
    coordinator.end(epoch, State.ABORTED)
    torn = Transaction("owner")
    coordinator.begin(epoch, torn)
    coordinator.produce(epoch, torn, log, b"b", b"", [], 0)
    coordinator.end(epoch, State.COMMITTED)  # the first one's

    with pytest.raises(InvalidStateError):
        coordinator.produce(epoch, torn, log, b"c", b"", [], 0)
    coordinator.write_marker(0)
    assert keys(log) == [b"b"]


def test_the_cleaner_leaves_the_newest_record_of_each_key_and_what_is_young():
    log = Log("schedules")
    for key, value, at_ms in ((b"a", b"1", 0), (b"b", b"1", 0), (b"a", b"2", 0), (b"a", b"3", LATER_MS)):
        log.append(key, value, [], at_ms)
    removed = log.compact(LATER_MS, log.end, (), lambda _: True)

    assert removed == 1
    assert [(entry.key, entry.value) for entry in log.entries] == [(b"b", b"1"), (b"a", b"2"), (b"a", b"3")]


def test_a_tombstone_stays_for_its_time_and_until_readers_have_come_by():
    log = Log("schedules")
    log.append(b"a", b"", [], 0)
    log.append(b"a", None, [], 0)
    read_by = [False]

    def clean(now_ms: int) -> int:
        log.compact(now_ms, log.end, (), lambda _: read_by[0])
        return len(log.entries)

    assert clean(LATER_MS) == 1
    assert clean(LATER_MS + DELETE_RETENTION_MS) == 1
    read_by[0] = True
    assert clean(LATER_MS + DELETE_RETENTION_MS) == 0
