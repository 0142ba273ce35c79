"""A version that continues the one before it: whatever fires meanwhile, no occurrence is lost and none comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import wire
from scheduler.engine.changes import Change, Verb
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Place, records
from scheduler.schedule import Misfire, Outcome, Reason, Rejected

if TYPE_CHECKING:
    from scheduler.schedule import Header, Schedule

NOON = 1_893_499_200_000
SECOND = 1_000
PLACE = Place("schedules", 0, "history", "dead-letters")


class Partition:
    """A log and its owner; the owner's records are written when it fires and read when it reads."""

    def __init__(self) -> None:
        self.log: list[tuple[bytes | None, list[Header], int]] = []
        self.fired: list[int] = []
        self.owner = self.new_owner()

    def new_owner(self) -> PartitionEngine:
        engine = PartitionEngine()
        self.position = 0
        engine.fenced(len(self.log))
        self.owner = engine
        self.read()
        return engine

    def append(self, value: bytes | None, headers: list[Header], now_ms: int) -> None:
        self.log.append((value, headers, now_ms))

    def state(self, value: bytes, due_ms: int, now_ms: int, *, cron: str = "@every 1s", continues: bool = True) -> None:
        headers = wire.schedule_headers("t", due_ms=due_ms, cron=cron, misfire=Misfire.ALL)
        self.append(value, [*headers, (wire.CONTINUES, b"true")] if continues else headers, now_ms)

    def read(self, count: int = 1000) -> None:
        for offset in range(self.position, min(self.position + count, len(self.log))):
            value, headers, now_ms = self.log[offset]
            self.owner.record(b"k", value, headers, timestamp_ms=now_ms, offset=offset)
            self.position = offset + 1
        if self.position == len(self.log):
            self.owner.reached_end(self.position)

    def fire(self, now_ms: int) -> None:
        batch = self.owner.take(now_ms, 1)
        for settlement in batch:
            if settlement.outcome is Outcome.FIRED:
                self.fired.append(settlement.due_ms)
            for out in records(settlement, PLACE):
                if out.topic == PLACE.topic:
                    self.append(out.value, out.headers, now_ms)
        self.owner.committed(batch)

    def in_force(self) -> Schedule:
        (schedule,) = self.owner.pending
        return schedule


@pytest.mark.parametrize("read_before_the_firing", [True, False])
def test_what_fired_since_the_client_looked_does_not_fire_again(*, read_before_the_firing: bool) -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, continues=False)
    partition.read()
    if read_before_the_firing:  # the record stands before the successor in the log
        batch = partition.owner.take(NOON, 1)
        partition.state(b"new", NOON, NOON)
        for out in records(batch[0], PLACE):
            if out.topic == PLACE.topic:
                partition.append(out.value, out.headers, NOON)
        partition.owner.committed(batch)
    else:
        partition.fire(NOON)
        partition.state(b"new", NOON, NOON)
    partition.read()

    assert (partition.in_force().value, partition.in_force().due_ms) == (b"new", NOON + SECOND)
    partition.fire(NOON)  # what it goes on from may be compacted away: it is written again as it stands
    value, headers, _ = partition.log[-1]
    assert (value, dict(headers)[wire.EPOCH]) == (b"new", b"1893499201")
    assert wire.CONTINUES not in dict(headers)


def test_the_cleaner_may_take_away_what_it_goes_on_from_while_a_new_owner_reads() -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, continues=False)
    partition.read()
    partition.fire(NOON)
    partition.read()
    partition.state(b"new", NOON + SECOND, NOON)  # as its writer saw it: there is nothing to correct
    partition.read()
    partition.fire(NOON)

    reader = PartitionEngine()
    for offset in (0, 3):  # what stood between was hidden by the newest record, and is gone
        value, headers, now_ms = partition.log[offset]
        reader.record(b"k", value, headers, timestamp_ms=now_ms, offset=offset)
    (found,) = reader.pending
    assert (found.value, found.due_ms) == (b"new", NOON + SECOND)


def test_what_has_not_fired_yet_is_not_lost() -> None:
    """The scheduler was down for three periods, and the update comes first."""
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, continues=False)
    partition.state(b"new", NOON, NOON + 3 * SECOND)
    partition.read()

    assert (partition.in_force().value, partition.in_force().due_ms) == (b"new", NOON)


def test_another_shift_neither_repeats_an_occurrence_nor_loses_one() -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, cron="0 * * * *", continues=False)
    partition.read()
    partition.fire(NOON)
    shifted = wire.schedule_headers("t", due_ms=NOON + 90 * SECOND, cron="0 * * * *", shift_ms=90 * SECOND)
    partition.append(b"new", [*shifted, (wire.CONTINUES, b"true")], NOON + SECOND)
    partition.read()

    assert partition.in_force().due_ms == NOON + 3690 * SECOND  # not 12:01:30, when it was due at 12:00


def test_by_another_rule_it_is_due_as_it_says_but_not_again_at_an_instant_that_has_fired() -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, cron="0 * * * *", continues=False)
    partition.read()
    partition.fire(NOON + 5)
    partition.state(b"new", NOON, NOON + 20, cron="*/10 * * * *")
    partition.read()
    assert partition.in_force().due_ms == NOON + 600 * SECOND

    partition.state(b"newer", NOON + 60 * SECOND, NOON + 30, cron="* * * * *")
    partition.read()
    assert partition.in_force().due_ms == NOON + 60 * SECOND


def test_by_another_rule_an_instant_that_an_owner_has_only_written_again_is_not_lost() -> None:
    """The owner was down when it was due; a malformed update came before the change."""
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, cron="0 * * * *", continues=False)
    partition.append(b"bad", [(wire.EPOCH, b"soon")], NOON - SECOND)
    partition.read()
    batch = partition.owner.take(NOON + 60 * SECOND, 1)
    assert [settlement.outcome for settlement in batch] == [Outcome.REJECTED]
    for out in records(batch[0], PLACE):
        if out.topic == PLACE.topic:
            partition.append(out.value, out.headers, NOON + 60 * SECOND)
    partition.owner.committed(batch)
    partition.state(b"new", NOON, NOON + 60 * SECOND, cron="30 * * * *")
    partition.read()

    assert (partition.in_force().value, partition.in_force().due_ms) == (b"new", NOON)


@pytest.mark.parametrize("taken_over", [True, False])
def test_two_changes_of_the_rule_beside_one_firing_do_not_repeat_it(*, taken_over: bool) -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, cron="0 * * * *", continues=False)
    partition.read()
    batch = partition.owner.take(NOON, 1)
    partition.state(b"new", NOON, NOON, cron="*/10 * * * *")  # stands before the successor, which does not know of it
    for out in records(batch[0], PLACE):
        if out.topic == PLACE.topic:
            partition.append(out.value, out.headers, NOON)
    partition.owner.committed(batch)
    partition.state(b"newer", NOON, NOON, cron="*/15 * * * *")  # by a client that had not seen it fire
    if taken_over:
        partition.new_owner()
    partition.read()

    assert (partition.in_force().value, partition.in_force().due_ms) == (b"newer", NOON + 900 * SECOND)


@pytest.mark.parametrize("read", ["before the commit", "behind the commit", "by a new owner"])
def test_a_change_that_stands_before_the_tombstone_of_a_cancel_on_request_repeats_nothing(read: str) -> None:
    partition = Partition()
    partition.state(b"old", NOON, NOON - SECOND, continues=False)
    partition.read()
    partition.fire(NOON)
    partition.read()
    cancelled = partition.owner.change(b"k", Change(Verb.CANCEL), NOON)
    assert cancelled is not None
    partition.state(b"new", NOON, NOON)  # its writer has not seen it fire
    if read == "before the commit":
        partition.read()
    for out in records(cancelled, PLACE):
        if out.topic == PLACE.topic:
            partition.append(out.value, out.headers, NOON)
    if read == "by a new owner":
        partition.new_owner()
    else:
        partition.owner.committed([cancelled])
    partition.read()

    assert (partition.in_force().value, partition.in_force().due_ms) == (b"new", NOON + SECOND)


def test_a_pause_stays() -> None:
    partition = Partition()
    paused = wire.schedule_headers("t", due_ms=NOON, cron="@every 1s", paused=True)
    partition.append(b"old", paused, NOON - SECOND)
    partition.state(b"new", NOON, NOON - 1)
    partition.read()

    assert (partition.in_force().value, partition.in_force().paused) == (b"new", True)
    partition.fire(NOON)
    assert dict(partition.log[-1][1])[wire.PAUSED] == b"true"
    assert partition.fired == []


@pytest.mark.parametrize("read", ["before the commit", "behind the commit", "by a new owner"])
@pytest.mark.parametrize(("verb", "paused"), [(Verb.RESUME, False), (Verb.PAUSE, True), (Verb.CANCEL, True)])
def test_of_a_pause_it_has_what_an_operator_asked_for_who_did_not_know_of_it(
    read: str, verb: Verb, *, paused: bool
) -> None:
    """A cancel ended the version before it, which had been paused."""
    partition = Partition()
    partition.append(
        b"old", wire.schedule_headers("t", due_ms=NOON, cron="@every 1s", paused=verb is not Verb.PAUSE), NOON
    )
    partition.read()
    asked = partition.owner.change(b"k", Change(verb), NOON - 1)
    assert asked is not None
    partition.state(b"new", NOON, NOON - 1, cron="@every 2s")
    if read == "before the commit":
        partition.read()
    for out in records(asked, PLACE):
        if out.topic == PLACE.topic:
            partition.append(out.value, out.headers, NOON - 1)
    if read == "by a new owner":
        partition.new_owner()
    else:
        partition.owner.committed([asked])
    partition.read()

    assert (partition.in_force().value, partition.in_force().paused) == (b"new", paused)


def test_where_nothing_is_in_force_it_is_due_as_it_says() -> None:
    partition = Partition()
    partition.state(b"new", NOON, NOON - 1)
    partition.read()

    assert partition.in_force().due_ms == NOON


@given(st.lists(st.sampled_from(["look", "change", "fire", "read", "read one", "take over"]), max_size=40))
def test_every_occurrence_fires_once_however_often_it_is_changed(steps: list[str]) -> None:
    partition = Partition()
    partition.state(b"0", NOON, NOON - SECOND, continues=False)
    partition.read()
    seen_ms = NOON
    now_ms = NOON
    for number, step in enumerate(steps, 1):
        now_ms += 100
        match step:
            case "look":
                reader = PartitionEngine()
                for offset, (value, headers, at_ms) in enumerate(partition.log):
                    reader.record(b"k", value, headers, timestamp_ms=at_ms, offset=offset)
                (found,) = reader.pending
                seen_ms = found.due_ms
            case "change":
                partition.state(b"%d" % number, seen_ms, now_ms)
            case "fire":
                partition.fire(now_ms)
            case "read":
                partition.read()
            case "read one":
                partition.read(1)
            case _:
                partition.new_owner()
    now_ms += 10 * SECOND
    for _ in range(60):
        partition.read()
        partition.fire(now_ms)

    assert partition.fired == list(range(NOON, partition.fired[-1] + 1, SECOND))
    assert partition.fired[-1] + SECOND > now_ms


@pytest.mark.parametrize(
    "headers",
    [
        [(wire.EPOCH, b"1"), (wire.TARGET_TOPIC, b"t"), (wire.CONTINUES, b"true")],
        [(wire.CRON, b"@daily"), (wire.TARGET_TOPIC, b"t"), (wire.CONTINUES, b"true")],
        [(wire.CRON, b"@daily"), (wire.EPOCH, b"1"), (wire.TARGET_TOPIC, b"t"), (wire.CONTINUES, b"yes")],
    ],
)
def test_it_is_refused_without_a_rule_or_a_due_time(headers: list[Header]) -> None:
    refused = wire.decode(b"k", b"", headers, timestamp_ms=NOON)

    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.BAD_CONTINUES
    assert "scheduler-continues" in refused.detail
