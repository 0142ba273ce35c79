"""The fault suite's own rules: what a seed draws, who has a role, what the log of runs says."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that any failure can be replayed
from itertools import islice, pairwise

import pytest

from tests.support.chaos import log, plan
from tests.support.chaos.cluster import Names
from tests.support.chaos.roles import java_hash
from tests.support.chaos.workload import timetable

ROW = {
    "run": "kill",
    "seed": 1,
    "schedules": 500,
    "messages": 600,
    "faults": {"replica killed": [7000, 9000]},
    "wrong": {},
    "findings": [],
    "machine": "2 cores",
}


def drawn(seed: int, count: int) -> list[tuple[object, ...]]:
    return list(islice(timetable(random.Random(seed), 50), count))


def test_a_seed_draws_the_same_customers_and_the_same_faults_again():
    assert drawn(1, 2000) == drawn(1, 2000) != drawn(2, 2000)
    first, again = ([(fault.name, fault.lasts) for fault in islice(plan.endless(5), 60)] for _ in range(2))
    assert first == again


def test_customers_write_in_order_of_time_and_cancel_or_update_what_they_have_stated():
    steps = drawn(3, 5000)
    stated: set[bytes] = set()
    for step in steps:
        assert step.value is not None or step.key in stated, f"{step.key!r} is cancelled before it was stated"
        stated.add(step.key)

    assert all(earlier.at_ms <= later.at_ms for earlier, later in pairwise(steps))
    assert {step.stated for step in steps} == {"epoch", "at", "delay"}


@pytest.mark.parametrize("seed", range(20))
def test_the_short_run_has_ten_faults_and_the_core_ones_among_them(seed):
    struck = [type(fault) for fault in plan.quick(seed)]

    assert len(struck) == 10
    assert {kind for kinds in plan.SCENARIOS.values() for kind in kinds} <= set(struck)


def test_a_long_run_has_every_kind():
    struck = {name for fault in islice(plan.endless(1), len(plan.ALL)) for name in fault.name.split(" + ")}

    assert {kind.name for kind in plan.ALL} <= struck


@pytest.mark.parametrize(("text", "hashed"), [("", 0), ("hello", 99_162_322), ("polygenelubricants", 0)])
def test_names_are_hashed_as_java_does(text, hashed):
    """The last one's hash is the number that has no absolute value."""
    assert java_hash(text) == hashed


def test_the_partitions_of_an_installation_are_named_as_replicas_name_them():
    assert "schedules-x/7" in Names("x").partitions


def test_the_log_adds_up_runs_and_kinds():
    lost = {**ROW, "seed": 2, "wrong": {"lost": 3, "torn": 1}, "findings": ["a replica ended by itself"]}
    never = {**ROW, "seed": 5, "faults": {"a + b": [None]}}

    tables = log.tables([ROW, lost, never])

    assert "| kill | 3 | 1-2, 5 | 1,500 | 1,800 | 5 | 3 | 0 | 2 | 8.0 s / 9.0 s, 1 never |" in tables
    assert "| replica killed | 4 | 8.0 s / 9.0 s |" in tables
    assert "| two at a time | 1 | never |" in tables
    assert "On 2 cores." in tables


def test_the_page_has_the_tables_of_the_log():
    assert log.BEGIN + log.tables(log.read(log.LOG)) + log.END in log.PAGE.read_text(encoding="utf-8")
