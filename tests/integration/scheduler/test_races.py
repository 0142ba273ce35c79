"""Updates and cancels that meet the firing, judged by offsets, while the broker compacts and replicas change."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import Entry, LogReader, StampedPut, write_by_timetable
from tests.support.records import Put
from tests.support.replay import Evidence, Verdict, gone, judge
from tests.support.schedules import JAVA, SECONDS, clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.records import Record
    from tests.support.schedules import Installation

LATER_MS = 3_600_000
COMPACTION_LAG_MS = 2000
COMPACTED = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    # what a crash between a firing and the rewriting of what it hid is covered for: 10 minutes, else
    "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
    "max.compaction.lag.ms": str(COMPACTION_LAG_MS),
}
PARTITIONERS = ("consistent_random", JAVA, "fnv1a_random")
AROUND_MS = 50


def version(installation: Installation, key: bytes, number: int, due_ms: int, **stated: int) -> Put:
    """A version of a schedule that the judge can tell from the others."""
    name = b"%s/%d" % (key, number)
    return installation.schedule(key, b"of " + name, due_ms=due_ms, headers=[("version", name)], **stated)


def judged(installation: Installation, written: list[Record], log: list[Record]) -> Verdict:
    return judge(
        Evidence(
            written,
            log,
            installation.read(installation.target),
            installation.read(installation.history),
            clock.now_ms(),
        )
    )


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
    with LogReader(installation, installation.schedules) as reader, ExitStack() as replicas:
        first = ExitStack()
        replicas.enter_context(first)
        first.enter_context(installation.replica())
        start_ms = clock.now_ms() + 200
        entries = [
            *races(installation, start_ms, random.Random(4)),
            *storm(installation, start_ms + 3000),
            # far from due, so that what is said of them is about compaction alone
            *(Entry(start_ms, version(installation, b"far-%d" % each, 0, start_ms + LATER_MS), JAVA) for each in (1, 2)),
        ]
        middle_ms = start_ms + 3500
        written = write_by_timetable(installation.broker, [entry for entry in entries if entry.at_ms < middle_ms])
        second = replicas.enter_context(installation.replica(restored=False))
        written += write_by_timetable(installation.broker, [entry for entry in entries if entry.at_ms >= middle_ms])
        wait_until(lambda: second.standings(), "the second replica has a partition")
        first.close()
        installation.wait_until_restored(second)
        wait_until_pending(second, 2)
        written += wait_until_compacted(installation, reader)

    # who starts afresh, from what compaction has left, has nothing more to fire
    with installation.replica() as third:
        written += installation.write(
            *(version(installation, b"afterwards-%d" % each, 0, clock.now_ms(), partition=each) for each in (0, 1))
        )
        installation.fired(b"afterwards-0", b"afterwards-1")
        wait_until_pending(third, 2)

    found = judged(installation, written, reader.with_rest(installation.read(installation.schedules)))
    assert found.faults == []
    assert found.replaced and found.cancelled and found.too_late, f"no races to speak of: {found}"


def wait_until_compacted(installation: Installation, reader: LogReader) -> list[Record]:
    """Return once records are missing from the log that the reader has seen; with what had to be written for it."""
    written: list[Record] = []

    def compacted() -> bool:
        # the newest segment is never compacted; a further record closes it
        closing = [installation.cancel(b"unknown", partition=each) for each in range(installation.partitions)]
        written.extend(installation.write(*closing))
        return gone(reader.with_rest([]), installation.read(installation.schedules)) > 100

    wait_until(compacted, "the broker has compacted the schedules topic", 2 * SECONDS)
    return written
