"""Recurrence rules: the language, Debian cron's calendar and daylight-saving rules, periods, refusals."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scheduler import recurrence
from scheduler.recurrence import RecurrenceError, parse_rule


def ms(text):
    """Read `2027-03-28T04:00+03:00`."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000


def after(expression, timezone, start, count):
    """The first occurrences after the start, as local times with their offset."""
    rule = parse_rule(expression, timezone)
    zone = ZoneInfo(timezone)
    instant = ms(start)
    found = []
    for _ in range(count):
        instant = rule.next_after(instant, 0)
        found.append(datetime.fromtimestamp(instant / 1_000, zone).isoformat(timespec="minutes"))
    return found


def utc(*times):
    return [f"{time}+00:00" for time in times]


# ---------------------------------------------------------------- the language, where no clock changes

# 2027-01-01 is a Friday, 2028 is a leap year.
LANGUAGE = [
    ("* * * * *", ["2027-01-01T00:01", "2027-01-01T00:02"]),
    ("*/20 * * * *", ["2027-01-01T00:20", "2027-01-01T00:40", "2027-01-01T01:00"]),
    ("7-23/8 * * * *", ["2027-01-01T00:07", "2027-01-01T00:15", "2027-01-01T00:23", "2027-01-01T01:07"]),
    ("58,2-3,2 * * * *", ["2027-01-01T00:02", "2027-01-01T00:03", "2027-01-01T00:58", "2027-01-01T01:02"]),
    ("*/90 * * * *", ["2027-01-01T01:00", "2027-01-01T02:00"]),  # a step past the end leaves the first value
    ("5,* 23 * * *", ["2027-01-01T23:00", "2027-01-01T23:01"]),
    ("09 08 07 06 *", ["2027-06-07T08:09", "2028-06-07T08:09"]),
    ("\t 0   0\t1 * *  ", ["2027-02-01T00:00", "2027-03-01T00:00"]),
    ("0 0 * JAN,Mar-apr mon", ["2027-01-04T00:00", "2027-01-11T00:00"]),
    ("0 0 * * MON-fri/2", ["2027-01-04T00:00", "2027-01-06T00:00", "2027-01-08T00:00"]),
    ("0 0 * * 0", ["2027-01-03T00:00", "2027-01-10T00:00"]),
    ("0 0 * * 7", ["2027-01-03T00:00", "2027-01-10T00:00"]),
    ("0 0 * * sat-7", ["2027-01-02T00:00", "2027-01-03T00:00", "2027-01-09T00:00"]),
    ("0 0 * * 1-7/3", ["2027-01-03T00:00", "2027-01-04T00:00", "2027-01-07T00:00"]),  # Mon, Thu, Sun
    ("0 0 * * */7", ["2027-01-03T00:00", "2027-01-10T00:00"]),
    ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("59 23 31 * *", ["2027-01-31T23:59", "2027-03-31T23:59", "2027-05-31T23:59"]),
    ("0 12 13 * fri", ["2027-01-01T12:00", "2027-01-08T12:00", "2027-01-13T12:00"]),  # either day field
    ("0 12 13 * *", ["2027-01-13T12:00", "2027-02-13T12:00"]),
    ("0 12 * * fri", ["2027-01-01T12:00", "2027-01-08T12:00"]),
    ("0 12 8-14 * */5", ["2027-01-08T12:00", "2027-01-10T12:00", "2027-02-12T12:00"]),  # both: Fri and Sun
    ("0 12 30 2 fri", ["2027-02-05T12:00", "2027-02-12T12:00"]),  # the weekday still comes
    ("@hourly", ["2027-01-01T01:00", "2027-01-01T02:00"]),
    ("@daily", ["2027-01-02T00:00", "2027-01-03T00:00"]),
    ("@midnight", ["2027-01-02T00:00", "2027-01-03T00:00"]),
    ("@weekly", ["2027-01-03T00:00", "2027-01-10T00:00"]),
    ("@monthly", ["2027-02-01T00:00", "2027-03-01T00:00"]),
    ("@yearly", ["2028-01-01T00:00", "2029-01-01T00:00"]),
    (" @annually ", ["2028-01-01T00:00", "2029-01-01T00:00"]),
]


@pytest.mark.parametrize(("expression", "expected"), LANGUAGE)
def test_language(expression, expected):
    assert utc(*expected) == after(expression, "UTC", "2027-01-01T00:00+00:00", len(expected))


def test_a_leap_day_is_left_out_of_2100():
    expected = utc("2096-02-29T12:00", "2104-02-29T12:00")

    assert expected == after("0 12 29 2 *", "UTC", "2095-03-01T00:00+00:00", 2)


def test_the_last_minute_of_a_year_is_followed_by_the_first_of_the_next():
    expected = ["2026-12-31T23:59+13:45", "2027-01-01T00:00+13:45"]

    assert expected == after("* * 31,1 12,1 *", "Pacific/Chatham", "2026-12-31T23:58+13:45", 2)


def test_a_zone_without_shifts_keeps_its_own_midnight():
    expected = ["2027-01-02T00:00+05:45", "2027-01-03T00:00+05:45"]

    assert expected == after("@daily", "Asia/Kathmandu", "2027-01-01T00:00+00:00", 2)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2027-01-01T00:00:00.000+00:00", "2027-01-01T00:01+00:00"),
        ("2027-01-01T00:00:59.999+00:00", "2027-01-01T00:01+00:00"),
        ("2026-12-31T23:59:59.999+00:00", "2027-01-01T00:00+00:00"),
    ],
)
def test_an_occurrence_is_a_whole_minute_strictly_later(instant, expected):
    start = round(datetime.fromisoformat(instant).timestamp() * 1_000)

    assert ms(expected) == parse_rule("* * * * *").next_after(start, 0)


# ---------------------------------------------------------------- daylight saving

SHIFTS = [
    # Riga, 28 March 2027: 03:00+02:00 becomes 04:00+03:00
    (
        "fixed time in the gap: at the first minute after it, not at the same distance from it",
        *("30 3 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-28T04:00+03:00", "2027-03-29T03:30+03:00"],
    ),
    (
        "several fixed times in the gap are one occurrence",
        *("0,10,20 3 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-28T04:00+03:00", "2027-03-29T03:00+03:00"],
    ),
    (
        "made up for and due in the same minute is one occurrence",
        *("0,30 3,4 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-28T04:00+03:00", "2027-03-28T04:30+03:00", "2027-03-29T03:00+03:00"],
    ),
    (
        "fixed time on a date that the gap is on",
        *("30 3 28 3 *", "Europe/Riga", "2027-01-01T00:00+02:00"),
        ["2027-03-28T04:00+03:00", "2028-03-28T03:30+03:00"],
    ),
    (
        "minute star in the gap: nothing",
        *("*/30 3 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-29T03:00+03:00", "2027-03-29T03:30+03:00"],
    ),
    (
        "hour star across the gap: by the clock",
        *("30 */3 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-28T00:30+02:00", "2027-03-28T06:30+03:00"],
    ),
    (
        "no leading star: `0-59/30` is fixed",
        *("0-59/30 3 * * *", "Europe/Riga", "2027-03-28T00:00+02:00"),
        ["2027-03-28T04:00+03:00", "2027-03-29T03:00+03:00"],
    ),
    (
        "a star later in a list does not make a wildcard job",
        *("30 5,* * * *", "Europe/Riga", "2027-03-28T02:00+02:00"),
        ["2027-03-28T02:30+02:00", "2027-03-28T04:00+03:00", "2027-03-28T04:30+03:00"],
    ),
    # Riga, 31 October 2027: 04:00+03:00 becomes 03:00+02:00
    (
        "fixed time in the repeated hour: once, first pass",
        *("30 3 * * *", "Europe/Riga", "2027-10-31T00:00+03:00"),
        ["2027-10-31T03:30+03:00", "2027-11-01T03:30+02:00"],
    ),
    (
        "fixed time, asked between the passes",
        *("30 3 * * *", "Europe/Riga", "2027-10-31T03:00+02:00"),
        ["2027-11-01T03:30+02:00"],
    ),
    (
        "fixed time right after the repeated hour",
        *("0 4 * * *", "Europe/Riga", "2027-10-31T00:00+03:00"),
        ["2027-10-31T04:00+02:00", "2027-11-01T04:00+02:00"],
    ),
    (
        "minute star in the repeated hour: both passes",
        *("*/30 3 * * *", "Europe/Riga", "2027-10-31T00:00+03:00"),
        ["2027-10-31T03:00+03:00", "2027-10-31T03:30+03:00", "2027-10-31T03:00+02:00", "2027-10-31T03:30+02:00"],
    ),
    (
        "an hourly job across the repeated hour",
        *("@hourly", "Europe/Riga", "2027-10-31T02:00+03:00"),
        ["2027-10-31T03:00+03:00", "2027-10-31T03:00+02:00", "2027-10-31T04:00+02:00"],
    ),
    # New York, 12 March 2028: 02:00-05:00 becomes 03:00-04:00; 5 November: 02:00-04:00 becomes 01:00-05:00
    (
        "west of Greenwich, gap",
        *("5 2 * * sun", "America/New_York", "2028-03-11T12:00-05:00"),
        ["2028-03-12T03:00-04:00", "2028-03-19T02:05-04:00"],
    ),
    (
        "west of Greenwich, repeated hour",
        *("59 0,1,2 * * *", "America/New_York", "2028-11-05T00:00-04:00"),
        ["2028-11-05T00:59-04:00", "2028-11-05T01:59-04:00", "2028-11-05T02:59-05:00"],
    ),
    # Lord Howe, 3 October 2027: 02:00+10:30 becomes 02:30+11:00; 4 April 2027: 02:00+11:00 becomes 01:30+10:30
    (
        "half an hour skipped, fixed",
        *("15 2 * * *", "Australia/Lord_Howe", "2027-10-03T00:00+10:30"),
        ["2027-10-03T02:30+11:00", "2027-10-04T02:15+11:00"],
    ),
    (
        "half an hour skipped, wildcard",
        *("*/20 2 * * *", "Australia/Lord_Howe", "2027-10-03T00:00+10:30"),
        ["2027-10-03T02:40+11:00", "2027-10-04T02:00+11:00"],
    ),
    (
        "half an hour repeated, fixed",
        *("15,45 1 * * *", "Australia/Lord_Howe", "2027-04-04T00:00+11:00"),
        ["2027-04-04T01:15+11:00", "2027-04-04T01:45+11:00", "2027-04-05T01:15+10:30"],
    ),
    (
        "half an hour repeated, wildcard",
        *("*/15 1 * * *", "Australia/Lord_Howe", "2027-04-04T01:15+11:00"),
        [
            *("2027-04-04T01:30+11:00", "2027-04-04T01:45+11:00"),
            *("2027-04-04T01:30+10:30", "2027-04-04T01:45+10:30", "2027-04-05T01:00+10:30"),
        ],
    ),
    # Sao Paulo, 15 October 2017: 00:00-03:00 becomes 01:00-02:00; 18 February 2018: 00:00-02:00 becomes 23:00-03:00
    (
        "no midnight: a daily job comes at one",
        *("@daily", "America/Sao_Paulo", "2017-10-14T12:00-03:00"),
        ["2017-10-15T01:00-02:00", "2017-10-16T00:00-02:00"],
    ),
    (
        "midnight repeats the evening before: fixed once",
        *("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00-02:00"),
        ["2018-02-17T23:30-02:00", "2018-02-18T23:30-03:00"],
    ),
    (
        "midnight repeats the evening before: wildcard twice",
        *("*/30 23 * * *", "America/Sao_Paulo", "2018-02-17T23:00-02:00"),
        ["2018-02-17T23:30-02:00", "2018-02-17T23:00-03:00", "2018-02-17T23:30-03:00", "2018-02-18T23:00-03:00"],
    ),
    # St John's, 7 November 2010: 00:01-02:30 becomes 23:01-03:30 of the day before
    (
        "midnight comes twice: fixed once, on the first",
        *("0 0 * * *", "America/St_Johns", "2010-11-06T12:00-02:30"),
        ["2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"],
    ),
    (
        "midnight comes twice: wildcard twice",
        *("0 */12 7 11 *", "America/St_Johns", "2010-11-06T12:00-02:30"),
        ["2010-11-07T00:00-02:30", "2010-11-07T00:00-03:30", "2010-11-07T12:00-03:30"],
    ),
    # Apia, 30 December 2011 does not exist: 24 hours are a clock set anew
    (
        "a skipped day is not made up for",
        *("0 12 * * *", "Pacific/Apia", "2011-12-29T11:00-10:00"),
        ["2011-12-29T12:00-10:00", "2011-12-31T12:00+14:00"],
    ),
    # Casey, 4 October 2020: 00:01+08:00 becomes 03:01+11:00; 14 March 2021: 00:00+11:00 becomes 21:00+08:00
    (
        "a gap of three hours is not made up for",
        *("30 1 * * *", "Antarctica/Casey", "2020-10-03T12:00+08:00"),
        ["2020-10-05T01:30+11:00"],
    ),
    (
        "three repeated hours still count as repeated",
        *("30 22 * * *", "Antarctica/Casey", "2021-03-13T12:00+11:00"),
        ["2021-03-13T22:30+11:00", "2021-03-14T22:30+08:00"],
    ),
    # Vostok, 1 February 1994: 7 hours back
    (
        "seven repeated hours are a clock set anew: twice",
        *("0 20 * * *", "Antarctica/Vostok", "1994-01-31T12:00+07:00"),
        ["1994-01-31T20:00+07:00", "1994-01-31T20:00+00:00"],
    ),
    # Casablanca, 7 February 2027: 03:00+01:00 becomes 02:00+00:00 until Ramadan is over
    (
        "summer time interrupted for Ramadan",
        *("15 2 * * *", "Africa/Casablanca", "2027-02-06T12:00+01:00"),
        ["2027-02-07T02:15+01:00", "2027-02-08T02:15+00:00"],
    ),
]


@pytest.mark.parametrize(
    ("expression", "timezone", "start", "expected"),
    [pytest.param(*case, id=name) for name, *case in SHIFTS],
)
def test_daylight_saving(expression, timezone, start, expected):
    assert expected == after(expression, timezone, start, len(expected))

    rule = parse_rule(expression, timezone)
    for earlier, later in pairwise(map(ms, expected)):
        assert earlier == rule.latest_until(later - 1, ms(start))
        assert later == rule.latest_until(later, ms(start))


# ---------------------------------------------------------------- where croniter 7.0 and cron part ways


def test_trap_an_equal_range_is_one_value_not_every_value():
    assert utc("2027-01-01T05:12", "2027-01-02T05:12") == after("12 5-5 * * *", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-01-01T02:44", "2027-01-02T02:44") == after("44-44 2 * * *", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-01-09T00:00", "2027-02-09T00:00") == after("0 0 9-9 * *", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-08-01T00:00", "2028-08-01T00:00") == after("0 0 1 8-8 *", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-01-04T00:00", "2027-01-11T00:00") == after("0 0 * * mon-1", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-01-03T00:00", "2027-01-10T00:00") == after("0 0 * * 7-7", "UTC", "2027-01-01T00:00Z", 2)


def test_trap_an_equal_range_with_a_step_is_one_value():
    assert utc("2027-01-01T04:46", "2027-01-02T04:46") == after("46 4-4/3 * * *", "UTC", "2027-01-01T00:00Z", 2)
    assert utc("2027-01-01T01:00", "2027-01-01T02:00") == after("0-0/30 * * * *", "UTC", "2027-01-01T00:00Z", 2)


def test_trap_a_reversed_range_is_refused_and_does_not_wrap():
    for expression in ("50-10 * * * *", "0 22-2 * * *", "0 0 28-3 * *", "0 0 1 nov-feb *", "0 0 * * sat-mon"):
        with pytest.raises(RecurrenceError, match="is reversed"):
            parse_rule(expression)


def test_trap_a_day_field_that_starts_with_a_star_means_both_fields():
    saturdays_of_odd_days = utc("2027-01-09T16:00", "2027-01-23T16:00", "2027-02-13T16:00")

    assert saturdays_of_odd_days == after("0 16 */2 * sat", "UTC", "2027-01-01T20:00Z", 3)
    # 1-31/2 names the same days without a star: either field
    assert utc("2027-01-02T16:00", "2027-01-03T16:00") == after("0 16 1-31/2 * sat", "UTC", "2027-01-01T20:00Z", 2)


def test_trap_a_fixed_time_in_the_repeated_hour_occurs_once():
    expected = ["2027-11-07T01:30-04:00", "2027-11-08T01:30-05:00"]

    assert expected == after("30 1 * * *", "America/New_York", "2027-11-07T00:00-04:00", 2)


def test_trap_a_wildcard_hour_gains_no_occurrence_after_a_gap():
    expected = ["2027-03-14T04:00-04:00", "2027-03-14T06:00-04:00"]

    assert expected == after("0 */2 * * *", "America/Toronto", "2027-03-14T00:00-05:00", 2)


def test_trap_a_wildcard_minute_gains_no_occurrence_after_a_gap():
    expected = ["2027-03-15T02:00-04:00"]

    assert expected == after("*/30 2 * * *", "America/Toronto", "2027-03-14T00:00-05:00", 1)


def test_trap_a_wildcard_hour_gains_no_occurrence_after_a_gap_at_midnight():
    expected = ["2027-09-05T06:00-03:00", "2027-09-05T12:00-03:00"]

    assert expected == after("0 */6 * * *", "America/Santiago", "2027-09-04T18:00-04:00", 2)


def test_trap_a_skipped_day_gains_no_occurrence_after_it():
    expected = ["2011-12-31T23:00+14:00"]

    assert expected == after("0 23 * * *", "Pacific/Apia", "2011-12-29T23:00-10:00", 1)


def test_trap_half_hour_shifts_lose_no_occurrence():
    april = ["2027-04-04T06:00+10:30", "2027-04-04T12:00+10:30"]
    october = ["2027-10-03T06:00+11:00", "2027-10-03T12:00+11:00"]

    assert april == after("0 */6 * * *", "Australia/Lord_Howe", "2027-04-04T00:00+11:00", 2)
    assert october == after("0 */6 * * *", "Australia/Lord_Howe", "2027-10-03T00:00+10:30", 2)


def test_trap_a_date_that_never_comes_is_refused():
    for expression in ("0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb */2", "* * 30-31 2-2 *"):
        with pytest.raises(RecurrenceError, match="would never occur"):
            parse_rule(expression)


def test_trap_six_and_seven_fields_are_refused():
    for expression in ("0 0 12 * * *", "0 0 12 * * * 2027"):
        with pytest.raises(RecurrenceError, match="where there are 5"):
            parse_rule(expression)


def test_trap_extensions_are_refused():
    for expression in ("0 0 L * *", "0 0 * * L5", "0 0 * * 5#2", "H * * * *", "R * * * *", "0 0 15W * *"):
        with pytest.raises(RecurrenceError, match="other schedulers' extensions"):
            parse_rule(expression)


# ---------------------------------------------------------------- refusals

REFUSALS = [
    # expression, column, message, hint
    ("", 0, "the rule is empty", "five fields: minute, hour, day of month, month, day of week"),
    ("  ", 2, "the rule is empty", "five fields"),
    ("0 3 * *", 7, "4 fields where there are 5", "five fields"),
    ("0 0 12 * * 1", 11, "6 fields where there are 5", "seconds or years"),
    ("0 0 12 * * 1 2027", 11, "7 fields where there are 5", "@every 10s"),
    ("5/15 * * * *", 1, "minute: a step needs a range, '5/15' has none", "write 5-59/15"),
    ("0 fri * * *", 2, "hour: 'fri' is not a number", None),
    ("0 22-2 * * *", 2, "hour: the range '22-2' is reversed", "write 22-23,0-2"),
    ("0 9,22-0 * * *", 4, "hour: the range '22-0' is reversed", "write 22-23,0"),
    ("0 22-2/2 * * *", 2, "hour: the range '22-2/2' is reversed", "write two ranges"),
    ("0 0 * * fri-sun", 8, "day of week: the range 'fri-sun' is reversed", "write 5-7,0"),
    ("0 0 * * 1#2", 9, "day of week: cannot read '1#2'", "extensions"),
    ("0 0 * * 5L", 9, "day of week: cannot read '5L'", "extensions"),
    ("0 0 LW * *", 4, "day of month: 'LW' is not a number", "extensions"),
    ("0 0 ? * *", 4, "day of month: cannot read '?'", "extensions"),
    ("6~15 0 * * *", 1, "minute: cannot read '6~15'", "extensions"),
    ("0 0 * * friday", 8, "day of week: 'friday' is not one of sun, mon, tue", "write fri"),
    ("0 0 * * mon-friday", 12, "day of week: 'friday' is not one of", "write fri"),
    ("0 0 1 january *", 6, "month: 'january' is not one of jan, feb", "write jan"),
    ("0 0 1 mon *", 6, "month: 'mon' is not one of jan", None),
    ("60 * * * *", 0, "minute: 60 is out of range, 0 to 59", None),
    ("0,1,60 * * * *", 4, "minute: 60 is out of range", None),
    ("0 5-24 * * *", 4, "hour: 24 is out of range, 0 to 23", None),
    ("0 0 0 * *", 4, "day of month: 0 is out of range, 1 to 31", None),
    ("0 0 1 13 *", 6, "month: 13 is out of range, 1 to 12", None),
    ("0 0 * * 8", 8, "day of week: 8 is out of range, 0 to 7", None),
    ("*/0 * * * *", 2, "minute: a step of 0 in '*/0'", "1 or more"),
    ("*/x * * * *", 1, "minute: cannot read '*/x'", "a step /n"),
    ("*5 * * * *", 1, "minute: cannot read '*5'", "a range a-b"),
    ("*-5 * * * *", 1, "minute: cannot read '*-5'", "a range a-b"),
    ("1--2 * * * *", 1, "minute: cannot read '1--2'", "a range a-b"),
    ("1-2-3 * * * *", 3, "minute: cannot read '1-2-3'", "a range a-b"),
    ("-1 * * * *", 0, "minute: cannot read '-1'", "a range a-b"),
    ("1,,2 * * * *", 2, "minute: an empty item in a list", "remove a comma"),
    ("1, 2 * * * *", 0, "a list that ends at '1,'", "write lists without blanks, such as 1,2,3"),
    ("0 3 * * mon ,fri", 12, "a list that ends at ',fri'", "without blanks"),
    ("1,2, * * * *", 4, "minute: an empty item in a list", None),
    ("0 0 30 2 *", 4, "day of month '30' never comes in month '2'", "a day that the month has"),
    ("\N{ARABIC-INDIC DIGIT THREE} * * * *", 0, "minute: cannot read", "the digits 0 to 9"),
    ("1\N{SUPERSCRIPT TWO} * * * *", 1, "minute: cannot read", "the digits 0 to 9"),
    ("0 0 * *\N{NO-BREAK SPACE}*", 9, "4 fields where there are 5", None),
    ("0 0 * * *\n", 9, "day of week: cannot read", None),
    ("@reboot", 0, "unknown rule '@reboot'", "@every 1h"),
    (" @Daily", 1, "unknown rule '@Daily'", "write @daily"),
    ("@fortnightly", 0, "unknown rule '@fortnightly'", "@weekly, @daily"),
    ("@daily 5", 7, "nothing may follow @daily", None),
    ("@every", 6, "@every takes one duration", "1h30m"),
    ("@every 1h 30m", 10, "@every takes one duration", "1h30m"),
    ("@every 15", 7, "'15' is not a duration: write it like", None),
    ("@every -5s", 7, "'-5s' is not a duration", None),
    ("@every 99ms", 7, "a period of 99ms is too short", "the shortest is 100ms"),
    ("0," * 500 + "0 * * * *", 1_000, "the rule is longer than 1000 characters", None),
]


@pytest.mark.parametrize(("expression", "position", "message", "hint"), REFUSALS)
def test_refusals_name_what_where_and_what_instead(expression, position, message, hint):
    with pytest.raises(RecurrenceError) as refusal:
        parse_rule(expression)

    error = refusal.value
    assert message in error.message
    assert position == error.position
    assert hint is None or hint in error.hint
    assert str(error) == (f"{error.message}; {error.hint}" if error.hint else error.message)


@pytest.mark.parametrize("item", ["22-2", "1-0", "23-0", "7/5", "5/15"])
def test_what_a_hint_says_to_write_is_accepted(item):
    with pytest.raises(RecurrenceError) as refusal:
        parse_rule(f"0 {item} * * *")

    parse_rule(f"0 {refusal.value.hint.removeprefix('write ')} * * *")


@pytest.mark.parametrize(
    ("timezone", "hint"),
    [
        ("Europe/Rigga", "did you mean Europe/Riga?"),
        ("europe/riga", "did you mean Europe/Riga?"),
        ("Mars/Olympus", "use an IANA name"),
        ("+03:00", "use an IANA name"),
        ("", "use an IANA name"),
        ("Europe", None),
        ("localtime", None),
        ("../../etc/passwd", None),
        ("/etc/localtime", None),
        ("Europe/Riga\0", None),
        ("x" * 1_000_000, "use an IANA name"),
    ],
)
def test_an_unknown_zone_is_refused_by_name(timezone, hint):
    for expression in ("0 3 * * *", "@daily", "@every 5s"):
        with pytest.raises(RecurrenceError) as refusal:
            parse_rule(expression, timezone)

        assert f"unknown time zone {timezone[:64]!r}" == refusal.value.message
        assert refusal.value.position is None
        assert hint is None or hint in refusal.value.hint


@settings(deadline=None)  # the first example reads the names of the zones
@given(st.text(alphabet="0123456789*/-,# \tLWH?~@abcdefghijmnorstuvy", max_size=24))
@example("@every 1s")
@example("*/5 * * * *")
def test_any_text_gives_a_rule_that_occurs_or_a_recurrence_error(text):
    rule, refusal = parsed_or_refused(text)

    if refusal:
        assert 0 <= refusal.position <= len(text)
    else:
        assert text == rule.text
        assert rule.next_after(0, 0) > 0


def parsed_or_refused(expression, timezone="UTC"):
    try:
        return parse_rule(expression, timezone), None
    except RecurrenceError as refusal:
        return None, refusal


# ---------------------------------------------------------------- rules as values


def test_equal_arguments_share_one_immutable_rule():
    rule = parse_rule("0 3 * * *", "Europe/Riga")

    assert rule is parse_rule("0 3 * * *", "Europe/Riga")
    assert rule.text == "0 3 * * *"
    assert rule.timezone == "Europe/Riga"
    with pytest.raises(AttributeError):
        rule.text = "1 3 * * *"


def test_the_zone_is_utc_unless_given():
    assert parse_rule("@daily").timezone == "UTC"


def test_a_period_counts_from_its_anchor():
    rule = parse_rule("@every 1m30s", "Europe/Riga")
    anchor = 1_800_000_000_123

    assert anchor + 90_000 == rule.next_after(anchor, anchor)
    assert anchor + 90_000 == rule.next_after(anchor + 89_999, anchor)
    assert anchor + 180_000 == rule.next_after(anchor + 90_000, anchor)
    assert anchor == rule.next_after(anchor - 1_000_000, anchor)
    assert anchor == rule.latest_until(anchor + 89_999, anchor)
    assert anchor + 90_000 == rule.latest_until(anchor + 90_000, anchor)


@given(st.integers(100, 10**10), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_period_has_every_instant_between_two_occurrences(period, anchor, passed):
    rule = parse_rule(f"@every {period}ms")
    latest = rule.latest_until(anchor + passed, anchor)

    assert (latest - anchor) % period == 0
    assert latest <= anchor + passed < latest + period
    assert latest + period == rule.next_after(anchor + passed, anchor)


def test_cron_rules_ignore_the_anchor_when_asked_for_the_next():
    rule = parse_rule("0 3 * * *")

    assert rule.next_after(0, 0) == rule.next_after(0, 12_345) == ms("1970-01-01T03:00+00:00")


@pytest.mark.parametrize("expression", ["* * * * *", "@every 1m"])
def test_the_latest_needs_an_anchor_that_is_not_later(expression):
    with pytest.raises(ValueError, match=r"anchor 61 is later than the instant 60"):
        parse_rule(expression).latest_until(60, 61)


def test_the_latest_is_the_anchor_where_nothing_followed_it():
    """An anchor off the calendar, such as a first due time given by hand, is an occurrence too."""
    anchor = ms("2027-01-01T17:23+00:00")

    assert anchor == parse_rule("0 3 * * *").latest_until(ms("2027-01-02T02:59+00:00"), anchor)


def test_a_rule_that_always_falls_into_a_gap_has_no_next():
    """In the EU the last Sunday of March has no hour from 03:00 in Riga, and a wildcard job follows the clock."""
    rule = parse_rule("* 3 25-31 3 */7", "Europe/Riga")

    assert rule.next_after(ms("2027-01-01T00:00+00:00"), 0) is None


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "@every 1s"])
def test_instants_beyond_the_calendar_are_answered_not_refused(expression):
    rule = parse_rule(expression, "America/New_York")

    assert rule.next_after(10**18, 0) is None
    assert rule.next_after(-(10**18), 0) >= 0
    assert rule.latest_until(10**15, 10**15 - 1) >= 10**15 - 1


def test_shifts_are_found_however_time_is_cut_into_blocks(monkeypatch):
    """Blocks that begin inside the repeated hour must know that it is a repeat."""
    start, end = ms("2027-10-30T12:00+00:00"), ms("2027-11-01T12:00+00:00")
    rule = parse_rule("5-59/10 0-23 * * *", "Europe/Riga")
    expected = list(occurrences(rule, start, end))
    try:
        for minutes in range(185, 300, 5):
            monkeypatch.setattr(recurrence, "_DAY", minutes * 60)
            monkeypatch.setattr(recurrence, "_BLOCK", minutes * 60)
            recurrence._stretches.cache_clear()

            assert expected == list(occurrences(rule, start, end))
    finally:
        recurrence._stretches.cache_clear()


# ---------------------------------------------------------------- against independent walkers


def occurrences(rule, start, end):
    """Yield the rule's occurrences in (start, end]."""
    found = rule.next_after(start, 0)
    while found is not None and found <= end:
        yield found
        found = rule.next_after(found, 0)


no_deadline = settings(deadline=None)  # the first example in a zone also finds its shifts

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@st.composite
def items(draw, low, high, favourites):
    """One item of a field, and the values that it stands for."""
    kind = draw(st.sampled_from(["value", "value", "range", "step", "star", "star step"]))
    value = st.one_of(st.sampled_from(favourites), st.integers(low, high)) if favourites else st.integers(low, high)
    step = draw(st.integers(1, 20))
    first, last = sorted((draw(value), draw(value)))
    return {
        "value": (f"{first}", {first}),
        "range": (f"{first}-{last}", set(range(first, last + 1))),
        "step": (f"{first}-{last}/{step}", set(range(first, last + 1, step))),
        "star": ("*", set(range(low, high + 1))),
        "star step": (f"*/{step}", set(range(low, high + 1, step))),
    }[kind]


@st.composite
def crontab_fields(draw, favourites):
    """Five fields as text, and five sets of values (Sunday is 0)."""
    texts, sets = [], []
    for (low, high), liked in zip(BOUNDS, favourites, strict=True):
        chosen = draw(st.lists(items(low, high, liked), min_size=1, max_size=3))
        if draw(st.booleans()) and (low, high) in BOUNDS[2:]:
            chosen = [("*", set(range(low, high + 1)))]
        texts.append(",".join(text for text, _ in chosen))
        sets.append(set().union(*(values for _, values in chosen)))
    sets[4] = {value % 7 for value in sets[4]}
    return texts, sets


def day_matches(texts, sets, day):
    """Debian cron's rule of the two day fields."""
    if day.month not in sets[3]:
        return False
    by_date, by_weekday = day.day in sets[2], day.isoweekday() % 7 in sets[4]
    if texts[2].startswith("*") or texts[4].startswith("*"):
        return by_date and by_weekday
    return by_date or by_weekday


# A zone and a day on which its wall clock jumps (or does not); walked from two days before to two days after.
JUMPS = [
    *(("Europe/Riga", date(2027, 3, 28)), ("Europe/Riga", date(2027, 10, 31))),
    *(("America/New_York", date(2028, 3, 12)), ("America/New_York", date(2028, 11, 5))),
    *(("Australia/Lord_Howe", date(2027, 4, 4)), ("Australia/Lord_Howe", date(2027, 10, 3))),
    *(("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Apia", date(2012, 4, 1))),
    *(("America/Sao_Paulo", date(2017, 10, 15)), ("America/Sao_Paulo", date(2018, 2, 18))),
    *(("Africa/Casablanca", date(2027, 2, 7)), ("Africa/Casablanca", date(2027, 3, 14))),
    *(("Antarctica/Casey", date(2020, 10, 4)), ("Antarctica/Casey", date(2021, 3, 14))),
    *(("Antarctica/Vostok", date(1994, 2, 1)), ("Antarctica/Vostok", date(1994, 11, 1))),
    *(("America/St_Johns", date(2010, 3, 14)), ("America/St_Johns", date(2010, 11, 7))),
    *(("Antarctica/Troll", date(2027, 3, 28)), ("Antarctica/Troll", date(2027, 10, 31))),
    *(("Asia/Kathmandu", date(1986, 1, 1)), ("Pacific/Chatham", date(2027, 9, 26))),
    *(("UTC", date(2027, 12, 31)), ("Asia/Damascus", date(1977, 9, 1))),
]


@cache
def wall_minutes(timezone, day):
    """For each UTC minute around the day: its Unix minute, and the wall clock's minutes since 1970."""
    zone = ZoneInfo(timezone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    first = int((noon - timedelta(days=2)).timestamp()) // 60
    walked = []
    for minute in range(first, first + 4 * 1440):
        offset = datetime.fromtimestamp(minute * 60, zone).utcoffset()
        walked.append((minute, (minute * 60 + int(offset.total_seconds())) // 60))
    return walked


@cache
def wall_parts(wall):
    shown = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=wall)
    return shown.minute, shown.hour, shown.date()


def debian_cron(texts, sets, walked):
    """Yield Unix minutes in which Debian cron's loop would start the job, given minutes from a quiet start.

    `virtual` is the wall clock's minute up to which all is done. The difference of the clock to it tells an
    ordinary minute, a small or medium jump, a repeat, and a clock set anew apart.
    """
    wildcard = texts[0].startswith("*") or texts[1].startswith("*")
    days = {}

    def matches(wall):
        minute, hour, day = wall_parts(wall)
        if minute not in sets[0] or hour not in sets[1]:
            return False
        if day not in days:
            days[day] = day_matches(texts, sets, day)
        return days[day]

    virtual = walked[0][1]
    for unix_minute, wall in walked[1:]:
        ahead = wall - virtual
        if ahead == 1 or ahead > 180 or ahead <= -180:
            due, virtual = matches(wall), wall
        elif ahead > 5:
            due = matches(wall) if wildcard else any(map(matches, range(virtual + 1, wall + 1)))
            virtual = wall
        elif ahead > 0:
            due, virtual = any(map(matches, range(virtual + 1, wall + 1))), wall
        else:
            due = wildcard and matches(wall)
        if due:
            yield unix_minute


@st.composite
def jump_cases(draw):
    timezone, day = draw(st.sampled_from(JUMPS))
    around = [day + timedelta(days=shift) for shift in (-1, 0, 1)]
    favourites = (
        [0, 1, 15, 30, 59],
        [0, 1, 2, 3, 4, 21, 22, 23],
        [near.day for near in around],
        [near.month for near in around],
        [near.isoweekday() for near in around],
    )
    return timezone, day, draw(crontab_fields(favourites))


@no_deadline
@given(jump_cases(), st.data())
def test_occurrences_around_a_jump_are_debian_crons(case, data):
    timezone, day, (texts, sets) = case
    walked = wall_minutes(timezone, day)
    expected = [minute * 60_000 for minute in debian_cron(texts, sets, walked)]
    assume(expected)
    rule = parse_rule(" ".join(texts), timezone)

    assert expected == list(occurrences(rule, walked[0][0] * 60_000, walked[-1][0] * 60_000))

    instant = data.draw(st.integers(expected[0], walked[-1][0] * 60_000))
    assert max(found for found in expected if found <= instant) == rule.latest_until(instant, expected[0])


def test_the_walker_sees_jumps():
    """The property above would be empty if the days held no jump."""
    for timezone, day in JUMPS:
        steps = {later[1] - earlier[1] for earlier, later in pairwise(wall_minutes(timezone, day))}

        assert (timezone == "UTC") == (steps == {1}), (timezone, day)


@no_deadline
@given(
    crontab_fields(([], [], [29, 30, 31], [2], [])),
    st.dates(date(1971, 1, 1), date(2110, 1, 1)),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "Asia/Kolkata", "Etc/GMT+7"]),
)
def test_occurrences_by_day_are_the_calendars(fields, day, minute, timezone):
    """Walks days, where the zone has no jumps: the first day that matches has the next occurrence."""
    texts, sets = fields
    times = sorted(hour * 60 + minute for hour in sets[1] for minute in sets[0])
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)) + timedelta(minutes=minute)
    today_later = [time for time in times if time > minute] if day_matches(texts, sets, day) else []
    days = (day + timedelta(days=ahead) for ahead in range(1, 3000))
    if today_later:
        found, time = day, today_later[0]
    else:
        found, time = next((near for near in days if day_matches(texts, sets, near)), None), times[0]
    assume(found)
    rule = parse_rule(" ".join(texts), timezone)
    expected = datetime(found.year, found.month, found.day, tzinfo=ZoneInfo(timezone)) + timedelta(minutes=time)

    instant = int(start.timestamp()) * 1_000
    assert int(expected.timestamp()) * 1_000 == rule.next_after(instant, 0)


@no_deadline
@given(
    crontab_fields(([], [0, 1, 2, 3, 23], [1, 29, 31], [2, 3, 10], [0, 7])),
    st.sampled_from([timezone for timezone, _ in JUMPS]),
    st.integers(0, 4_000_000_000_000),
    st.integers(0, 400 * 86_400_000),
)
def test_the_latest_is_the_last_of_the_repeated_next(fields, timezone, start, passed):
    texts, _ = fields
    rule, refusal = parsed_or_refused(" ".join(texts), timezone)
    if refusal:
        assert "would never occur" in refusal.message
        return
    anchor = rule.next_after(start, 0)
    assume(anchor is not None)
    last, instant = anchor, anchor + passed
    for _ in range(500):
        following = rule.next_after(last, 0)
        if following is None or following > instant:
            break
        last = following
    else:
        instant = last  # enough walked; ask at the occurrence reached

    assert last == rule.latest_until(instant, anchor)
