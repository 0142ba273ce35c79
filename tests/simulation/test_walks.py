"""Thousands of random worlds are sound, and the judge sees every defence that is taken away."""

from __future__ import annotations

import pytest

from tests.support.explore import walk
from tests.support.model import Mutation

SOUND_SEEDS = 2000
MUTATION_SEEDS = 3000


def test_no_world_loses_doubles_or_fires_early():
    for seed in range(SOUND_SEEDS):
        try:
            walk(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("mutation", Mutation, ids=lambda mutation: mutation.name.lower())
def test_the_judge_sees_a_missing_defence(mutation):
    """With one defence off, some world goes wrong; otherwise the simulation proves nothing about it."""
    for seed in range(MUTATION_SEEDS):
        try:
            walk(seed, mutation)
        except AssertionError:
            return
    pytest.fail(f"{MUTATION_SEEDS} worlds without this defence and nothing was noticed")
