"""Some of the worlds of `make simulate` are sound, and each defence that is taken away is missed."""

from __future__ import annotations

import pytest

from tests.support.simulation.explore import failure, found, shrunk, walk
from tests.support.simulation.mutations import MEDIANS, Mutation

SEEDS = 1000


def test_no_world_loses_doubles_or_fires_early():
    failed = [f"seed {seed}: {said}" for seed in range(SEEDS) if (said := failure(walk(seed))) is not None]

    assert failed == [], "make simulate SEED=... shows the course of one"


@pytest.mark.parametrize("mutation", Mutation, ids=lambda mutation: mutation.name.lower())
def test_the_judge_misses_each_defence(mutation):
    """Within twenty times the worlds that it usually takes; which ones is fixed, so this is no matter of luck."""
    most = 20 * (MEDIANS[mutation] + 5)

    assert found(mutation, 0, most) is not None, f"{most} worlds in which {mutation.value}, and nothing was noticed"


def test_a_seed_is_a_world():
    assert walk(7) == walk(7)
    assert walk(7) != walk(8)


def test_a_failing_walk_shrinks_to_what_it_takes():
    seed = (found(Mutation.BLIND_TOMBSTONE, 0, 100) or 0) - 1
    whole = walk(seed)
    fewer = shrunk(whole, Mutation.BLIND_TOMBSTONE)

    assert failure(fewer, Mutation.BLIND_TOMBSTONE) is not None
    assert failure(fewer) is None
    assert 0 < len(fewer.steps) < len(whole.steps) // 4
