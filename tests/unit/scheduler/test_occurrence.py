"""What is done with a schedule that is due: which occurrence fires, which is next, what is too late."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.engine.occurrence import Due, decide
from scheduler.recurrence import parse_rule
from scheduler.schedule import Misfire, Outcome, Schedule

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOON = 1_800_014_400_000
"""2027-01-15T12:00:00Z, a Friday."""


def one_shot(misfire=Misfire.FIRE, grace_ms=None, due_ms=NOON):
    return Schedule(b"k", b"", due_ms, "orders", None, None, [], [], 0, misfire=misfire, grace_ms=grace_ms)


def recurring(expression="0 * * * *", misfire=Misfire.ONCE, grace_ms=MINUTE, due_ms=NOON, timezone="UTC"):
    rule = parse_rule(expression, timezone)
    return Schedule(b"k", b"", due_ms, "orders", None, None, [], [], 0, rule=rule, misfire=misfire, grace_ms=grace_ms)


def ms(text):
    """Read `2027-03-28T04:00+03:00`."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000


# ---------------------------------------------------------------- one-shot


@pytest.mark.parametrize("late_ms", [0, 1, DAY, 3_650 * DAY])
def test_a_one_shot_schedule_fires_however_late_and_ends(late_ms):
    assert decide(one_shot(), NOON + late_ms) == Due(Outcome.FIRED, NOON, None)


@pytest.mark.parametrize(
    ("late_ms", "outcome"),
    [
        (0, Outcome.FIRED),
        (10 * SECOND, Outcome.FIRED),  # the grace is still on time
        (10 * SECOND + 1, Outcome.MISFIRED),
        (DAY, Outcome.MISFIRED),
    ],
)
def test_a_one_shot_schedule_that_may_be_skipped_misfires_past_its_grace(late_ms, outcome):
    schedule = one_shot(Misfire.SKIP, 10 * SECOND)

    assert decide(schedule, NOON + late_ms) == Due(outcome, NOON, None)


def test_skip_without_a_grace_is_never_too_late():
    assert decide(one_shot(Misfire.SKIP), NOON + 3_650 * DAY).outcome is Outcome.FIRED


def test_fire_with_a_grace_fires_past_it():
    assert decide(one_shot(Misfire.FIRE, 0), NOON + DAY).outcome is Outcome.FIRED


# ---------------------------------------------------------------- recurring


@pytest.mark.parametrize("misfire", [Misfire.ONCE, Misfire.ALL, Misfire.SKIP])
@pytest.mark.parametrize("late_ms", [0, 15, MINUTE])
def test_on_time_the_occurrence_fires_and_the_next_one_follows(misfire, late_ms):
    assert decide(recurring(misfire=misfire), NOON + late_ms) == Due(Outcome.FIRED, NOON, NOON + HOUR)


def test_once_makes_one_firing_of_all_that_was_missed():
    """The latest one: a consumer that asks when it was due is told the most recent time."""
    now_ms = NOON + 5 * HOUR + 20 * MINUTE

    assert decide(recurring(), now_ms) == Due(Outcome.FIRED, NOON + 5 * HOUR, NOON + 6 * HOUR)


def test_all_fires_every_missed_occurrence_in_turn():
    now_ms = NOON + 2 * HOUR + MINUTE
    fired = []
    due_ms = NOON
    while due_ms <= now_ms:
        due = decide(recurring(misfire=Misfire.ALL, due_ms=due_ms), now_ms)
        assert due.outcome is Outcome.FIRED
        fired.append(due.due_ms)
        due_ms = due.next_due_ms

    assert fired == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert due_ms == NOON + 3 * HOUR


@pytest.mark.parametrize(
    ("late_ms", "expected"),
    [
        (MINUTE + 1, Due(Outcome.MISFIRED, NOON, NOON + HOUR)),
        (3 * HOUR, Due(Outcome.FIRED, NOON + 3 * HOUR, NOON + 4 * HOUR)),  # the latest one is on time
        (3 * HOUR + MINUTE, Due(Outcome.FIRED, NOON + 3 * HOUR, NOON + 4 * HOUR)),
        (3 * HOUR + MINUTE + 1, Due(Outcome.MISFIRED, NOON + 3 * HOUR, NOON + 4 * HOUR)),
    ],
)
def test_skip_fires_only_what_is_within_its_grace(late_ms, expected):
    assert decide(recurring(misfire=Misfire.SKIP), NOON + late_ms) == expected


def test_an_occurrence_that_falls_on_this_very_millisecond_is_this_one_not_the_next():
    assert decide(recurring(), NOON + HOUR) == Due(Outcome.FIRED, NOON + HOUR, NOON + 2 * HOUR)


def test_a_first_occurrence_beside_the_rule_fires_at_its_own_time():
    """A client may give an epoch that the rule would not have; from then on the rule says when."""
    beside = NOON + 7 * MINUTE

    assert decide(recurring(due_ms=beside), beside) == Due(Outcome.FIRED, beside, NOON + HOUR)


def test_a_period_keeps_its_beat_over_missed_occurrences():
    now_ms = NOON + 10 * MINUTE + 1

    assert decide(recurring("@every 90s"), now_ms) == Due(Outcome.FIRED, NOON + 9 * MINUTE, NOON + 630 * SECOND)


def test_the_next_occurrence_follows_the_zone_through_a_clock_change():
    due_ms = ms("2027-03-27T09:00+02:00")
    schedule = recurring("0 9 * * *", due_ms=due_ms, timezone="Europe/Riga")

    assert decide(schedule, due_ms).next_due_ms == ms("2027-03-28T09:00+03:00")


def test_a_rule_without_a_next_occurrence_ends():
    """At the end of the calendar a rule has none; the schedule then ends as a one-shot one does."""
    due_ms = ms("8999-12-31T00:00+00:00")

    assert decide(recurring("0 0 31 12 *", due_ms=due_ms), due_ms) == Due(Outcome.FIRED, due_ms, None)


@given(
    expression=st.sampled_from(["* * * * *", "@hourly", "30 2 * * *", "0 0 29 2 *", "@every 7s", "@every 1d"]),
    timezone=st.sampled_from(["UTC", "Europe/Riga", "America/New_York"]),
    misfire=st.sampled_from([Misfire.ONCE, Misfire.ALL, Misfire.SKIP]),
    grace_ms=st.none() | st.integers(0, 2 * DAY),
    start_ms=st.integers(0, 2 * NOON),
    late_ms=st.integers(0, 40 * DAY),
)
def test_nothing_is_early_and_nothing_is_decided_twice(expression, timezone, misfire, grace_ms, start_ms, late_ms):
    """What is decided is due by now and not before the schedule's due time; what is next lies after it."""
    due_ms = parse_rule(expression, timezone).next_after(start_ms, start_ms)
    now_ms = due_ms + late_ms
    due = decide(recurring(expression, misfire, grace_ms, due_ms, timezone), now_ms)

    assert due_ms <= due.due_ms <= now_ms
    assert due.due_ms < due.next_due_ms
    if misfire is not Misfire.ALL:
        assert now_ms < due.next_due_ms, "one decision settles all that was missed"
    if misfire is not Misfire.SKIP:
        assert due.outcome is Outcome.FIRED
