"""A shifted rule: the same occurrences, each later by one time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.durations import parse_duration
from scheduler.recurrence import RecurrenceError, parse_rule
from scheduler.shifted import shifted

START = 1_800_000_000_000
DAY = 86_400_000
RULES = [
    parse_rule(expression, timezone)
    for expression in ("* * * * *", "*/7 1-3 * * *", "30 2 * * *", "0 0 29 2 *", "15 3 1 * mon", "@hourly", "@weekly")
    for timezone in ("UTC", "Europe/Riga", "Australia/Lord_Howe")
]
SHIFTS = st.one_of(st.integers(1, 120_000), st.integers(1, 3 * DAY))


def local(instant_ms, timezone):
    return datetime.fromtimestamp(instant_ms / 1_000, ZoneInfo(timezone)).isoformat()


@settings(deadline=None)  # the first example in a zone also finds its changes
@given(st.sampled_from(RULES), SHIFTS, st.integers(START, START + 800 * DAY))
def test_the_next_is_the_bases_next_later(rule, shift_ms, instant_ms):
    """Walks the base's occurrences: the first that is later than the instant once shifted."""
    base = rule.next_after(instant_ms - shift_ms - 1, 0)
    while base + shift_ms <= instant_ms:
        base = rule.next_after(base, 0)

    assert shifted(rule, shift_ms).next_after(instant_ms, 0) == base + shift_ms


@settings(deadline=None)
@given(st.sampled_from(RULES), SHIFTS, st.integers(START, START + 100 * DAY), st.integers(0, 20 * DAY))
def test_the_latest_is_the_last_of_the_repeated_next(rule, shift_ms, start, passed):
    moved = shifted(rule, shift_ms)
    anchor = moved.next_after(start, 0)
    last, instant = anchor, anchor + passed
    for _ in range(300):
        following = moved.next_after(last, last)
        if following > instant:
            break
        assert following > last
        last = following
    else:
        instant = last  # enough walked; ask at the occurrence reached

    assert moved.latest_until(instant, anchor) == last


@settings(deadline=None)
@given(st.sampled_from(RULES), SHIFTS, st.integers(START, START + 800 * DAY))
def test_the_next_is_later_however_far_the_shift_reaches(rule, shift_ms, instant_ms):
    assert shifted(rule, shift_ms).next_after(instant_ms, 0) > instant_ms


def test_the_wall_clocks_changes_are_the_bases():
    """In Riga 03:30 does not exist on 28 March 2027: the base makes up for it at 04:00."""
    moved = shifted(parse_rule("30 3 * * *", "Europe/Riga"), parse_duration("90s"))
    found = moved.next_after(1_806_192_000_000, 0)

    assert local(found, "Europe/Riga") == "2027-03-28T04:01:30+03:00"
    assert local(moved.next_after(found, found), "Europe/Riga") == "2027-03-29T03:31:30+03:00"


def test_a_shift_over_the_next_occurrence_leaves_none_out():
    moved = shifted(parse_rule("0 * * * *"), parse_duration("2h10m"))
    first = moved.next_after(START, 0)

    assert moved.next_after(first, first) == first + 3_600_000
    assert first - START <= 3_600_000


def test_an_early_instant_has_a_next_one():
    assert shifted(parse_rule("0 0 1 1 *"), DAY).next_after(0, 0) == DAY  # 1970 begins with an occurrence


def test_a_rule_that_never_occurs_stays_so():
    never = parse_rule("* 3 25-31 3 */7", "Europe/Riga")  # an hour that the last Sunday of March skips

    assert shifted(never, 1_000).next_after(START, 0) is None


def test_equal_shifts_of_equal_rules_are_one_and_compare():
    rule = parse_rule("@daily")

    assert shifted(rule, 5) is shifted(rule, 5)
    assert shifted(rule, 5) != shifted(rule, 6)
    assert shifted(rule, 5) != rule
    assert shifted(rule, 0) is rule
    assert (shifted(rule, 5).text, shifted(rule, 5).timezone, shifted(rule, 5).shift_ms) == ("@daily", "UTC", 5)
    assert rule.shift_ms == parse_rule("@every 5s").shift_ms == 0


def test_a_period_is_not_shifted():
    """It counts from its first occurrence, so a shift of the rule would change nothing."""
    with pytest.raises(RecurrenceError, match=r"^@every 5s cannot be shifted; give it a later first due time$"):
        shifted(parse_rule("@every 5s"), 1_000)
