"""Updates and cancels that meet the firing, judged by offsets, while the broker compacts and replicas change."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.support.clients import Entry, StampedPut, write_by_timetable
from tests.support.records import Put
from tests.support.schedules import JAVA, SECONDS, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler.audit.recorder import Recorder
    from tests.support.records import Record
    from tests.support.schedules import Installation

LATER_MS = 3_600_000
COMPACTION_LAG_MS = 3000
COMPACTED = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    # what a crash between a firing and the rewriting of what it hid is covered for: 10 minutes, else
    "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
    "max.compaction.lag.ms": str(COMPACTION_LAG_MS),
}
PARTITIONERS = ("consistent_random", JAVA, "fnv1a_random")
AROUND_MS = 50
FAR = (1, 2)


def version(installation: Installation, key: bytes, number: int, due_ms: int, **stated: int) -> Put:
    """A version of a schedule that the judge can tell from the others."""
    name = b"%s/%d" % (key, number)
    return installation.schedule(key, b"of " + name, due_ms=due_ms, headers=[("version", name)], **stated)


def races(installation: Installation, start_ms: int, dice: random.Random) -> Iterator[Entry]:
    """Schedules that are due one after the other, and what their clients do within 50 ms of each due time.

    Some do it long before or long after, so that a slow machine sees both ends of a race as well.
    """
    for number in range(300):
        client = PARTITIONERS[number % len(PARTITIONERS)]
        kind = number % 5
        key = b"%s-%d" % ((b"update", b"cancel", b"anew", b"twice", b"update-and-cancel")[kind], number)
        due_ms = start_ms + 2000 + number * 12
        state = partial(version, installation, key)
        around = partial(dice.randint, -AROUND_MS, AROUND_MS)
        at_ms = due_ms + (dice.choice((-1500, 500)) if dice.random() < 0.2 else around())
        again_ms = due_ms + dice.choice((0, 100, 1000))
        yield Entry(start_ms + number, state(0, due_ms), client)
        if kind == 0:
            yield Entry(at_ms, state(1, again_ms), client)
        elif kind == 1:
            yield Entry(at_ms, installation.cancel(key), client)
        elif kind == 2:
            yield Entry(at_ms, installation.cancel(key), client)
            yield Entry(at_ms + dice.choice((0, 5)), state(1, again_ms), client)
        elif kind == 3:
            yield Entry(at_ms, state(0, due_ms), client)
        else:
            yield Entry(at_ms, state(1, again_ms), client)
            yield Entry(due_ms + around(), installation.cancel(key), client)


def storm(installation: Installation, due_ms: int) -> Iterator[Entry]:
    """Hundreds of updates of one schedule in the second in which it is due; now and then it is cancelled."""
    for number in range(400):
        at_ms = due_ms - 500 + number * 5 // 2
        yield Entry(at_ms, version(installation, b"storm", number, due_ms), JAVA)
        if number % 50 == 49:
            yield Entry(at_ms, installation.cancel(b"storm"), JAVA)


def test_races_with_the_firing_lose_and_double_nothing_while_the_log_is_compacted_and_replicas_change(
    install: Callable[..., Installation],
) -> None:
    """By clients whose partitioners differ; a second replica joins in the middle, then the first one leaves."""
    installation = install(partitions=2, config=COMPACTED)
    with (
        installation.recorder() as recorder,
        ThreadPoolExecutor(1) as clients,
        ExitStack() as replicas,
    ):
        first = replicas.enter_context(ExitStack())
        first.enter_context(installation.replica())
        start_ms = clock.now_ms() + 200
        entries = [*races(installation, start_ms, random.Random(4)), *storm(installation, start_ms + 3000)]
        # far from due: what becomes of them is up to compaction
        entries += [
            Entry(start_ms, version(installation, b"far-%d" % each, 0, start_ms + LATER_MS), JAVA) for each in FAR
        ]
        writing = clients.submit(write_by_timetable, installation.broker, entries)
        wait_until(lambda: clock.now_ms() > start_ms + 3000, "half of the races are over")
        second = replicas.enter_context(installation.replica(restored=False))
        wait_until(second.standings, "the second replica has a partition")
        first.close()
        written = writing.result(2 * SECONDS)
        installation.wait_until_restored(second)
        wait_until_pending(second, len(FAR))
        written += wait_until_compacted(installation, recorder)

        # who starts afresh, from what compaction has left, has nothing more to fire
        replicas.close()
        with installation.replica() as third:
            written += installation.write(
                *(version(installation, b"afterwards-%d" % each, 0, clock.now_ms(), partition=each) for each in (0, 1))
            )
            installation.fired(b"afterwards-0", b"afterwards-1")
            wait_until_pending(third, len(FAR))
        found = installation.judged(written, recorder)

    found.check()
    assert not found.unjudged
    assert found.messages > 200
    assert min(found.replaced, found.outcomes["cancelled"], found.too_late) > 0, f"no races to speak of: {found}"
    assert found.requested == 0


def wait_until_compacted(installation: Installation, recorder: Recorder) -> list[Record]:
    """Return once records are missing from the log that the recorder has seen; with what had to be written for it."""
    written: list[Record] = []

    def compacted() -> bool:
        # the newest segment is never compacted; a further record closes it
        closing = [installation.cancel(b"unknown", partition=each) for each in range(installation.partitions)]
        written.extend(installation.write(*closing))
        return recorder.count(installation.schedules) - len(installation.read(installation.schedules)) > 100

    wait_until(compacted, "the broker has compacted the schedules topic", 2 * SECONDS)
    return written


@pytest.mark.parametrize("recurs", [False, True], ids=["one-shot", "recurring"])
def test_a_crash_between_a_firing_and_the_rewriting_of_what_it_hid_loses_nothing(
    install: Callable[..., Installation], recurs: bool
) -> None:
    """The update is due, and stands before the tombstone or next occurrence of the old version; nobody runs.

    The broker compacts meanwhile, and leaves alone what is younger than the compaction lag.
    """
    installation = install(config={"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"})
    now_ms = clock.now_ms()
    stale = [installation.schedule(b"stale", b"%d" % each, due_ms=now_ms + LATER_MS) for each in range(20)]
    installation.write(
        *(StampedPut(put.topic, put.key, put.value, put.headers, timestamp_ms=now_ms - LATER_MS) for put in stale)
    )
    cron = "@every 1h" if recurs else None
    (old,) = installation.write(installation.schedule(b"a", b"old", due_ms=now_ms, cron=cron))
    (new,) = installation.write(installation.schedule(b"a", b"new", due_ms=now_ms + 1, cron=cron))
    if recurs:
        installation.write(
            installation.schedule(b"a", b"old", due_ms=now_ms + LATER_MS, cron=cron, replaces=old.offset)
        )
    else:
        installation.write(Put(installation.schedules, b"a", None, [("scheduler-replaces", b"%d" % old.offset)]))

    def compacted() -> bool:
        installation.write(installation.cancel(b"unknown"))
        return [each.key for each in installation.read(installation.schedules)].count(b"stale") < len(stale)

    wait_until(compacted, "the broker has compacted the schedules topic", 2 * SECONDS)
    for _ in range(2):
        with installation.replica() as replica:
            installation.fired(b"a")
            wait_until_pending(replica, 2 if recurs else 1)

    assert [message.value for message in installation.read(installation.target)] == [b"new"]
    told = installation.read(installation.history)
    assert [(record.value, record["scheduler-outcome"]) for record in told] == [(b"new", b"fired")]
    again = [each for each in installation.read(installation.schedules) if each.value == b"new" and each != new]
    assert again[0]["scheduler-replaces"] == b"%d" % new.offset
    if recurs:
        assert float(again[-1]["scheduler-epoch"] or b"") == (now_ms + 1 + LATER_MS) / 1000


def test_an_update_that_a_tombstone_hid_outlives_the_compaction_lag_once_a_replica_has_run(
    install: Callable[..., Installation],
) -> None:
    """Then only the tombstone and what was written again behind it are left."""
    installation = install(config={"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"})
    due_ms = clock.now_ms() + LATER_MS
    (old,) = installation.write(installation.schedule(b"a", b"old", due_ms=due_ms))
    (new,) = installation.write(installation.schedule(b"a", b"new", due_ms=due_ms))
    installation.write(Put(installation.schedules, b"a", None, [("scheduler-replaces", b"%d" % old.offset)]))
    with installation.replica():
        installation.wait_for(installation.schedules, 4, key=b"a")
    alter(installation, {"min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100"})

    def compacted() -> bool:
        installation.write(installation.cancel(b"unknown"))
        return new.offset not in [each.offset for each in installation.read(installation.schedules)]

    wait_until(compacted, "the broker has compacted the hidden version away", 2 * SECONDS)
    with installation.replica() as replica:
        (pending,) = replica.owners()[installation.schedules, 0].engine.pending

    assert (pending.value, pending.due_ms) == (b"new", due_ms)
    assert installation.read(installation.target) == []


def alter(installation: Installation, config: dict[str, str]) -> None:
    """Change settings of the schedules topic."""
    admin = AdminClient({"bootstrap.servers": installation.broker, "log_level": 0})
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    topic = ConfigResource(ConfigResource.Type.TOPIC, installation.schedules, incremental_configs=entries)
    admin.incremental_alter_configs([topic])[topic].result(SECONDS)


@pytest.mark.parametrize("ahead_ms", [-LATER_MS, LATER_MS // 2], ids=["in the past", "in the future"])
def test_records_stamped_by_a_wrong_clock_neither_end_a_restore_early_nor_fire_what_is_cancelled_behind_them(
    installation: Installation, ahead_ms: int
) -> None:
    """Which records a restore has to read is told by offsets; a client may stamp its records as it likes."""
    now_ms = clock.now_ms()

    def stamped(put: Put) -> StampedPut:
        return StampedPut(put.topic, put.key, put.value, put.headers, timestamp_ms=now_ms + ahead_ms)

    keys = [b"key-%d" % number for number in range(2000)]
    installation.write(*(stamped(installation.schedule(key, due_ms=now_ms)) for key in keys))
    installation.write(*(stamped(installation.cancel(key)) for key in keys[1:]))
    for _ in range(2):
        with installation.replica() as replica:
            installation.fired(keys[0])
            wait_until_pending(replica, 0)
            installation.wait_for(installation.history, len(keys))

    assert [message["scheduler-key"] for message in installation.read(installation.target)] == keys[:1]
    told = [record["scheduler-outcome"] for record in installation.read(installation.history)]
    assert (told.count(b"fired"), told.count(b"cancelled"), len(told)) == (1, len(keys) - 1, len(keys))
