"""Random walks through a model world, each repeatable by its seed."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from typing import TYPE_CHECKING

from scheduler.engine.changes import Change, Verb
from tests.support.model import World

if TYPE_CHECKING:
    from tests.support.model import Mutation

KEYS = (b"a", b"b", b"c", b"d")
DELAYS_MS = (-5000, 0, 1, 50, 1000, 30_000)


def walk(seed: int, mutation: Mutation | None = None, steps: int = 60) -> World:
    """One world from its beginning to its end, judged.

    Raises:
        AssertionError: something was lost, doubled, early or told wrongly.
    """
    dice = random.Random(seed)
    world = World(mutation)
    actions = (
        (6, lambda: world.schedule(dice.choice(KEYS), dice.choice(DELAYS_MS), hold=dice.random() < 0.15)),
        (2, lambda: world.schedule(dice.choice(KEYS), dice.choice(DELAYS_MS), every="7s")),
        (2, lambda: world.look(dice.choice(KEYS))),
        (4, lambda: _carry_on(dice, world)),
        (3, lambda: world.cancel(dice.choice(KEYS), hold=dice.random() < 0.1)),
        (1, lambda: world.malformed(dice.choice(KEYS))),
        (2, lambda: world.decide_held(commit=dice.random() < 0.7)),
        (5, lambda: world.advance(dice.choice((1, 40, 1000, 10_000, 700_000)))),
        (1, world.compact),
        (2, world.take_over),
        (9, lambda: world.replica(_back(dice)).read(dice.choice((1, 3, 1000)))),
        (6, lambda: world.replica(_back(dice)).begin(dice.choice((1, 2, 100)), postpone=dice.random() < 0.1)),
        (4, lambda: world.replica(_back(dice)).ask(dice.choice(KEYS), _change(dice, world))),
        (5, lambda: world.replica(_back(dice)).commit()),
        (2, lambda: world.owner.commit_without_answer(took_effect=dice.random() < 0.5)),
    )
    weights = [weight for weight, _ in actions]
    for _ in range(steps):
        dice.choices(actions, weights)[0][1]()
    world.settle()
    world.judge()
    return world


def _carry_on(dice: random.Random, world: World) -> None:
    """A planner changes what it has seen some time ago, or just now, while the owner fires."""
    key = dice.choice(KEYS)
    if dice.random() < 0.7:
        world.look(key)
        world.owner.read(1000)
        world.owner.begin(100)
        dice.choice((world.owner.commit, lambda: None))()
    world.carry_on(key, hold=dice.random() < 0.15)


def _back(dice: random.Random) -> int:
    """Mostly the owner; at times one that was it and does not know better."""
    return dice.choice((0, 0, 0, 1, 2))


def _change(dice: random.Random, world: World) -> Change:
    verb = dice.choice(list(Verb))
    if verb is not Verb.RESCHEDULE:
        return Change(verb)
    # hardly ever an instant that has fired: an operator who asks for that one again gets it again
    return Change(verb, world.broker.now_ms + dice.choice(DELAYS_MS) + dice.randrange(20_000))
