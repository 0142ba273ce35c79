"""Walks through worlds: a seed gives the steps, the steps give the world, and a failing walk shrinks.

Steps are drawn before any of them is taken, and a step that makes no sense does nothing. So a walk is a list, and any
part of it is a walk.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from typing import TYPE_CHECKING, NamedTuple

from tests.support.simulation.actions import ACTIONS, Step, taste
from tests.support.simulation.judge import judge
from tests.support.simulation.world import World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.support.simulation.mutations import Mutation

STEPS = 120


class Walk(NamedTuple):
    """All that a world needs to be the same again."""

    since_delta: int | None
    afresh: bool
    ahead_ms: int | None
    steps: tuple[Step, ...]


def walk(seed: int, steps: int = STEPS) -> Walk:
    """The walk of a seed.

    Each has its own taste: some steps are left out, others come often. What is seen only where two rare things meet
    is found sooner that way.
    """
    dice = random.Random(seed)
    likes = taste(dice)
    often = {name: weight * dice.choice((0, 0.3, 1, 1, 3)) for name, (weight, _) in ACTIONS.items()}
    for name in ("work", "replica_steps", "schedule"):
        often[name] = max(often[name], 1)
    names, weights = list(often), list(often.values())
    since_delta = dice.choice((None, None, None, None, None, 0, -1))
    drawn = []
    while len(drawn) < steps:
        drawn += ACTIONS[dice.choices(names, weights)[0]][1](dice, likes)
    afresh = dice.random() < 0.6
    return Walk(since_delta, afresh, dice.choice((None, None, 0, 1_000, 30_000)), tuple(drawn))


def run(the_walk: Walk, mutation: Mutation | None = None, tell: Callable[[str], None] | None = None) -> World:
    """One world from its beginning to its end, judged.

    Raises:
        BrokenError: a promise is broken.
    """
    world = World(mutation, the_walk.since_delta, tell, the_walk.ahead_ms)
    for step in the_walk.steps:
        if tell is not None:
            tell(f"--- {step}")
        getattr(world if step.back is None else world.replica(step.back), step.name)(**step.arguments)
    if tell is not None:
        tell("--- all comes to rest")
    world.settle(afresh=the_walk.afresh)
    judge(world)
    return world


def failure(the_walk: Walk, mutation: Mutation | None = None, sums: Counter[str] | None = None) -> str | None:
    """What goes wrong in a walk: what is broken, or the error that the engine raised; None if nothing does.

    What there was in the world is added to `sums`.
    """
    try:
        world = run(the_walk, mutation)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for, and it is told
        return f"{type(error).__name__}: {error}"
    if sums is not None:
        sums.update(world.sums())
    return None


def found(mutation: Mutation, first: int, most: int) -> int | None:
    """How many walks it takes until a defect is noticed, from that seed on; None: it is not."""
    return next((n for n in range(1, most + 1) if failure(walk(first + n - 1), mutation) is not None), None)


def shrunk(the_walk: Walk, mutation: Mutation | None = None) -> Walk:
    """A walk that fails in the same way, of which no step can be left out."""
    kind = _kind(failure(the_walk, mutation))
    steps = the_walk.steps
    size = len(steps) // 2
    while size:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            if _kind(failure(the_walk._replace(steps=fewer), mutation)) == kind:
                steps = fewer
            else:
                start += size
        size = min(size // 2, len(steps) // 2)
    return the_walk._replace(steps=steps)


def _kind(said: str | None) -> str:
    """The failure without what is of one world only."""
    return "" if said is None else ":".join(said.split(":")[:2]).split("'")[0].split("{")[0]
