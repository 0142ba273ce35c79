"""What can be done in a world, how often, and with what: drawn by dice, one step or a few that belong together."""

from __future__ import annotations

import random  # noqa: TID251 - the dice are seeded, so that any failure can be replayed
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.engine.changes import Verb
from tests.support.simulation.world import LATE_TARGET

if TYPE_CHECKING:
    from collections.abc import Callable

Dice = random.Random

DELAYS_MS = (-5000, -1, 0, 1, 50, 1000, 7000, 30_000)
SLOW_RULES = ("@every 600s", "7 * * * *", "46 * * * *")
"""For what shall fire for each missed occurrence: not thousands of times."""
RULES = ("@every 7s", "@every 7s", "@every 60s", "7 * * * *", "46 * * * *")
ONE_SHOT_MISFIRES = (None, None, None, None, "skip 5s")
RECURRING_MISFIRES = (None, None, None, "once", "skip", "skip 3s", "all 5s")
SKEWS_MS = (0, 0, 900, -900, 10_000, -10_000, 3_600_000, -3_600_000)


class Step(NamedTuple):
    """A method of a world, or of one of its replicas, and what it is called with."""

    name: str
    arguments: dict[str, Any]
    back: int | None = None
    """Which replica; None: the world itself."""

    def __str__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({said})" + (f" of the replica {self.back} back" if self.back else "")


class Taste(NamedTuple):
    """What one walk is inclined to."""

    keys: tuple[bytes, ...]
    late: float
    """How often a target is one that is not always there."""
    hold: float
    """How often a client leaves its transaction open."""
    large: float
    """How often a schedule is too large for its target."""


def taste(dice: Dice) -> Taste:
    """What the walk is inclined to that these dice give."""
    keys = (b"a", b"b", b"c", b"d")[: dice.choice((1, 2, 3, 4))]
    return Taste(keys, dice.choice((0, 0.1, 0.8)), dice.choice((0, 0.1, 0.3)), dice.choice((0, 0, 0.1, 0.4)))


def _back(dice: Dice) -> int:
    """Mostly the owner; at times one that was it and does not know better."""
    return dice.choice((0, 0, 0, 0, 1, 2))


def _schedule(dice: Dice, taste: Taste) -> list[Step]:
    arguments = {
        "key": dice.choice(taste.keys),
        "delay_ms": dice.choice(DELAYS_MS),
        "target": _target(dice, taste),
        "misfire": dice.choice(ONE_SHOT_MISFIRES),
        "paused": dice.random() < 0.05,
        "large": dice.random() < taste.large,
        "hold": dice.random() < taste.hold,
    }
    return [Step("schedule", arguments)]


def _target(dice: Dice, taste: Taste) -> str:
    return LATE_TARGET if dice.random() < taste.late else "target"


def _cancel(dice: Dice, taste: Taste) -> list[Step]:
    return [Step("cancel", {"key": dice.choice(taste.keys), "hold": dice.random() < taste.hold})]


def _recur(dice: Dice, taste: Taste) -> list[Step]:
    misfire = dice.choice(RECURRING_MISFIRES)
    arguments = {
        "key": dice.choice(taste.keys),
        "delay_ms": dice.choice(DELAYS_MS),
        "rule": dice.choice(SLOW_RULES if misfire == "all 5s" else RULES),
        "target": _target(dice, taste),
        "misfire": misfire,
        "paused": dice.random() < 0.05,
        "large": dice.random() < taste.large,
        "hold": dice.random() < taste.hold,
    }
    return [Step("recur", arguments)]


def _carry_on(dice: Dice, taste: Taste, key: bytes | None = None) -> list[Step]:
    arguments = {
        "key": key or dice.choice(taste.keys),
        "rule": dice.choice((None, None, None, *RULES)),
        "hold": dice.random() < taste.hold,
    }
    return [Step("carry_on", arguments)]


def _ask(dice: Dice, taste: Taste) -> list[Step]:
    verb = dice.choice(list(Verb))
    arguments = {
        "back": _back(dice),
        "key": dice.choice(taste.keys),
        "verb": verb,
        # hardly ever an instant that has fired: an operator who asks for that one again gets it again
        "delay_ms": dice.choice(DELAYS_MS) + dice.randrange(20_000) if verb is Verb.RESCHEDULE else 0,
        "rule": dice.choice((None, None, *SLOW_RULES)) if verb is Verb.RESCHEDULE else None,
    }
    return [Step("ask", arguments)]


def _replica_steps(dice: Dice, _: Taste) -> list[Step]:
    """Some of what a replica does, one after another, broken off anywhere."""
    back = _back(dice)
    course = [
        Step("fence", {}, back),
        Step("fetch", {"limit": dice.choice((1, 3, 1000))}, back),
        Step("apply", {"limit": dice.choice((1, 3, 1000))}, back),
        Step("collect", {"limit": dice.choice((1, 100))}, back),
        Step("begin", {"limit": dice.choice((1, 2, 100))}, back),
        *_perhaps_think_again(dice, back),
        Step("produce", {"count": dice.choice((1, 2, 3, 100))}, back),
        _end(dice, back),
    ]
    first = dice.randrange(len(course))
    return course[first : first + dice.choice((1, 1, 2, 3, 7))]


def _perhaps_think_again(dice: Dice, back: int) -> list[Step]:
    return [Step("think_again", {}, back)] if dice.random() < 0.15 else []


def _end(dice: Dice, back: int) -> Step:
    how = dice.choice(("ok",) * 7 + ("unanswered", "missing", "late"))
    return Step("end", {"arrives": how != "missing", "answered": how == "ok", "late": how == "late"}, back)


# -- what belongs together ---------------------------------------------------------------------------


def _mixed(dice: Dice, taste: Taste, *steps: Step) -> list[Step]:
    """The steps in their order, at times without one of them, at times with another one in between."""
    mixed: list[Step] = []
    for step in steps:
        if dice.random() < 0.9:
            mixed.append(step)
        if dice.random() < 0.1:
            mixed += ACTIONS[dice.choice(BESIDE)][1](dice, taste)
    return mixed


def _race(dice: Dice, taste: Taste) -> list[Step]:
    """Clients, planners and operators have their say while a transaction is under way."""
    back = dice.choice((0, 0, 0, 1))
    asides = [step for _ in range(dice.choice((1, 1, 2))) for step in ACTIONS[dice.choice(ASIDES)][1](dice, taste)]
    produce = Step("produce", {"count": dice.choice((1, 2, 3))}, back)
    return _mixed(
        dice,
        taste,
        Step("listen", {}, back),
        Step("begin", {"limit": 100}, back),
        *([produce] if dice.random() < 0.5 else []),
        *asides,
        *_perhaps_think_again(dice, back),
        _end(dice, back),
    )


def _planner_beside_firing(dice: Dice, taste: Taste) -> list[Step]:
    """A planner changes what it has seen some time ago, or just now while the owner fires."""
    key = dice.choice(taste.keys)
    recur = _recur(dice, taste)[0]
    fires = dice.choice(
        ((Step("work", {}, 0),), (Step("listen", {}, 0), Step("begin", {"limit": 100}, 0)), (Step("rest", {}),))
    )
    return _mixed(
        dice,
        taste,
        *([recur._replace(arguments={**recur.arguments, "key": key})] if dice.random() < 0.5 else []),
        Step("rest", {}),
        Step("look", {"key": key}),
        Step("advance", {"ms": dice.choice((1, 1000, 10_000))}),
        *fires,
        *_carry_on(dice, taste, key),
        _end(dice, 0),
    )


def _late_commit(dice: Dice, taste: Taste) -> list[Step]:
    """A commit arrives while the next transaction is under way."""
    return _mixed(
        dice,
        taste,
        Step("listen", {}, 0),
        Step("begin", {"limit": 100}, 0),
        Step("end", {"arrives": True, "answered": False, "late": True}, 0),
        Step("listen", {}, 0),
        Step("begin", {"limit": 100}, 0),
        Step("produce", {"count": dice.choice((1, 2, 3))}, 0),
        Step("arrive", {}),
        Step("end", {"arrives": True, "answered": True, "late": False}, 0),
    )


def _read_ahead(dice: Dice, taste: Taste) -> list[Step]:
    """A new owner reads a log to which clients and the last owner go on to write, until its fence is up and after."""
    asides = [step for _ in range(dice.choice((0, 1, 2))) for step in ACTIONS[dice.choice(ASIDES)][1](dice, taste)]
    return _mixed(
        dice,
        taste,
        Step("take_over", {}),
        Step("fetch", {"limit": dice.choice((2, 1000))}, 0),
        Step("apply", {"limit": 1000}, 0),
        *asides,
        *dice.choice(((), (Step("work", {}, 1),), (Step("listen", {}, 1), Step("begin", {"limit": 100}, 1)))),
        *[Step("fetch", {"limit": 1000}, 0), Step("apply", {"limit": 1000}, 0)] * dice.choice((0, 1)),
        Step("end", {"arrives": True, "answered": True, "late": False}, 1),
        Step("fence", {}, 0),
        Step("work", {}, 1),
        Step("listen", {}, 0),
        Step("work", {}, 0),
    )


def _slow_restore(dice: Dice, taste: Taste) -> list[Step]:
    """The log is cleaned while a new owner reads it, and before."""
    return _mixed(
        dice,
        taste,
        Step("take_over", {}),
        *[Step("fence", {}, 0)] * dice.choice((0, 1, 3)),
        Step("fetch", {"limit": dice.choice((1, 2, 3, 5))}, 0),
        Step("apply", {"limit": 1000}, 0),
        Step("advance", {"ms": 700_000}),
        Step("compact", {}),
        Step("listen", {}, 0),
    )


def _follow(dice: Dice, limit: int | None = None, *, asks: bool = False) -> Step:
    arguments = {
        "limit": limit or dice.choice((1, 3, 1000, 1000)),
        "asks": asks or dice.random() < 0.7,
        "forgets": dice.random() < 0.7,
    }
    return Step("follow", arguments)


def _followed(dice: Dice, taste: Taste) -> list[Step]:
    """A replica follows while clients and the owner go on, and takes over."""
    said = [
        step
        for _ in range(dice.choice((1, 2, 3)))
        for step in (
            *ACTIONS[dice.choice(ASIDES)][1](dice, taste),
            *ACTIONS[dice.choice(("work", "work", "race", "replica_steps", "late_commit"))][1](dice, taste),
            *[_follow(dice)] * dice.choice((0, 1)),
        )
    ]
    return _mixed(
        dice,
        taste,
        _follow(dice),
        *said,
        _follow(dice),
        Step("take_over", {"follows": True}),
        *dice.choice(((), (Step("work", {}, 1),))),
        Step("work", {}, 0),
    )


def _followed_beside_firing(dice: Dice, taste: Taste) -> list[Step]:
    """What an owner has taken is cancelled before it writes, while another replica follows; that one takes over."""
    recur = _recur(dice, taste)[0]
    key = recur.arguments["key"]
    return _mixed(
        dice,
        taste,
        recur._replace(arguments={**recur.arguments, "hold": False}),
        Step("rest", {}),
        Step("advance", {"ms": dice.choice((1000, 10_000, 100_000))}),
        Step("listen", {}, 0),
        Step("begin", {"limit": 100}, 0),
        Step("cancel", {"key": key, "hold": False}),
        _follow(dice, 1000),
        Step("end", {"arrives": True, "answered": True, "late": False}, 0),
        Step("take_over", {"follows": True}),
        Step("work", {}, 0),
    )


def _long_ago(dice: Dice, taste: Taste) -> tuple[Step, list[Step]]:
    """A schedule, and what makes its record old: it is cancelled, or fires, and the log is cleaned of it, and again."""
    schedule = _schedule(dice, taste)[0]
    ends = dice.choice((Step("cancel", {"key": schedule.arguments["key"], "hold": False}), Step("rest", {})))
    away = (700_000, 3_700_000) if dice.random() < 0.5 else (400_000, 100_000)
    return (
        schedule._replace(arguments={**schedule.arguments, "delay_ms": 30_000, "hold": False}),
        [step for ms in away for step in (ends, Step("rest", {}), Step("advance", {"ms": ms}), Step("compact", {}))],
    )


def _kept_long_ago(dice: Dice, taste: Taste) -> list[Step]:
    """What is kept on a disk is of before the log was cleaned; replicas with another disk were owners meanwhile."""
    schedule, ages = _long_ago(dice, taste)
    return _mixed(
        dice,
        taste,
        *[Step("take_over", {})] * dice.choice((0, 1)),
        schedule,
        Step("rest", {}),
        *[Step("take_over", {})] * dice.choice((1, 2)),
        *ages,
        *[Step("take_over", {})] * dice.choice((1, 2)),
        Step("work", {}, 0),
    )


def _followed_long_ago(dice: Dice, taste: Taste) -> list[Step]:
    """A replica that follows stands still, while the log is cleaned of what it has not read."""
    schedule, ages = _long_ago(dice, taste)
    return _mixed(
        dice,
        taste,
        Step("rest", {}),
        schedule,
        _follow(dice, 1000, asks=True),
        *ages,
        *[_follow(dice)] * dice.choice((0, 1)),
        Step("take_over", {"follows": True}),
        Step("work", {}, 0),
    )


def _late_target(dice: Dice, taste: Taste) -> list[Step]:
    """A target is made while its schedules wait for it, and an operator loses patience."""
    schedule = _recur(dice, taste)[0] if dice.random() < 0.3 else _schedule(dice, taste)[0]
    arguments = {**schedule.arguments, "delay_ms": 0, "target": LATE_TARGET}
    ask = _ask(dice, taste)[0]
    return _mixed(
        dice,
        taste,
        Step("move_target", {"there": False}),
        schedule._replace(arguments=arguments),
        Step("rest", {}),
        Step("move_target", {"there": True}),
        Step("advance", {"ms": dice.choice((1, 1000, 40_000))}),
        *([ask._replace(arguments={**ask.arguments, "key": arguments["key"]})] if dice.random() < 0.5 else []),
        Step("rest", {}),
    )


# -- all of it ---------------------------------------------------------------------------------------


def _one(name: str, **choices: Any) -> Callable[[Dice, Taste], list[Step]]:
    """A step of the world; `key` stands for any key."""

    def make(dice: Dice, taste: Taste) -> list[Step]:
        arguments = {each: dice.choice(choice) for each, choice in choices.items()}
        if arguments.pop("key", None):
            arguments = {"key": dice.choice(taste.keys), **arguments}
        return [Step(name, arguments)]

    return make


def _of_replica(name: str, **arguments: Any) -> Callable[[Dice, Taste], list[Step]]:
    return lambda dice, _: [Step(name, arguments, _back(dice))]


ACTIONS: dict[str, tuple[float, Callable[[Dice, Taste], list[Step]]]] = {
    "schedule": (10, _schedule),
    "delay": (1, _one("delay", key=(True,), seconds=(0, 1, 30))),
    "recur": (4, _recur),
    "cancel": (5, _cancel),
    "malformed": (2, _one("malformed", key=(True,), which=(0, 1, 2))),
    "empty_key": (0.3, lambda dice, _: [Step("malformed", {"key": b"", "which": dice.randrange(3)})]),
    "pause_all": (1, _one("pause_all", on=(True, False, False))),
    "end_held": (3, _one("end_held", commit=(True, True, False))),
    "look": (2, _one("look", key=(True,))),
    "carry_on": (5, _carry_on),
    "ask": (6, _ask),
    "advance": (7, _one("advance", ms=(1, 40, 1000, 1000, 10_000, 10_000, 100_000, 700_000))),
    "next_day": (0.2, _one("advance", ms=(7_200_000, 90_000_000))),
    "jump": (1, lambda dice, _: [Step("jump", {"back": _back(dice), "skew_ms": dice.choice(SKEWS_MS)})]),
    "take_over": (2, _one("take_over", follows=(True, False))),
    "follow": (3, lambda dice, _: [_follow(dice)]),
    "stop": (1, lambda dice, _: [Step("stop", {"back": _back(dice)})]),
    "time_out": (0.5, _one("time_out")),
    "write_marker": (4, _one("write_marker", which=(0, 1, 2))),
    "arrive": (2, _one("arrive")),
    "move_target": (1, _one("move_target", there=(True, False))),
    "compact": (2, _one("compact")),
    "rest": (2, _one("rest")),
    "race": (5, _race),
    "planner_beside_firing": (1, _planner_beside_firing),
    "late_commit": (1, _late_commit),
    "slow_restore": (0.5, _slow_restore),
    "read_ahead": (1, _read_ahead),
    "followed": (1, _followed),
    "followed_beside_firing": (0.5, _followed_beside_firing),
    "kept_long_ago": (0.5, _kept_long_ago),
    "followed_long_ago": (0.5, _followed_long_ago),
    "late_target": (1, _late_target),
    "work": (12, _of_replica("work")),
    "stumble": (0.5, _of_replica("stumble")),
    "replica_steps": (25, _replica_steps),
}
"""How often, and what."""
ASIDES = ("schedule", "recur", "cancel", "malformed", "carry_on", "ask", "pause_all", "take_over", "stop")
"""What others have to say while an owner writes."""
BESIDE = (*ASIDES, "follow", "advance", "write_marker", "arrive", "end_held", "compact", "replica_steps", "work")
"""What may come in between at any time."""
