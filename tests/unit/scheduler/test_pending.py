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
    while (schedule := first(found, now_ms)) is not None:
        keys.append(schedule.key)
    return keys


def first(found, now_ms):
    """The first one that is due, if one is."""
    return next(iter(found.take_due(now_ms, 1)), None)


def test_nothing_is_pending_at_first():
    found = pending()

    assert (len(found), list(found), found.next_due_ms(), first(found, LATEST_MS)) == (0, [], None, None)


def test_what_is_due_first_comes_first_and_of_equals_what_was_written_first():
    found = pending(
        version(b"late", 3_000, 0), version(b"b", 1_000, 2), version(b"a", 1_000, 1), version(b"early", 500, 3)
    )

    assert taken(found, 3_000) == [b"early", b"a", b"b", b"late"]


def test_nothing_is_taken_before_it_is_due():
    found = pending(version(due_ms=1_000))

    assert found.next_due_ms() == 1_000
    assert first(found, 999) is None
    assert first(found, 1_000).key == b"k"


def test_a_restore_keeps_the_order_only_from_its_end_on():
    """Until it is sorted nothing is taken, whatever its due time."""
    found = Pending()
    found.put(version(due_ms=0))
    before = (found.next_due_ms(), first(found, LATEST_MS), found.overdue(LATEST_MS))
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
    assert first(found, 8_999) is None
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
    schedule = first(found, 1_000)

    assert (b"k" in found, len(found), found.next_due_ms()) == (True, 1, None)
    found.end(schedule)
    assert (b"k" in found, len(found), list(found)) == (False, 0, [])


def test_what_is_given_back_is_due_again():
    found = pending(version())
    found.give_back(first(found, 1_000))

    assert taken(found, 1_000) == [b"k"]


@pytest.mark.parametrize("end", [Pending.end, Pending.end_taken])
def test_a_version_that_was_replaced_while_it_was_taken_neither_comes_back_nor_ends_the_new_one(end):
    found = pending(version(offset=0))
    old = first(found, 1_000)
    found.put(version(due_ms=2_000, offset=5))
    found.give_back(old)
    end(found, old)

    assert first(found, 1_999) is None
    assert first(found, 2_000).offset == 5


def test_a_version_that_was_cancelled_while_it_was_taken_does_not_come_back():
    found = pending(version())
    old = first(found, 1_000)
    found.remove(b"k")
    found.give_back(old)
    found.end(old)

    assert taken(found, LATEST_MS) == []


def test_overdue_counts_what_is_due_and_not_taken():
    found = pending(version(b"a", 1_000, 0), version(b"b", 1_000, 1), version(b"c", 1_001, 2))

    assert [found.overdue(now) for now in (999, 1_000, 1_001)] == [0, 2, 3]
    first(found, 1_000)
    assert found.overdue(1_001) == 2


def test_the_largest_due_time_and_offset_keep_their_order():
    """Both share one integer; neither may spill into the other."""
    last_offset = 2**48 - 1
    found = pending(version(b"z", LATEST_MS, last_offset), version(b"y", LATEST_MS - 1, last_offset - 1))

    assert pack(0, last_offset) < pack(1, 0)
    assert (found.offset_of(b"z"), found.next_due_ms()) == (last_offset, LATEST_MS - 1)
    assert taken(found, LATEST_MS) == [b"y", b"z"]


@pytest.mark.parametrize("limit", [1, 3, 20, 39, 40, 50])
def test_as_many_are_taken_as_are_asked_for(limit):
    """A few of many leave the queue in another way than most of them."""
    found = pending(*(version(b"%d" % number, 1_000 + number // 2, number) for number in range(40)))

    now = [schedule.offset for schedule in found.take_due(1_014, limit)]

    assert now == list(range(min(limit, 30)))
    assert [schedule.offset for schedule in found.take_due(1_014, 50)] == list(range(len(now), 30))
    assert [schedule.offset for schedule in found.take_due(LATEST_MS, 50)] == list(range(30, 40))


NAMES = [b"%c" % letter for letter in b"abcd"]
KEYS = st.sampled_from(NAMES)
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
    @rule(now_ms=TIMES, limit=st.integers(1, 4))
    def take(self, now_ms, limit):
        due = [each for each in self._queued() if each.due_ms <= now_ms]
        assert self.found.overdue(now_ms) == len(due)
        taken = self.found.take_due(now_ms, limit)
        assert taken == due[:limit]
        self.out += taken

    @precondition(lambda self: self.out)
    @rule(ends=st.sampled_from([Pending.end, Pending.end_taken, None]))
    def settle(self, ends):
        schedule = self.out.pop()
        if ends is None:
            self.found.give_back(schedule)
            return
        ends(self.found, schedule)
        if self.in_force.get(schedule.key) is schedule:
            del self.in_force[schedule.key]

    def _queued(self):
        waiting = [each for each in self.in_force.values() if each not in self.out]
        return sorted(waiting, key=lambda each: (each.due_ms, each.offset))

    @invariant()
    def the_same_versions_are_in_force(self):
        assert len(self.found) == len(self.in_force)
        assert {each.key: each for each in self.found} == self.in_force
        for key in NAMES:
            assert self.found.has_none_of([key]) == (key not in self.in_force)
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
