"""Order within a job, turns between jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.lanes import Lanes


def lanes(*items: str) -> Lanes[str]:
    """Items named `<lane><number>`."""
    made: Lanes[str] = Lanes()
    for item in items:
        made.add(item[0], item)
    return made


def test_two_items_of_a_lane_are_never_out_at_once() -> None:
    waiting = lanes("a1", "a2")

    assert waiting.take() == "a1"
    assert waiting.take() is None
    waiting.release("a")
    assert waiting.take() == "a2"


def test_a_lane_with_many_items_takes_its_turn_like_the_others() -> None:
    waiting = lanes("a1", "a2", "a3", "b1")

    assert waiting.take() == "a1"
    waiting.release("a")
    assert waiting.take() == "b1"
    assert waiting.take() == "a2"


def test_what_is_removed_does_not_come_and_its_lane_stays_usable() -> None:
    waiting = lanes("a1", "b1")
    waiting.remove(lambda item: item == "a1")
    waiting.add("a", "a2")

    assert (waiting.take(), waiting.take(), waiting.take()) == ("b1", "a2", None)


def test_a_busy_lane_whose_items_are_removed_can_be_used_again() -> None:
    waiting = lanes("a1", "a2")
    waiting.take()
    waiting.remove(lambda _: True)
    waiting.release("a")
    waiting.add("a", "a3")

    assert waiting.take() == "a3"


def test_items_that_may_go_beside_each_other_do_and_the_others_go_alone() -> None:
    waiting: Lanes[str] = Lanes()
    for item, beside in (("a1", True), ("a2", True), ("a3", False), ("a4", True)):
        waiting.add("a", item, beside=beside)

    assert (waiting.take(), waiting.take(), waiting.take()) == ("a1", "a2", None)
    waiting.release("a")
    assert waiting.take() is None
    waiting.release("a")
    assert (waiting.take(), waiting.take()) == ("a3", None)
    waiting.release("a")
    assert waiting.take() == "a4"
    assert waiting.occupied("a")
    waiting.release("a")
    assert not waiting.occupied("a")


def test_a_lane_whose_items_go_side_by_side_still_takes_turns() -> None:
    waiting: Lanes[str] = Lanes()
    for item in ("a1", "a2", "a3"):
        waiting.add("a", item, beside=True)
    waiting.add("b", "b1")

    assert [waiting.take() for _ in range(4)] == ["a1", "b1", "a2", "a3"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_everything_added_is_taken_once_in_the_order_of_its_lane(steps: list[tuple[str, bool]]) -> None:
    waiting: Lanes[str] = Lanes()
    added: list[str] = []
    taken: list[str] = []
    out: list[str] = []
    for number, (lane, take) in enumerate(steps):
        added.append(f"{lane}{number:04}")
        waiting.add(lane, added[-1])
        if take and (item := waiting.take()) is not None:
            out.append(item)
        elif out:
            waiting.release(out[0][0])
            taken.append(out.pop(0))
    while len(waiting) or out:
        while (item := waiting.take()) is not None:
            out.append(item)
        assert len({item[0] for item in out}) == len(out)
        for item in out:
            waiting.release(item[0])
        taken += out
        out = []
    for lane in "abc":
        assert [i for i in taken if i[0] == lane] == [i for i in added if i[0] == lane]
