"""Durations: what people write, in milliseconds, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.durations import MAX_DURATION_MS, format_duration, parse_duration

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("250ms", 250),
        ("90s", 90 * SECOND),
        ("15m", 15 * MINUTE),
        ("2h", 2 * HOUR),
        ("1d", DAY),
        ("0s", 0),
        ("007s", 7 * SECOND),
        ("1h30m", 90 * MINUTE),
        ("1d2h3m4s5ms", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + 5),
        ("1m5ms", MINUTE + 5),
        ("1.5h", 90 * MINUTE),
        ("0.001s", 1),
        ("PT15M", 15 * MINUTE),
        ("P1D", DAY),
        ("P1DT2H", DAY + 2 * HOUR),
        ("PT0.5S", 500),
        ("PT1H2M3.004S", HOUR + 2 * MINUTE + 3 * SECOND + 4),
        ("PT90M", 90 * MINUTE),
        ("36500d", MAX_DURATION_MS),
    ],
)
def test_reads(text, milliseconds):
    assert milliseconds == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "15", "0", "m", "15 m", " 15m", "15m ", "15m\n"),
        *("-15m", "+15m", "1h-30m", "PT-15M", "-PT15M"),
        *("30m1h", "1h1h", "5ms1s", "1w", "1y", "1.h", ".5h", "1,5h", "1e3s", "1_000s"),
        *("15M", "2H", "pt15m", "15min", "2 hours", "1us", "1\N{MICRO SIGN}s"),
        *("P", "PT", "P1DT", "PT1", "P15M", "P1M", "P1Y", "P1W", "PT1D", "PT1.5H", "PT0,5S", "PT1S1M", "P1D2H"),
        *("\N{ARABIC-INDIC DIGIT FIVE}s", "\N{FULLWIDTH DIGIT ONE}h", "1" * 65 + "s"),
    ],
)
def test_refuses_and_says_what_is_accepted(text):
    with pytest.raises(ValueError, match=r"is not a duration: write it like 250ms, 90s, .* PT15M"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36500d1ms", "36501d", "P36501D", "9" * 60 + "ms"])
def test_refuses_more_than_a_hundred_years(text):
    with pytest.raises(ValueError, match=r"is over 100 years"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0.5ms", "0.0001s", "PT0.0005S", "0.00000001d"])
def test_refuses_what_milliseconds_cannot_hold(text):
    with pytest.raises(ValueError, match=r"is finer than a millisecond"):
        parse_duration(text)


def test_a_refusal_quotes_a_long_text_only_in_part():
    with pytest.raises(ValueError, match=r"^'x{64}\.\.\.' is not") as refusal:
        parse_duration("x" * 1_000_000)

    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (250, "250ms"),
        (90 * SECOND, "1m30s"),
        (90 * MINUTE, "1h30m"),
        (DAY, "1d"),
        (DAY + 1, "1d1ms"),
        (400 * DAY, "400d"),
    ],
)
def test_writes(milliseconds, text):
    assert text == format_duration(milliseconds)


def test_writes_no_negative_duration():
    with pytest.raises(ValueError, match=r"-1 ms is not a duration"):
        format_duration(-1)


@given(st.integers(0, MAX_DURATION_MS))
def test_what_is_written_reads_back_as_the_same(milliseconds):
    assert milliseconds == parse_duration(format_duration(milliseconds))


@given(st.text(alphabet="0159.PTDHMSdhms- ", max_size=12))
def test_any_text_gives_a_duration_or_a_value_error(text):
    try:
        milliseconds = parse_duration(text)
    except ValueError:
        return

    assert 0 <= milliseconds <= MAX_DURATION_MS
