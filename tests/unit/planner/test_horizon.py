"""Occurrences planned one by one: planned again, given up, and taken over from and by a standing schedule."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.occurrences import Planned, planned_instant
from planner.steps import LEAD_MS, Cancel, Change, Create, Keep, Later
from scheduler.errors import InputError
from scheduler.wire import CRON, EPOCH, TARGET_KEY, TARGET_TOPIC
from tests.support.planner_world import World, desired

NOON = 1_893_499_200_000
"""2030-01-01T12:00:00Z"""
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
JOB = "NAME=x\n0 * * * * run"


def test_each_occurrence_up_to_the_horizon_is_a_schedule_of_its_own() -> None:
    world = World(NOON)

    plan = world.sync(JOB, 3 * HOUR)

    assert [type(step) for step in plan.steps] == [Create] * 3
    assert list(world.in_force) == [f"jobs/x/2030-01-01T{hour}:00:00Z".encode() for hour in (13, 14, 15)]
    first = next(iter(world.in_force.values()))
    assert (first.due_ms, first.rule, first.target_topic, first.target_key) == (
        NOON + HOUR,
        None,
        "cluster-a",
        b"jobs/x",
    )
    assert first.value == desired(JOB)[0].payload
    assert [name for name, _ in first.own_headers] == [EPOCH, TARGET_TOPIC, TARGET_KEY]
    assert CRON not in dict(first.own_headers)


def test_planned_again_it_keeps_what_is_there_and_adds_what_has_come_into_reach() -> None:
    world = World(NOON)
    world.sync(JOB, 3 * HOUR)
    assert not world.sync(JOB, 3 * HOUR).changes
    world.advance(90 * MINUTE)

    plan = world.sync(JOB, 3 * HOUR)

    assert (plan.count(Keep), plan.count(Create), plan.count(Cancel)) == (2, 1, 0)
    assert world.fired == [("jobs/x", NOON + HOUR)]


def test_what_is_no_longer_in_the_file_is_cancelled_and_what_is_there_otherwise_is_changed() -> None:
    world = World(NOON)
    world.sync(f"{JOB}\nNAME=y\n30 * * * * other", 2 * HOUR)

    plan = world.sync("NAME=x\nMAX_ATTEMPTS=3\n0 * * * * run", 2 * HOUR)

    assert (plan.count(Change), plan.count(Cancel), plan.dropped, plan.held) == (2, 2, 1, 2)
    assert [key.decode().rpartition("/")[0] for key in world.in_force] == ["jobs/x"] * 2
    plan = world.sync("NAME=x\n30 * * * * run", 2 * HOUR)
    assert (plan.count(Cancel), plan.count(Create), plan.dropped) == (2, 2, 0)


def test_one_that_is_about_to_fire_is_neither_planned_again_nor_changed_nor_cancelled() -> None:
    """It may have fired by a clock that is a little ahead: what is missing here is not created again."""
    world = World(NOON)
    world.sync(JOB, 3 * HOUR)
    world.advance(HOUR - LEAD_MS)
    fired = world.in_force.pop(b"jobs/x/2030-01-01T13:00:00Z")

    assert world.plan(JOB, world.look(), 2 * HOUR).count(Create) == 0
    world.in_force[fired.key] = fired
    changed = "NAME=x\nMAX_ATTEMPTS=3\n0 * * * * run"
    plan = world.plan(changed, world.look(), 3 * HOUR)
    assert [step.due_ms for step in plan.steps if isinstance(step, Change)] == [NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert plan.count(Keep) == 1
    assert b"13:00" not in b"".join(
        step.current.schedule.key for step in world.plan(JOB, world.look()).steps if isinstance(step, Cancel)
    )


def test_one_that_is_overdue_keeps_its_run() -> None:
    world = World(NOON)
    world.sync(JOB, 3 * HOUR)
    world.up = False
    world.advance(90 * MINUTE)
    world.sync(JOB, 3 * HOUR)
    world.sync(f"NAME=y\n{JOB.partition(chr(10))[2]}", 3 * HOUR)  # under another name, too
    world.sync(f"NAME=y\n{JOB.partition(chr(10))[2]}")

    assert b"jobs/x/2030-01-01T13:00:00Z" in world.in_force
    world.sync("NAME=y\n0 0 * * * else")
    assert list(world.in_force) == [b"jobs/y"]


def test_a_period_is_counted_from_1970_so_that_every_planner_finds_the_same_instants() -> None:
    world = World(NOON + 7)

    world.sync("@every 90m run", 6 * HOUR)

    assert [schedule.due_ms for schedule in world.in_force.values()] == [
        NOON + offset * 90 * MINUTE for offset in (1, 2, 3, 4)
    ]
    assert not world.sync("@every 90m run", 6 * HOUR).changes


def test_a_skipping_entry_skips_occurrence_by_occurrence() -> None:
    world = World(NOON)
    world.sync("MISFIRE=skip\n0 * * * * run\nMISFIRE=all\n0 * * * * all", HOUR)

    skips, fires = (dict(schedule.own_headers) for schedule in world.in_force.values())
    assert (skips["scheduler-misfire"], skips["scheduler-misfire-grace"]) == (b"skip", b"1m")
    assert "scheduler-misfire" not in fires


@pytest.mark.parametrize(
    ("text", "horizon_ms", "what"),
    [
        ("@every 5s run", DAY, "line 1: @every 5s comes too often for --horizon"),
        ("* * * * * run", 366 * DAY, "more than 200,000 occurrences within 366d; choose a shorter --horizon"),
    ],
)
def test_what_is_too_much_is_refused(text: str, horizon_ms: int, what: str) -> None:
    world = World(NOON)

    with pytest.raises(InputError, match=what):
        world.plan(text, world.look(), horizon_ms)


@pytest.mark.parametrize("up", [True, False])
def test_a_standing_schedule_that_is_about_to_fire_gives_way_later(*, up: bool) -> None:
    world = World(NOON)
    world.sync(JOB)
    world.up = up
    world.advance(HOUR - LEAD_MS)

    plan = world.sync(JOB, 3 * HOUR)
    assert [type(step) for step in plan.steps] == [Later]
    world.advance(LEAD_MS)
    plan = world.sync(JOB, 3 * HOUR)

    # down: the run at 13:00 is overdue and would be lost
    assert plan.waits is not up
    assert (b"jobs/x" in world.in_force) is not up


def test_keys_of_occurrences_are_told_from_others() -> None:
    (wanted,) = desired(JOB)
    key = Planned(wanted, NOON + 250).key

    assert key == b"jobs/x/2030-01-01T12:00:00.250Z"
    assert planned_instant(key) == NOON + 250
    for other in (b"jobs/x", b"jobs/x@1893499200000#2", key + b"@1893499200250#2", b"a/b/c/2030-01-01T12:00:00Z"):
        assert planned_instant(other) is None


steps = st.lists(
    st.tuples(
        st.sampled_from([None, 5 * HOUR, 9 * HOUR]),
        st.sampled_from(["NAME=x\n", "NAME=y\n", "", "MAX_ATTEMPTS=2\nNAME=x\n"]),
        st.sampled_from([0, 1, 500, LEAD_MS - 1]),
        st.sampled_from([1, LEAD_MS - 1, LEAD_MS, MINUTE, 59 * MINUTE, HOUR - LEAD_MS, HOUR]),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@example([(None, "NAME=x\n", 500, HOUR - LEAD_MS), (None, "NAME=y\n", LEAD_MS - 1, HOUR)])
@given(steps)
def test_every_occurrence_runs_once_however_it_is_planned(steps: list[tuple[int | None, str, int, int]]) -> None:
    """Standing or with a horizon, under this name or that, and written up to the lead after the look."""
    world = World(NOON)
    world.sync("NAME=x\n0 * * * * run")
    for horizon_ms, name, lag_ms, pause_ms in steps:
        world.sync(f"{name}0 * * * * run", horizon_ms, lag_ms=lag_ms)
        world.advance(pause_ms)
    world.advance(90 * MINUTE)

    dues = [due_ms for _, due_ms in world.fired]
    assert dues == list(range(NOON + HOUR, world.now_ms + 1, HOUR))
