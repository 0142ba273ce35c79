"""How far a partition is done: nothing is skipped, and nothing that is in the books is done again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import offsets
from worker.offsets import LONGEST_METADATA, SPAN, WINDOW, Position, Progress, corrected


def taken_in(*offsets: int, committed: Position | None = None) -> Progress:
    progress = Progress(committed)
    for offset in offsets:
        progress.take_in(offset)
    return progress


def test_the_prefix_ends_at_the_oldest_attempt_that_is_not_done() -> None:
    assert taken_in(0, 1, 2).position({0}) == Position(1)


def test_an_attempt_done_beyond_the_prefix_stands_in_the_metadata() -> None:
    assert taken_in(5, 6, 7, 9).position({6, 9}) == Position(5, "1;10;2")


@given(st.integers(1, 400), st.integers(1, 2**50), st.data())
def test_what_a_position_has_no_room_for_waits_until_it_has(count: int, gap: int, data: st.DataObject) -> None:
    log = [gap * number + number % 7 for number in range(count)]
    progress = taken_in(*log)
    left = set(data.draw(st.lists(st.sampled_from(log), unique=True)))
    while left:
        told = left if len(progress.position(left).metadata) <= LONGEST_METADATA else progress.tellable(left)
        assert len(progress.position(told).metadata) <= LONGEST_METADATA
        if not told:
            break  # more than can be told of is not done before the first of them
        progress.finish(told)
        left -= told
    open_before = [offset for offset in log if not progress.done(offset) and offset < min(left, default=0)]
    assert not left or len(open_before) > WINDOW


def test_an_owner_that_may_begin_attempts_says_so_and_takes_it_back() -> None:
    progress = taken_in(5, 6)
    progress.open = True
    progress.note(6, 1)

    begun = progress.position({5})
    progress.open = False
    left = progress.position({5, 6})

    assert begun == Position(6, "2;6;;0:1;open")
    assert Progress(begun).open
    assert left == Position(7)
    assert not Progress(left).open


def test_gaps_that_transactions_leave_between_offsets_hold_nothing_back() -> None:
    assert taken_in(0, 2, 4).position({0, 2, 4}) == Position(5)


def test_the_next_owner_does_what_is_open_and_nothing_else() -> None:
    progress = taken_in(committed=Position(5, "1;10;2"))

    assert [offset for offset in range(5, 12) if progress.take_in(offset)] == [5, 7, 10, 11]


def test_a_part_of_what_an_earlier_owner_left_open_can_be_committed_before_the_rest_was_read() -> None:
    progress = taken_in(5, committed=Position(5, "1;10;2"))

    assert progress.position({5}) == Position(7, "1;10;")


def test_what_retention_deleted_meanwhile_is_not_waited_for() -> None:
    progress = taken_in(30, committed=Position(5, "1;10;2"))

    assert progress.position({30}) == Position(31)


def test_a_message_that_comes_twice_is_one_attempt() -> None:
    progress = taken_in(3)

    assert not progress.take_in(3)
    assert progress.position({3}) == Position(4)
    progress.finish({3})
    assert not progress.take_in(3)


def test_metadata_of_another_program_counts_for_nothing() -> None:
    progress = taken_in(committed=Position(5, "set by hand"))

    assert progress.take_in(5)
    assert progress.take_in(6)


@settings(max_examples=300)
@given(st.data(), st.booleans())
def test_through_any_order_of_ends_and_any_number_of_owners_each_attempt_is_booked_once(
    data: st.DataObject, crowded: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if crowded:  # as if these were many
            patch.setattr(offsets, "WINDOW", 2)
            patch.setattr(offsets, "SPAN", 30)
        assert_each_is_booked_once(data)


def assert_each_is_booked_once(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=40))
    log = [sum(steps[: n + 1]) for n in range(len(steps))]  # offsets that hold a record; markers lie between
    committed: Position | None = None
    booked: list[int] = []
    for _ in range(data.draw(st.integers(1, 5))):
        progress = Progress(committed)
        start = 0 if committed is None else committed.offset
        arriving = [offset for offset in log if offset >= start]
        under_way = [o for o in arriving[: data.draw(st.integers(0, len(arriving)))] if progress.take_in(o)]
        for _ in range(data.draw(st.integers(0, 4))):
            some = data.draw(st.sets(st.sampled_from(under_way))) if under_way else set()
            if not some:
                continue
            committed = progress.position(some)
            progress.finish(some)
            booked += some
            under_way = [offset for offset in under_way if offset not in some]
    last = Progress(committed)
    left = [offset for offset in log if offset >= (committed.offset if committed else 0) and last.take_in(offset)]

    assert sorted(booked + left) == log


def test_metadata_of_a_full_window_with_the_widest_gaps_fits_into_a_commit() -> None:
    progress = Progress()
    log = [n * (2**62 // WINDOW) for n in range(WINDOW + 1)]
    for offset in log:
        progress.take_in(offset)

    assert len(progress.position({log[-1]}).metadata.encode()) <= 4096


def test_metadata_of_a_crowd_and_what_came_with_it_at_last_fits_into_a_commit_and_is_understood() -> None:
    crowd = range(2**62, 2**62 + SPAN, 2)
    last = [crowd[-1] + n * (2**62 // 65) for n in range(1, 66)]
    progress = taken_in(*crowd, *last)
    for offset in crowd[:1000]:
        progress.note(offset, 1)

    position = progress.position({*crowd[1:500:3], last[-1]})

    assert len(position.metadata.encode()) <= 4096
    following = Progress(position)
    assert [o for o in (*crowd, *last) if following.take_in(o)] == [
        offset for offset in (*crowd, *last[:-1]) if offset not in crowd[1:500:3]
    ]


def test_notes_of_a_crowd_are_known_to_the_next_owner() -> None:
    progress = taken_in(*range(1000))
    progress.note(0, 1)
    progress.note(7, 2)

    following = Progress(progress.position({999}))

    assert [following.begun(offset) for offset in (0, 1, 7)] == [1, 0, 2]
    assert not following.take_in(999)


@given(st.integers(0, 20), st.sets(st.integers(0, 40)))
def test_a_position_can_be_corrected_by_what_is_known_to_be_done(first: int, done: set[int]) -> None:
    progress = Progress(corrected(Position(first), done))

    assert [o for o in range(first, 42) if progress.take_in(o)] == [o for o in range(first, 42) if o not in done]


def test_what_was_committed_stays_done_when_a_position_is_corrected() -> None:
    progress = Progress(corrected(Position(5, "1;10;2"), {5, 12}))

    assert [o for o in range(5, 15) if progress.take_in(o)] == [7, 10, 11, 13, 14]


def test_what_was_begun_and_not_ended_is_known_to_the_next_owner() -> None:
    progress = taken_in(5, 6, 7)
    progress.note(5, 1)
    progress.note(7, 2)

    position = progress.position({6})

    assert position == Position(5, "2;7;;0:1,2:2")
    following = Progress(position)
    assert [following.begun(offset) for offset in (5, 6, 7, 8)] == [1, 0, 2, 0]
    assert [following.take_in(offset) for offset in (5, 6, 7)] == [True, False, True]


def test_the_note_of_what_ends_goes_with_it() -> None:
    progress = taken_in(5, 6)
    progress.note(5, 1)
    progress.note(6, 1)
    progress.finish({5})

    assert progress.position(()) == Position(6, "2;6;;0:1")
    progress.note(6, 0)
    assert progress.position(()) == Position(6)


def test_a_note_of_what_this_owner_has_not_read_yet_is_kept() -> None:
    progress = taken_in(5, committed=Position(5, "2;5;;0:1,3:2"))

    assert Progress(progress.position({5})).begun(8) == 2


def test_notes_that_do_not_fit_are_left_out() -> None:
    log = [number * 10**15 for number in range(WINDOW)]
    progress = taken_in(*log)
    for offset in log:
        progress.note(offset, 1)

    assert len(progress.position({log[-1] + 1}).metadata) < 4096
