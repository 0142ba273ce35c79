"""Which event of the history answers a change that is waited for."""

from dataclasses import replace

import pytest

from scheduler.commands.outcomes import answers_cancel, answers_fire
from scheduler.history import HistoryEvent
from scheduler.records import Stored
from scheduler.recurrence import parse_rule
from scheduler.schedule import Schedule

ONCE = Stored("schedules", 0, Schedule(b"a", b"", 5000, "t", None, None, [], [], 0))
RECURRING = Stored("schedules", 0, replace(ONCE.schedule, rule=parse_rule("@every 1s")))


def event(outcome, due_ms=5000, key="a"):
    return HistoryEvent(0, key, outcome, due_ms, 0, "t", f"{key}@{due_ms}", None, None, 0, 0, None)


@pytest.mark.parametrize(
    ("stored", "told", "answers"),
    [
        (ONCE, event("cancelled"), True),
        (ONCE, event("cancelled", key="b"), False),
        (ONCE, event("fired"), True),  # it came too late
        (ONCE, event("undeliverable"), True),
        (ONCE, event("fired", due_ms=4000), False),  # an earlier version of the key
        (ONCE, event("rejected", due_ms=None), False),
        (RECURRING, event("fired"), False),  # before the cancel, which is yet to come
        (RECURRING, event("cancelled", due_ms=6000), True),
    ],
)
def test_what_answers_a_cancel(stored, told, answers):
    assert answers_cancel(stored, told) is answers


@pytest.mark.parametrize(
    ("told", "answers"),
    [
        (event("fired", due_ms=6000), True),
        (event("undeliverable", due_ms=6001), True),
        (event("fired", due_ms=5999), False),  # an occurrence before
        (event("fired", due_ms=6000, key="b"), False),
        (event("rejected", due_ms=6000), False),
        (event("rejected", due_ms=None), False),
    ],
)
def test_what_answers_a_firing(told, answers):
    assert answers_fire(ONCE, 6000, told) is answers
