"""The judge of `scheduler audit` agrees with the simulation: sound worlds are sound, and missing defences are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from scheduler.audit.judge import judge
from tests.support.audited import evidence_of
from tests.support.simulation import explore
from tests.support.simulation.mutations import Mutation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scheduler.audit.verdict import Verdict

SOUND_SEEDS = 400
MUTATION_SEEDS = 1500
SEEN = (
    Mutation.NO_FENCE,
    Mutation.MARK_IS_LAST_STABLE,
    Mutation.END_BEFORE_RECORDS,
    Mutation.READS_UNCOMMITTED,
    Mutation.BLIND_TOMBSTONE,
    Mutation.TWO_TRANSACTIONS,
    Mutation.UNCERTAIN_IS_COMMITTED,
    Mutation.UNCERTAIN_IS_ABORTED,
    Mutation.EARLY,
)


def verdicts(seeds: Iterable[int], mutation: Mutation | None = None) -> Iterator[tuple[int, Verdict]]:
    """What the judge says of these worlds, which do not judge themselves."""
    with patch.object(explore, "judge", lambda _: None):
        for seed in seeds:
            try:
                world = explore.run(explore.walk(seed), mutation)
            except AssertionError:
                continue  # a replica that never comes to rest: there is nothing to judge
            yield seed, judge(evidence_of(world, journal=seed % 2 == 0))


def test_sound_worlds_are_found_to_be_sound_with_a_journal_and_without() -> None:
    judged = 0
    for seed, verdict in verdicts(range(SOUND_SEEDS)):
        assert verdict.clean, "\n".join([f"seed {seed}", *verdict.lines()])
        assert not verdict.unjudged
        judged += 1
    assert judged == SOUND_SEEDS


@pytest.mark.parametrize("mutation", SEEN, ids=lambda mutation: mutation.name.lower())
def test_a_missing_defence_is_seen(mutation: Mutation) -> None:
    assert any(not verdict.clean for _, verdict in verdicts(range(MUTATION_SEEDS), mutation))
