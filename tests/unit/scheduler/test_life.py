"""A partition's life: what can follow what."""

from itertools import product

import pytest

from scheduler.engine.life import TRANSITIONS, Fact, ImpossibleTransitionError, State, after


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([Fact.CAUGHT_UP], State.RUNNING),
        ([Fact.CAUGHT_UP, Fact.UNCERTAIN], State.RECOVERING),
        ([Fact.CAUGHT_UP, Fact.UNCERTAIN, Fact.CAUGHT_UP], State.RUNNING),
        ([Fact.LOST], State.CLOSED),
        ([Fact.CAUGHT_UP, Fact.LOST], State.CLOSED),
        ([Fact.CAUGHT_UP, Fact.UNCERTAIN, Fact.LOST], State.CLOSED),
    ],
)
def test_a_life(facts, expected):
    state = State.RESTORING
    for fact in facts:
        state = after(state, fact)

    assert state is expected


@pytest.mark.parametrize("state", State)
def test_a_partition_can_be_lost_at_any_time_and_twice(state):
    """A partition may be revoked while its owner is being fenced."""
    assert after(state, Fact.LOST) is State.CLOSED


@pytest.mark.parametrize("fact", Fact)
def test_a_closed_partition_never_opens_again(fact):
    if fact is Fact.LOST:
        assert after(State.CLOSED, fact) is State.CLOSED
    else:
        with pytest.raises(ImpossibleTransitionError, match=f"{fact.value} while closed"):
            after(State.CLOSED, fact)


def test_only_catching_up_lets_a_partition_fire():
    assert {fact for (_, fact), state in TRANSITIONS.items() if state is State.RUNNING} == {Fact.CAUGHT_UP}


@pytest.mark.parametrize(("state", "fact"), sorted(set(product(State, Fact)) - TRANSITIONS.keys()))
def test_what_the_table_does_not_name_is_a_defect(state, fact):
    with pytest.raises(ImpossibleTransitionError, match=f"{fact.value} while {state.value}"):
        after(state, fact)
