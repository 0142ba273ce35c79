"""What an operator asks of a schedule in force: cancelled, fired now, paused, resumed, due at another time."""

import pytest

from scheduler import wire
from scheduler.engine.changes import Change, NotPendingError, Verb
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.pending import place
from scheduler.engine.settlement import Place, records
from scheduler.recurrence import parse_rule
from scheduler.schedule import PAUSE_KEY, Outcome

NOW = 1_800_000_000_000
HOUR = 3_600_000
PLACE = Place("schedules", 0, "history", "dead-letters")


class Partition:
    """A running engine over a log that it reads back as it is written."""

    def __init__(self):
        self.engine = PartitionEngine()
        self.end = 0
        self.now_ms = NOW
        self.history = []
        self.fired = []
        self.engine.fenced(0)
        self.engine.reached_end(0)

    def write(self, key, value, headers=()):
        self.engine.record(key, value, list(headers), timestamp_ms=self.now_ms, offset=self.end)
        self.end += 1
        return self.end - 1

    def schedule(self, key=b"k", *, in_ms=HOUR, cron=None, **stated):
        due_ms = None if cron else self.now_ms + in_ms
        return self.write(key, b"payload", wire.schedule_headers("orders", due_ms=due_ms, cron=cron, **stated))

    def ask(self, verb, key=b"k", **change):
        settlement = self.engine.change(key, Change(verb, **change), self.now_ms)
        if settlement is not None:
            self.commit([settlement])
        return settlement

    def commit(self, batch):
        outs = [out for settlement in batch for out in records(settlement, PLACE)]
        self.engine.committed(batch)
        for out in outs:
            if out.topic == PLACE.topic:
                self.write(out.key, out.value, out.headers)
            elif out.topic == PLACE.history_topic:
                self.history.append((dict(out.headers)[wire.OUTCOME].decode(), out.key))
            else:
                self.fired.append((out.key, dict(out.headers)[wire.EPOCH].decode()))

    def fire(self, after_ms=0):
        self.now_ms += after_ms
        batch = self.engine.take(self.now_ms, 100)
        if batch:
            self.commit(batch)
        return [(settlement.subject.key, settlement.outcome) for settlement in batch]

    def version(self, key=b"k"):
        return self.engine.pending.get(key)


@pytest.fixture
def partition():
    return Partition()


def test_a_cancelled_schedule_never_fires_and_is_in_the_history_once(partition):
    partition.schedule()

    assert partition.ask(Verb.CANCEL).outcome is Outcome.CANCELLED
    assert partition.fire(2 * HOUR) == []
    assert partition.history == [("cancelled", b"k")]


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.FIRE, Verb.PAUSE, Verb.RESUME])
def test_what_is_not_in_force_cannot_be_changed(partition, verb):
    partition.schedule()
    partition.fire(HOUR)

    with pytest.raises(NotPendingError):
        partition.ask(verb)


def test_a_schedule_that_is_fired_now_is_over(partition):
    partition.schedule(target_key=b"t")

    partition.ask(Verb.FIRE)

    assert partition.fired == [(b"t", str(NOW // 1000))]
    assert partition.fire(2 * HOUR) == []


def test_a_recurring_schedule_that_is_fired_now_goes_on_as_before(partition):
    partition.schedule(cron="@every 1h")
    due_ms = partition.version().due_ms

    partition.ask(Verb.FIRE)

    assert partition.version().due_ms == due_ms
    assert partition.fire(due_ms - NOW) == [(b"k", Outcome.FIRED)]
    assert len(partition.fired) == 2


def test_two_firings_in_one_millisecond_would_have_one_name_so_the_second_waits(partition):
    partition.schedule(cron="@every 1h")
    partition.ask(Verb.FIRE)

    assert partition.ask(Verb.FIRE) is None
    partition.now_ms += 1
    assert partition.ask(Verb.FIRE) is not None
    assert len(set(partition.fired)) == 2


def test_what_is_overdue_and_fired_now_keeps_the_name_of_its_occurrence(partition):
    """A paused partition holds it; otherwise it would have fired."""
    partition.schedule()
    partition.write(PAUSE_KEY, b"")
    partition.fire(2 * HOUR)

    partition.ask(Verb.FIRE)

    assert partition.fired == [(None, str((NOW + HOUR) // 1000))]


def test_a_paused_schedule_waits_however_late_and_fires_when_it_is_resumed(partition):
    partition.schedule()
    partition.ask(Verb.PAUSE)

    assert partition.engine.next_due_ms() is None
    assert partition.fire(2 * HOUR) == []
    partition.ask(Verb.RESUME)
    assert partition.fire() == [(b"k", Outcome.FIRED)]
    assert partition.fired == [(None, str((NOW + HOUR) // 1000))]


def test_a_recurring_schedule_leaves_out_what_passed_while_it_was_paused(partition):
    partition.schedule(cron="@every 1h")
    first_ms = partition.version().due_ms
    partition.ask(Verb.PAUSE)
    partition.now_ms = first_ms + 3 * HOUR + 5
    partition.ask(Verb.RESUME)

    assert partition.fire() == []
    assert partition.version().due_ms == first_ms + 4 * HOUR


def test_a_recurring_schedule_that_is_not_paused_loses_nothing_when_it_is_resumed(partition):
    """It is due, and about to fire: somebody who resumes it leaves out nothing."""
    partition.schedule(cron="@every 1h")
    first_ms = partition.version().due_ms
    partition.now_ms = first_ms + 5
    partition.ask(Verb.RESUME)

    assert partition.version().due_ms == first_ms
    assert partition.fire() == [(b"k", Outcome.FIRED)]


def test_a_pause_is_in_the_log_so_the_next_owner_keeps_it(partition):
    partition.schedule()
    partition.ask(Verb.PAUSE)
    version = partition.version()
    again = wire.decode(
        b"k", b"payload", wire.successor_headers(version, version.due_ms, 0), timestamp_ms=NOW, offset=9
    )

    assert again.paused


def test_another_due_time(partition):
    partition.schedule(headers=[("customer", b"1")], target_key=b"t")
    partition.ask(Verb.RESCHEDULE, due_ms=NOW + 5)

    assert partition.version().headers == [("customer", b"1")]
    assert partition.fire(5) == [(b"k", Outcome.FIRED)]
    assert partition.fired == [(b"t", "1800000000.005")]
    assert partition.fire(2 * HOUR) == []


def test_another_rule_begins_with_its_next_occurrence(partition):
    partition.schedule(cron="@every 1h")
    rule = parse_rule("0 12 * * *", "Europe/Riga")

    partition.ask(Verb.RESCHEDULE, rule=rule)

    assert partition.version().rule.text == "0 12 * * *"
    assert partition.version().rule.timezone == "Europe/Riga"
    assert partition.version().due_ms == rule.next_after(NOW, NOW)


def test_a_client_s_update_that_lands_meanwhile_stays_in_force(partition):
    """The change was made of a version that is no longer the newest."""
    partition.schedule()
    settlement = partition.engine.change(b"k", Change(Verb.RESCHEDULE, due_ms=NOW + 5), NOW)
    update = wire.schedule_headers("orders", due_ms=NOW + 7)
    partition.write(b"k", b"newer", update)
    partition.commit([settlement])

    assert partition.version().value == b"newer"


def test_a_change_waits_while_a_successor_is_not_read_back(partition):
    partition.schedule(cron="@every 1h")
    partition.now_ms += HOUR
    batch = partition.engine.take(partition.now_ms, 10)

    assert partition.engine.change(b"k", Change(Verb.CANCEL), partition.now_ms) is None
    partition.commit(batch)
    assert partition.ask(Verb.CANCEL).outcome is Outcome.CANCELLED


def test_a_change_whose_transaction_is_uncertain_leaves_the_schedule_as_the_log_has_it(partition):
    partition.schedule()
    settlement = partition.engine.change(b"k", Change(Verb.CANCEL), NOW)

    partition.engine.uncertain([settlement])
    partition.engine.fenced(partition.end)
    partition.engine.reached_end(partition.end)

    assert partition.fire(HOUR) == [(b"k", Outcome.FIRED)]


# ---------------------------------------------------------------- a target that is not there


def test_what_is_postponed_is_taken_again_later_and_once(partition):
    partition.schedule()
    partition.now_ms += HOUR
    (settlement,) = partition.engine.take(partition.now_ms, 10)

    partition.engine.postpone(settlement, partition.now_ms + 500)

    assert partition.engine.next_due_ms() == partition.now_ms + 500
    assert partition.fire(499) == []
    assert partition.fire(1) == [(b"k", Outcome.FIRED)]
    assert partition.fire(HOUR) == []


def test_what_is_postponed_can_be_replaced_cancelled_and_changed(partition):
    for key in (b"replaced", b"cancelled", b"moved"):
        partition.schedule(key, in_ms=0)
    for settlement in partition.engine.take(partition.now_ms, 10):
        partition.engine.postpone(settlement, partition.now_ms + 500)

    partition.schedule(b"replaced", in_ms=HOUR)
    partition.ask(Verb.CANCEL, b"cancelled")
    partition.ask(Verb.RESCHEDULE, b"moved", due_ms=partition.now_ms + 2 * HOUR)

    assert partition.fire(500) == []
    assert partition.fire(HOUR) == [(b"replaced", Outcome.FIRED)]
    assert partition.fire(HOUR) == [(b"moved", Outcome.FIRED)]


def test_what_is_postponed_and_fired_on_request_fires_once(partition):
    partition.schedule(in_ms=0)
    (settlement,) = partition.engine.take(partition.now_ms, 10)
    partition.engine.postpone(settlement, partition.now_ms + 500)
    asked = partition.engine.change(b"k", Change(Verb.FIRE), partition.now_ms)
    partition.engine.uncertain([asked])
    partition.engine.fenced(partition.end)
    partition.engine.reached_end(partition.end)

    assert partition.fire(500) == [(b"k", Outcome.FIRED)]
    assert partition.fire(HOUR) == []


@pytest.mark.parametrize("cron", [None, "@every 1h"])
@pytest.mark.parametrize(("verb", "outcome"), [(Verb.CANCEL, "cancelled"), (Verb.FIRE, "fired")])
def test_what_is_asked_of_a_postponed_schedule_when_it_is_tried_again_is_all_that_happens(
    partition, verb, outcome, cron
):
    partition.schedule(in_ms=0, cron=cron)
    partition.now_ms += HOUR
    (settlement,) = partition.engine.take(partition.now_ms, 100)
    partition.engine.postpone(settlement, partition.now_ms + 500)
    partition.now_ms += 500

    asked = partition.engine.change(b"k", Change(verb), partition.now_ms)
    partition.commit([asked, *partition.engine.take(partition.now_ms, 100)])  # as an owner does: one transaction

    assert partition.history == [(outcome, b"k")]


def test_a_request_in_doubt_leaves_a_postponed_schedule_where_it_was(partition):
    partition.schedule(in_ms=0)
    (settlement,) = partition.engine.take(partition.now_ms, 100)
    partition.engine.postpone(settlement, partition.now_ms + 500)
    asked = partition.engine.change(b"k", Change(Verb.CANCEL), partition.now_ms)
    partition.engine.uncertain([asked])
    partition.engine.reached_end(partition.end)
    partition.engine.fenced(partition.end)

    assert partition.fire(500) == [(b"k", Outcome.FIRED)]


def test_a_postponed_recurring_schedule_is_not_taken_for_written(partition):
    partition.schedule(cron="@every 1h")
    partition.now_ms += HOUR
    (settlement,) = partition.engine.take(partition.now_ms, 10)
    partition.engine.postpone(settlement, partition.now_ms + 500)

    assert partition.fire(500) == [(b"k", Outcome.FIRED)]


# ---------------------------------------------------------------- a whole partition


def test_a_paused_partition_fires_nothing_and_tells_what_is_cancelled(partition):
    partition.schedule(b"a")
    partition.schedule(b"b")
    partition.write(PAUSE_KEY, b"anything")
    partition.write(b"b", None)

    assert partition.fire(2 * HOUR) == [(b"b", Outcome.CANCELLED)]
    assert partition.engine.next_due_ms() is None
    partition.write(PAUSE_KEY, None)
    assert partition.fire() == [(b"a", Outcome.FIRED)]


def test_the_end_of_a_pause_is_no_tombstone_without_use(partition):
    partition.write(PAUSE_KEY, b"")

    assert not partition.engine.has_no_use_for_tombstone(PAUSE_KEY)


# ---------------------------------------------------------------- pages


def test_pages_are_in_order_of_due_time_and_leave_nothing_out(partition):
    for number in range(25):
        partition.schedule(b"%02d" % number, in_ms=HOUR - number)
    partition.schedule(b"paused", in_ms=1, paused=True)
    partition.schedule(b"waits", in_ms=0)
    (settlement,) = partition.engine.take(partition.now_ms, 1)
    partition.engine.postpone(settlement, partition.now_ms + HOUR)

    shown, after = [], -1
    while page := partition.engine.page(after, 4):
        shown += [version.key for version in page]
        after = place(page[-1])

    assert shown == [b"waits", *(b"%02d" % number for number in reversed(range(25))), b"paused"]
