"""What is pending: the version in force for each key, in the order in which they are due."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.engine.far import pack
from scheduler.engine.pending import Pending
from scheduler.instants import LATEST_MS
from scheduler.schedule import Schedule


def version(key=b"k", due_ms=1_000, offset=0):
    return Schedule(key, b"", due_ms, "orders", None, None, [], [], 0, offset)


def pending(*versions):
    """In order, as it is once restored."""
    found = Pending()
    for each in versions:
        found.put(each)
    found.sort()
    return found


def taken(found, now_ms):
    """All that is due, by key, in the order in which it comes."""
    keys = []
    while (schedule := found.take_due(now_ms)) is not None:
        keys.append(schedule.key)
    return keys


def test_nothing_is_pending_at_first():
    found = pending()

    assert (len(found), list(found), found.next_due_ms(), found.take_due(LATEST_MS)) == (0, [], None, None)


def test_what_is_due_first_comes_first_and_of_equals_what_was_written_first():
    found = pending(
        version(b"late", 3_000, 0), version(b"b", 1_000, 2), version(b"a", 1_000, 1), version(b"early", 500, 3)
    )

    assert taken(found, 3_000) == [b"early", b"a", b"b", b"late"]


def test_nothing_is_taken_before_it_is_due():
    found = pending(version(due_ms=1_000))

    assert found.next_due_ms() == 1_000
    assert found.take_due(999) is None
    assert found.take_due(1_000).key == b"k"


def test_a_restore_keeps_the_order_only_from_its_end_on():
    """Until it is sorted nothing is taken, whatever its due time."""
    found = Pending()
    found.put(version(due_ms=0))
    before = (found.next_due_ms(), found.take_due(LATEST_MS), found.overdue(LATEST_MS))
    found.sort()

    assert before == (None, None, 0)
    assert taken(found, 0) == [b"k"]


@pytest.mark.parametrize("sorted_first", [True, False])
def test_a_new_version_replaces_the_old_one(sorted_first):
    found = pending() if sorted_first else Pending()
    found.put(version(due_ms=1_000, offset=0))
    found.put(version(due_ms=9_000, offset=1))
    found.sort()

    assert (len(found), found.offset_of(b"k"), found.get(b"k").due_ms) == (1, 1, 9_000)
    assert found.take_due(8_999) is None
    assert taken(found, 9_000) == [b"k"]


def test_what_is_removed_does_not_fire():
    found = pending(version())

    assert found.remove(b"k") == version()
    assert (b"k" in found, found.get(b"k"), found.offset_of(b"k")) == (False, None, None)
    assert taken(found, LATEST_MS) == []


def test_removing_what_is_not_there_is_nothing():
    assert pending().remove(b"k") is None


def test_what_is_taken_stays_in_force_until_it_ends():
    """A transaction that fails has changed nothing."""
    found = pending(version())
    schedule = found.take_due(1_000)

    assert (b"k" in found, len(found), found.next_due_ms()) == (True, 1, None)
    found.end(schedule)
    assert (b"k" in found, len(found), list(found)) == (False, 0, [])


def test_what_is_given_back_is_due_again():
    found = pending(version())
    found.give_back(found.take_due(1_000))

    assert taken(found, 1_000) == [b"k"]


def test_a_version_that_was_replaced_while_it_was_taken_neither_comes_back_nor_ends_the_new_one():
    found = pending(version(offset=0))
    old = found.take_due(1_000)
    found.put(version(due_ms=2_000, offset=5))
    found.give_back(old)
    found.end(old)

    assert found.take_due(1_999) is None
    assert found.take_due(2_000).offset == 5


def test_a_version_that_was_cancelled_while_it_was_taken_does_not_come_back():
    found = pending(version())
    old = found.take_due(1_000)
    found.remove(b"k")
    found.give_back(old)
    found.end(old)

    assert taken(found, LATEST_MS) == []


def test_overdue_counts_what_is_due_and_not_taken():
    found = pending(version(b"a", 1_000, 0), version(b"b", 1_000, 1), version(b"c", 1_001, 2))

    assert [found.overdue(now) for now in (999, 1_000, 1_001)] == [0, 2, 3]
    found.take_due(1_000)
    assert found.overdue(1_001) == 2


def test_the_largest_due_time_and_offset_keep_their_order():
    """Both share one integer; neither may spill into the other."""
    last_offset = 2**48 - 1
    found = pending(version(b"z", LATEST_MS, last_offset), version(b"y", LATEST_MS - 1, last_offset - 1))

    assert pack(0, last_offset) < pack(1, 0)
    assert (found.offset_of(b"z"), found.next_due_ms()) == (last_offset, LATEST_MS - 1)
    assert taken(found, LATEST_MS) == [b"y", b"z"]


KEYS = st.sampled_from([b"a", b"b", b"c"])
TIMES = st.integers(0, 5)


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is put, removed, taken, ended and given back: the same as a plain dictionary would say."""

    def __init__(self):
        super().__init__()
        self.found = Pending()
        self.sorted = False
        self.in_force = {}
        self.out = []
        self.offset = 0

    @initialize(keys=st.lists(st.tuples(KEYS, TIMES), max_size=5))
    def restore(self, keys):
        for key, due_ms in keys:
            self.put(key, due_ms)

    @precondition(lambda self: not self.sorted)
    @rule()
    def sort(self):
        self.found.sort()
        self.sorted = True

    @rule(key=KEYS, due_ms=TIMES)
    def put(self, key, due_ms):
        self.offset += 1
        self.in_force[key] = version(key, due_ms, self.offset)
        self.found.put(self.in_force[key])

    @rule(key=KEYS)
    def remove(self, key):
        assert self.found.remove(key) == self.in_force.pop(key, None)

    @precondition(lambda self: self.sorted)
    @rule(now_ms=TIMES)
    def take(self, now_ms):
        due = [each for each in self._queued() if each.due_ms <= now_ms]
        assert self.found.overdue(now_ms) == len(due)
        schedule = self.found.take_due(now_ms)
        assert schedule == (due[0] if due else None)
        if schedule is not None:
            self.out.append(schedule)

    @precondition(lambda self: self.out)
    @rule(ends=st.booleans())
    def settle(self, ends):
        schedule = self.out.pop()
        if not ends:
            self.found.give_back(schedule)
            return
        self.found.end(schedule)
        if self.in_force.get(schedule.key) is schedule:
            del self.in_force[schedule.key]

    def _queued(self):
        waiting = [each for each in self.in_force.values() if each not in self.out]
        return sorted(waiting, key=lambda each: (each.due_ms, each.offset))

    @invariant()
    def the_same_versions_are_in_force(self):
        assert len(self.found) == len(self.in_force)
        assert {each.key: each for each in self.found} == self.in_force
        for key in (b"a", b"b", b"c"):
            version = self.in_force.get(key)
            assert (key in self.found) == (version is not None)
            assert self.found.get(key) == version
            assert self.found.offset_of(key) == (version.offset if version else None)

    @invariant()
    def the_same_one_is_next(self):
        queued = self._queued()
        assert self.found.next_due_ms() == (queued[0].due_ms if self.sorted and queued else None)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
