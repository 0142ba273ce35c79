"""The index of the far versions says what a dictionary would, whatever comes, goes and collides."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scheduler.engine import far, far_targets, slots
from scheduler.engine.far import Far, FarIndex, Versions, pack, unpack
from scheduler.instants import LATEST_MS
from tests.support.far import versions

KEYS = st.sampled_from([b"", b"a", b"b", b"c" * 300, *(b"key-%d" % number for number in range(12))])
TIMES = st.integers(0, 9)
TARGETS = st.sampled_from(["orders", "emails", "calls"])


class AgainstADictionary(RuleBasedStateMachine):
    """Blocks of four, so that they fill, thin out and dissolve; checksums that tell few keys apart, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(far, "BLOCK", 4)
        self.patch.setattr(far, "_FEW", 2)
        self.patch.setattr(slots, "_SMALLEST", 8)
        self.patch.setattr(slots, "_STEPS_MASK", 3)
        self.found = FarIndex()
        self.there: dict[bytes, int] = {}
        self.targets: dict[bytes, str] = {}
        self.offset = 0

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(kinds=st.sampled_from([1, 3, 1 << 32]))
    def collide(self, kinds: int) -> None:
        self.patch.setattr(slots, "crc32", lambda key: (hash(key) % kinds << 6) & 0xFFFF_FFFF)

    @rule(versions=st.lists(st.tuples(KEYS, TIMES, TARGETS), min_size=1, max_size=12))
    def put(self, versions: list[tuple[bytes, int, str]]) -> None:
        first = self.offset
        self.offset += len(versions)
        given = Versions.none()
        for number, (key, due_ms, target) in enumerate(versions, first):
            given.add((key,), (due_ms,), (number,), (target.encode(),))
            self.there[key], self.targets[key] = pack(due_ms, number), target
        self.found.put(given)

    @rule()
    def go_on_from_what_is_kept(self) -> None:
        saved = self.found.copy().save()
        self.found = FarIndex.load(saved._replace(parts=[memoryview(b"".join(saved.parts))]))

    @rule(key=KEYS)
    def remove(self, key: bytes) -> None:
        assert self.found.remove(key) == self.there.pop(key, None)

    @rule(until_ms=TIMES, limit=st.integers(1, 5))
    def take(self, until_ms: int, limit: int) -> None:
        due = sorted((place, key) for key, place in self.there.items() if place < pack(until_ms + 1, 0))[:limit]

        assert self.found.take(until_ms, limit) == [(key, place) for place, key in due]
        for _, key in due:
            del self.there[key]

    @rule(count=st.integers(0, 30))
    def reserve(self, count: int) -> None:
        self.found.reserve(count)

    @rule(after=st.integers(-1, 9), offset=st.integers(0, 50), count=st.integers(1, 5))
    def page(self, after: int, offset: int, count: int) -> None:
        behind = -1 if after < 0 else pack(after, offset)

        assert self.found.page(behind, count) == sorted(p for p in self.there.values() if p > behind)[:count]

    @invariant()
    def the_same_are_there(self) -> None:
        assert len(self.found) == len(self.there)
        assert sorted(self.found) == sorted(self.there.values())
        assert self.found.by_target() == Counter(self.targets[key] for key in self.there)
        for key in [b"", b"a", b"c" * 300, b"key-0", b"key-11"]:
            assert self.found.get(key) == self.there.get(key)
        first = min(self.there.values(), default=None)
        assert self.found.first_due_ms() == (None if first is None else unpack(first).due_ms)
        assert self.found.due_until(4) == sum(place < pack(5, 0) for place in self.there.values())
        for key, place in list(self.there.items())[:2]:
            assert self.found.key_at(unpack(place).offset) == key


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_the_largest_due_time_and_offset_fit() -> None:
    found = FarIndex()
    found.put(versions([(b"k", LATEST_MS, 2**48 - 1)]))

    assert found.take(LATEST_MS, 1) == [(b"k", pack(LATEST_MS, 2**48 - 1))]
    assert unpack(pack(LATEST_MS, 2**48 - 1)) == Far(LATEST_MS, 2**48 - 1)


def test_nobody_can_make_a_key_be_taken_for_another() -> None:
    """These two have one CRC-32, as anybody can make who wants to."""
    found = FarIndex()
    found.put(versions([(b"plumless", 1, 0), (b"buckeroo", 2, 1)]))
    found.remove(b"plumless")

    assert (found.get(b"plumless"), found.get(b"buckeroo")) == (None, pack(2, 1))


def test_a_version_takes_some_fifty_bytes_and_those_of_its_key() -> None:
    found, count = FarIndex(), 50_000
    found.put(versions([(b"%032d" % number, number * 7919 % 3_600_000, number) for number in range(count)]))
    found.page(-1, 1)

    assert found.size / count < 32 + 60


def test_what_is_gone_takes_no_memory_before_long() -> None:
    found, count = FarIndex(), 50_000
    found.put(versions([(b"%032d" % number, number, number) for number in range(count)]))
    full = found.size
    for number in range(count):
        if number % 10:
            found.remove(b"%032d" % number)

    assert len(found) == count // 10
    assert found.size - found._slots.size < (full - found._slots.size) / 3
    assert found.page(-1, count) == [pack(number, number) for number in range(0, count, 10)]


def test_targets_beyond_those_that_can_be_told_apart_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_targets, "MOST", 3)
    found = FarIndex()
    for number, target in enumerate([b"orders", b"emails", b"calls", b"letters", b"orders"]):
        found.put(versions([(b"%d" % number, 1, number)], target))

    assert found.by_target() == {"orders": 2, "emails": 1, "": 2}


@pytest.mark.parametrize("names", [[], ["orders"], ["", "orders", "orders"], [""]])
def test_names_of_targets_that_do_not_fit_are_not_loaded(names: list[str]) -> None:
    found = FarIndex()
    found.put(versions([(b"k", 1, 0)], b"orders"))
    saved = found.save()
    saved.head["targets"] = names

    with pytest.raises(ValueError, match="target"):
        FarIndex.load(saved._replace(parts=[memoryview(b"".join(saved.parts))]))
