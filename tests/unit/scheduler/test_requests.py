"""What other threads ask of a partition's owner is answered, whatever becomes of the owner."""

from concurrent.futures import Future

import pytest

from scheduler import wire
from scheduler.broker.requests import OutcomeUnknownError, PartitionGoneError, Requests, TargetWaitedForError
from scheduler.engine.changes import Change, NotPendingError, Verb
from scheduler.engine.partition import PartitionEngine
from scheduler.engine.settlement import Place, records, undeliverable
from scheduler.schedule import Outcome, Reason

NOW = 1_800_000_000_000
PLACE = Place("schedules", 0, "history", "dead-letters")


@pytest.fixture
def engine():
    found = PartitionEngine()
    for offset, key in enumerate((b"a", b"b")):
        headers = wire.schedule_headers("orders", due_ms=NOW + 1000)
        found.record(key, b"", headers, timestamp_ms=NOW, offset=offset)
    found.fenced(2)
    found.reached_end(2)
    return found


@pytest.fixture
def woken():
    return []


@pytest.fixture
def requests(woken):
    return Requests(lambda: woken.append(True))


def read_back(engine, batch, offset):
    for settlement in batch:
        for out in records(settlement, PLACE):
            if out.topic == PLACE.topic:
                engine.record(out.key, out.value, out.headers, timestamp_ms=NOW, offset=offset)


def test_a_question_is_answered_from_the_engine_and_wakes_its_owner(requests, engine, woken):
    answer = requests.ask(lambda asked: len(asked.pending))

    assert woken == [True]
    requests.answer(engine)
    assert answer.result(0) == 2


def test_a_question_that_fails_fails_for_who_asked_it(requests, engine):
    wrong, right = requests.ask(lambda asked: asked.nothing), requests.ask(lambda asked: asked.state)
    requests.answer(engine)

    with pytest.raises(AttributeError):
        wrong.result(0)
    assert right.done()


def test_a_change_is_done_when_its_transaction_is(requests, engine):
    answer = requests.change(b"a", Change(Verb.CANCEL))
    batch = requests.take(engine, NOW)

    assert not answer.done()
    engine.committed(batch)
    requests.committed(batch)
    assert answer.result(0).outcome is Outcome.CANCELLED


def test_a_rewritten_schedule_is_told_once_it_can_be_read(requests, engine):
    answer = requests.change(b"a", Change(Verb.PAUSE))
    batch = requests.take(engine, NOW)
    engine.committed(batch)
    requests.committed(batch)
    requests.answer(engine)

    assert not answer.done()
    read_back(engine, batch, 2)
    requests.answer(engine)
    assert answer.done()
    assert engine.pending.get(b"a").paused


def test_two_changes_of_one_schedule_are_made_one_after_the_other(requests, engine):
    first, second = (requests.change(b"a", Change(Verb.CANCEL)) for _ in range(2))
    batch = requests.take(engine, NOW)
    engine.committed(batch)
    requests.committed(batch)

    assert len(batch) == 1
    assert first.result(0).outcome is Outcome.CANCELLED
    assert requests.waiting
    assert requests.take(engine, NOW) == []
    with pytest.raises(NotPendingError):
        second.result(0)


def test_a_change_of_what_is_not_there_says_so(requests, engine):
    answer = requests.change(b"c", Change(Verb.CANCEL))

    assert requests.take(engine, NOW) == []
    with pytest.raises(NotPendingError):
        answer.result(0)


def test_who_fired_is_told_what_became_of_it(requests, engine):
    answer = requests.change(b"a", Change(Verb.FIRE))
    batch = [undeliverable(each, Reason.TOO_LARGE, "too large") for each in requests.take(engine, NOW)]
    engine.committed(batch)
    requests.committed(batch)

    assert answer.result(0).outcome is Outcome.UNDELIVERABLE


def test_who_fired_at_a_target_that_is_waited_for_is_told(requests, engine):
    answer = requests.change(b"a", Change(Verb.FIRE))
    for settlement in requests.take(engine, NOW):
        engine.postpone(settlement, NOW + 500)
    requests.committed([])

    with pytest.raises(TargetWaitedForError):
        answer.result(0)


def test_an_uncertain_transaction_is_told_as_such(requests, engine):
    answer = requests.change(b"a", Change(Verb.CANCEL))
    engine.uncertain(requests.take(engine, NOW))
    requests.uncertain("timed out")

    with pytest.raises(OutcomeUnknownError, match="timed out"):
        answer.result(0)


def test_a_change_that_comes_while_the_log_is_read_waits_for_its_end(requests):
    restoring = PartitionEngine()
    answer = requests.change(b"a", Change(Verb.CANCEL))

    assert requests.take(restoring, NOW) == []
    assert requests.waiting
    assert not answer.done()


def test_nobody_waits_for_an_owner_that_has_gone(requests, engine):
    asked, unsettled = requests.ask(len), requests.change(b"c", Change(Verb.CANCEL))
    requests.take(PartitionEngine(), NOW)
    settling = requests.change(b"a", Change(Verb.CANCEL))
    requests.take(engine, NOW)
    requests.close()
    late = requests.ask(len)

    for answer in (asked, late):
        with pytest.raises(PartitionGoneError):
            answer.result(0)
    with pytest.raises(OutcomeUnknownError):  # its transaction is under way
        settling.result(0)
    with pytest.raises((PartitionGoneError, NotPendingError)):
        unsettled.result(0)


def test_a_change_that_is_committed_has_taken_effect_whoever_reads_it(requests, engine):
    """Told that the partition is gone, a client would ask again, and a recurring schedule would fire twice."""
    answer = requests.change(b"a", Change(Verb.PAUSE))
    batch = requests.take(engine, NOW)
    engine.committed(batch)
    requests.committed(batch)
    requests.close()

    assert answer.result(0).successor.paused


def test_who_has_given_up_waiting_is_not_answered(requests, engine):
    question, change = requests.ask(len), requests.change(b"a", Change(Verb.CANCEL))
    assert isinstance(question, Future)
    question.cancel()
    change.cancel()

    requests.answer(engine)
    assert requests.take(engine, NOW) == []
