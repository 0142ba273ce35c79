"""The judge of races sees each fault in a log that is otherwise sound, and none where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.records import Header, Record
from tests.support.replay import Evidence, Verdict, gone, judge

DUE_MS = 1_900_000_000_250
NEXT_MS = DUE_MS + 1000
FAR_MS = DUE_MS + 3_600_000
KEY = b"a"


def schedule(offset: int, version: bytes, due_ms: int = DUE_MS, *, replaces: int | None = None) -> Record:
    headers: list[Header] = [("version", version), ("scheduler-epoch", b"%d.%03d" % divmod(due_ms, 1000))]
    if replaces is not None:
        headers.append(("scheduler-replaces", b"%d" % replaces))
    return Record("schedules", 0, offset, DUE_MS - 1000, KEY, b"payload of " + version, headers)


def cancel(offset: int) -> Record:
    return Record("schedules", 0, offset, DUE_MS - 1000, KEY, None, [])


def tombstone(offset: int, replaces: int, outcome: bytes = b"fired") -> Record:
    headers: list[Header] = [("scheduler-replaces", b"%d" % replaces), ("scheduler-outcome", outcome)]
    return Record("schedules", 0, offset, DUE_MS, KEY, None, headers)


def message(version: bytes, due_ms: int = DUE_MS, *, outcome: bytes | None = None) -> Record:
    headers: list[Header] = [
        ("version", version),
        ("scheduler-key", KEY),
        ("scheduler-fire-id", b"a@%d" % due_ms),
    ]
    if outcome is not None:
        headers.append(("scheduler-outcome", outcome))
    return Record("target", 0, 0, due_ms + 3, KEY, b"payload of " + version, headers)


def verdict(log: list[Record], fired: list[Record], cancelled: list[Record] | None = None) -> Verdict:
    """What was fired is in the history as such."""
    return judge(evidence(log, fired, cancelled))


def evidence(log: list[Record], fired: list[Record], cancelled: list[Record] | None = None) -> Evidence:
    history = [replace(each, headers=[*each.headers, ("scheduler-outcome", b"fired")]) for each in fired]
    written = [each for each in log if each["scheduler-replaces"] is None]
    return Evidence(written, log, fired, [*history, *(cancelled or [])], NEXT_MS + 500)


CANCELLED = [message(b"old", outcome=b"cancelled")]
SOUND = {
    "fires": ([schedule(0, b"old"), tombstone(1, 0)], [message(b"old")], []),
    "is replaced": ([schedule(0, b"old"), schedule(1, b"new"), tombstone(2, 1)], [message(b"new")], []),
    "is cancelled": ([schedule(0, b"old"), cancel(1), tombstone(2, 1, b"cancelled")], [], CANCELLED),
    "is cancelled twice": ([schedule(0, b"old"), cancel(1), cancel(2), tombstone(3, 2, b"cancelled")], [], CANCELLED),
    "the cancel comes too late": ([schedule(0, b"old"), cancel(1), tombstone(2, 0)], [message(b"old")], []),
    "the update comes too late": (
        [schedule(0, b"old"), schedule(1, b"new"), tombstone(2, 0), schedule(3, b"new", replaces=1), tombstone(4, 3)],
        [message(b"old"), message(b"new")],
        [],
    ),
    "is cancelled and stated anew": (
        [schedule(0, b"old"), cancel(1), schedule(2, b"new"), schedule(3, b"new", replaces=2), tombstone(4, 3)],
        [message(b"new")],
        CANCELLED,
    ),
    "is written twice by a client that retries": (
        [schedule(0, b"old"), tombstone(1, 0), schedule(2, b"old"), tombstone(3, 2)],
        [message(b"old"), message(b"old")],
        [],
    ),
    "is not due yet": ([schedule(0, b"old", FAR_MS)], [], []),
    "recurs": (
        [schedule(0, b"old"), schedule(1, b"old", NEXT_MS, replaces=0), schedule(2, b"old", FAR_MS, replaces=1)],
        [message(b"old"), message(b"old", NEXT_MS)],
        [],
    ),
    "what was missed became one": (
        [schedule(0, b"old"), schedule(1, b"old", FAR_MS, replaces=0)],
        [message(b"old", NEXT_MS)],
        [],
    ),
    "recurs and is cancelled behind a firing": (
        [
            schedule(0, b"old"),
            cancel(1),
            schedule(2, b"old", NEXT_MS, replaces=0),
            tombstone(3, 2, b"cancelled"),
        ],
        [message(b"old")],
        [message(b"old", NEXT_MS, outcome=b"cancelled")],
    ),
    "recurs, is changed and cancelled behind a firing": (
        [
            schedule(0, b"old"),
            schedule(1, b"new", FAR_MS),
            cancel(2),
            schedule(3, b"old", NEXT_MS, replaces=0),
            tombstone(4, 3, b"cancelled"),
        ],
        [message(b"old")],
        [message(b"new", FAR_MS, outcome=b"cancelled")],
    ),
    "recurs and is changed behind a firing": (
        [
            schedule(0, b"old"),
            schedule(1, b"new", FAR_MS),
            schedule(2, b"old", NEXT_MS, replaces=0),
            schedule(3, b"new", FAR_MS, replaces=1),
        ],
        [message(b"old")],
        [],
    ),
}


@pytest.mark.parametrize(("log", "fired", "cancelled"), SOUND.values(), ids=SOUND)
def test_a_sound_run_has_no_fault(log: list[Record], fired: list[Record], cancelled: list[Record]) -> None:
    found = verdict(log, fired, cancelled)

    assert found.faults == []
    assert (found.fired, found.cancelled) == (len(fired), len(cancelled))


@pytest.mark.parametrize(("log", "fired", "cancelled"), SOUND.values(), ids=SOUND)
def test_no_record_of_a_run_may_be_missing_or_be_there_twice(
    log: list[Record], fired: list[Record], cancelled: list[Record]
) -> None:
    """Each message of the target and each record of the history, taken away and doubled."""
    sound = evidence(log, fired, cancelled)
    for name in ("target", "history"):
        records = getattr(sound, name)
        for number in range(len(records)):
            fewer = [*records[:number], *records[number + 1 :]]
            assert judge(replace(sound, **{name: fewer})).faults
            assert judge(replace(sound, **{name: [*records, records[number]]})).faults


def test_the_two_ways_in_which_a_race_may_end_are_told_apart() -> None:
    late = verdict(*SOUND["the update comes too late"])
    in_time = verdict(*SOUND["is replaced"])

    assert (late.too_late, late.replaced) == (1, 0)
    assert (in_time.too_late, in_time.replaced) == (0, 1)


FAULTS = {
    "never fired": ([schedule(0, b"old")], [], "is lost"),
    "an update erased by the tombstone of the old version": (
        [schedule(0, b"old"), schedule(1, b"new"), tombstone(2, 0)],
        [message(b"old")],
        "is lost",
    ),
    "a later update hidden and not written again": (
        [schedule(0, b"old"), schedule(1, b"new", FAR_MS), tombstone(2, 0)],
        [message(b"old")],
        "not written again",
    ),
    "fired twice": (
        [schedule(0, b"old"), tombstone(1, 0), tombstone(2, 0)],
        [message(b"old")] * 2,
        "a second time",
    ),
    "a version written again and fired under both offsets": (
        [schedule(0, b"old"), schedule(1, b"old", replaces=0), tombstone(2, 1), tombstone(3, 0)],
        [message(b"old")] * 2,
        "a second time",
    ),
    "fired without an end": ([schedule(0, b"old", FAR_MS)], [message(b"old", FAR_MS)], "not in the log"),
    "ended without a firing": ([schedule(0, b"old"), tombstone(1, 0)], [], "not in the history"),
    "the tombstone of another partition's offset": (
        [schedule(0, b"old"), tombstone(3, 2)],
        [message(b"old")],
        "nothing of this key stands",
    ),
    "the old rule after a change": (
        [
            schedule(0, b"old"),
            schedule(1, b"new", FAR_MS),
            schedule(2, b"old", NEXT_MS, replaces=0),
            schedule(3, b"new", FAR_MS, replaces=1),
            schedule(4, b"old", FAR_MS, replaces=2),
        ],
        [message(b"old"), message(b"old", NEXT_MS)],
        "had been read",
    ),
    "an occurrence left out": (
        [schedule(0, b"old"), schedule(1, b"old", NEXT_MS, replaces=0), schedule(2, b"old", FAR_MS, replaces=1)],
        [message(b"old")],
        "nothing is told",
    ),
    "a version that nobody wrote": (
        [schedule(0, b"old"), schedule(1, b"other", FAR_MS, replaces=0)],
        [],
        "nobody stated",
    ),
}


@pytest.mark.parametrize(("log", "fired", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(log: list[Record], fired: list[Record], said: str) -> None:
    assert any(said in fault for fault in verdict(log, fired).faults), verdict(log, fired).faults


@pytest.mark.parametrize("ending", [tombstone(6, 0), schedule(6, b"old", FAR_MS, replaces=0)], ids=["once", "recurs"])
def test_a_firing_is_a_fault_once_the_owner_has_read_what_replaced_or_cancelled_it(ending: Record) -> None:
    """Another schedule of the partition that ended shows how far the owner had read by then."""
    witness = replace(schedule(2, b"witness"), key=b"w")
    fired = [message(b"old"), replace(message(b"witness"), headers=[*message(b"witness").headers])]
    fired[1].headers[1] = ("scheduler-key", b"w")
    log = [schedule(0, b"old"), cancel(1), witness, ending]
    before = [*log, replace(tombstone(7, 2), key=b"w")]
    after = [*log, replace(tombstone(5, 2), key=b"w")]
    cancelled = [message(b"old", FAR_MS, outcome=b"cancelled")] if ending.value is not None else []

    assert verdict(before, fired, cancelled).faults == []
    assert any("had been read" in fault for fault in verdict(after, fired, cancelled).faults)


def test_a_cancel_that_came_in_time_has_to_be_told_and_one_that_did_not_must_not() -> None:
    log, _, _ = SOUND["is cancelled"]
    late, fired, _ = SOUND["the cancel comes too late"]

    assert verdict(log, [], []).faults
    assert verdict(late, fired, CANCELLED).faults


def test_a_message_that_is_early_or_other_than_it_was_written_is_a_fault() -> None:
    log, (fired,), _ = SOUND["fires"]

    assert "early" in str(verdict(log, [replace(fired, timestamp_ms=DUE_MS - 1)]).faults)
    assert "otherwise" in str(verdict(log, [replace(fired, value=b"other")]).faults)


def test_a_record_that_no_client_has_written_is_a_fault() -> None:
    sound = evidence(*SOUND["is not due yet"])

    assert "no customer" in str(judge(replace(sound, written=[])).faults)


def test_what_compaction_has_removed_is_counted_by_offsets() -> None:
    log = [schedule(0, b"old"), schedule(1, b"new"), tombstone(2, 1)]

    assert gone(log, log[1:]) == 1
    assert gone(log, log) == 0
