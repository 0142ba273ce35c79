"""The contract on the wire: which records are schedules, which are not and why, and what is written back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import wire
from scheduler.instants import LATEST_MS, parse_instant
from scheduler.recurrence import parse_rule
from scheduler.schedule import PAUSE_KEY, Cancel, Misfire, Outcome, Pause, Reason, Rejected, Schedule

STAMPED_MS = 1_800_000_000_123
"""The Kafka timestamp of the records below: 2027-01-15T08:00:00.123Z."""
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
DUE = ("scheduler-epoch", b"1893456000")
DUE_MS = 1_893_456_000_000
TARGET = ("scheduler-target-topic", b"orders")


def decode(*headers, key=b"k", value=b"v", timestamp_ms=STAMPED_MS, offset=7):
    return wire.decode(key, value, list(headers), timestamp_ms=timestamp_ms, offset=offset)


def schedule(*headers, **record):
    fact = decode(*headers, **record)
    assert isinstance(fact, Schedule), fact
    return fact


def refused(*headers, **record):
    """The reason and the sentence of a record that is no schedule."""
    fact = decode(*headers, **record)
    assert isinstance(fact, Rejected), fact
    return fact.reason, fact.detail


def due_ms(*headers, **record):
    return schedule(TARGET, *headers, **record).due_ms


# ---------------------------------------------------------------- names


def test_the_header_names_are_those_of_etf1():
    """Records that etf1's clients write are read, and its consumers find what they look for."""
    assert (
        wire.EPOCH,
        wire.TARGET_TOPIC,
        wire.TARGET_KEY,
    ) == ("scheduler-epoch", "scheduler-target-topic", "scheduler-target-key")
    assert (wire.TIMESTAMP, wire.KEY, wire.TOPIC) == ("scheduler-timestamp", "scheduler-key", "scheduler-topic")


def test_a_record_of_an_etf1_client_is_a_one_shot_schedule():
    found = schedule(
        ("scheduler-epoch", b"1893456000"),
        ("scheduler-target-topic", b"orders"),
        ("scheduler-target-key", b"order-17"),
        ("customer", b"acme"),
        key=b"remind-17",
        value=b'{"id":17}',
        offset=42,
    )

    assert found == Schedule(
        key=b"remind-17",
        value=b'{"id":17}',
        due_ms=1_893_456_000_000,
        target_topic="orders",
        target_key=b"order-17",
        target_partition=None,
        headers=[("customer", b"acme")],
        own_headers=[
            ("scheduler-epoch", b"1893456000"),
            ("scheduler-target-topic", b"orders"),
            ("scheduler-target-key", b"order-17"),
        ],
        timestamp_ms=STAMPED_MS,
        offset=42,
        rule=None,
        misfire=Misfire.FIRE,
        grace_ms=None,
        replaces=None,
    )


# ---------------------------------------------------------------- key and value


@pytest.mark.parametrize("value", [b"", b"\x00\xff", b"x" * 2_000_000])
def test_the_payload_is_kept_byte_for_byte(value):
    assert value == schedule(DUE, TARGET, value=value).value


@pytest.mark.parametrize("key", [b"\xff\xfe", b" ", b"k" * 1_000_000])
def test_any_key_with_a_byte_in_it_is_an_id(key):
    assert key == schedule(DUE, TARGET, key=key).key


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_is_refused(key):
    assert refused(DUE, TARGET, key=key) == (Reason.MISSING_KEY, "the record has no key; the key is the schedule id")


def test_a_null_value_without_a_key_is_refused():
    assert refused(key=None, value=None)[0] is Reason.MISSING_KEY


def test_the_tombstone_that_answers_an_empty_key_is_not_refused_again():
    """Otherwise each tombstone would be answered by another one, for ever."""
    answer = wire.tombstone_headers(7, Outcome.REJECTED)

    assert Cancel(b"", 8, STAMPED_MS, replaces=7) == decode(*answer, key=b"", value=None, offset=8)


@pytest.mark.parametrize("headers", [None, [], [DUE, TARGET], [("scheduler-nonsense", b"x")], [("x", None)]])
def test_a_null_value_is_a_cancel_whatever_its_headers_say(headers):
    assert Cancel(b"k", 7, STAMPED_MS) == wire.decode(b"k", None, headers, timestamp_ms=STAMPED_MS, offset=7)


def test_a_tombstone_of_the_scheduler_says_which_version_it_ends():
    assert Cancel(b"k", 7, STAMPED_MS, replaces=3) == decode(*wire.tombstone_headers(3, Outcome.FIRED), value=None)


@pytest.mark.parametrize(
    "raw", [b"", None, b"-1", b"x", b"1.0", b"\xff", "\N{FULLWIDTH DIGIT ONE}".encode(), b"9" * 30]
)
@pytest.mark.parametrize("value", [None, b"v"])
def test_replaces_must_be_an_offset(raw, value):
    reason, detail = refused(DUE, TARGET, ("scheduler-replaces", raw), value=value)

    assert reason is Reason.BAD_REPLACES
    assert "scheduler-replaces" in detail


# ---------------------------------------------------------------- scheduler-epoch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1893456000", DUE_MS),
        ("1893456000.250", DUE_MS + 250),
        ("1893456000.25", DUE_MS + 250),
        ("1893456000.2", DUE_MS + 200),
        ("1893456000.001", DUE_MS + 1),
        ("1893456000.000", DUE_MS),
        ("0001893456.5", 1_893_456_500),
        ("0", 0),
        ("2147483648", 2_147_483_648_000),  # past 32 bits
        ("253402300799.999", 253_402_300_799_999),  # the last millisecond of 9999
    ],
)
def test_epoch_is_unix_seconds_with_up_to_three_decimals(text, expected):
    assert expected == due_ms(("scheduler-epoch", text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "-0", "1.", ".5", "1.2345", "1,5", "1e9", "0x10", "1_000", "NaN", "inf", "Infinity"),
        *(" 1893456000", "1893456000 ", "1893456000\n", "1893456000s", "2030-01-01T00:00:00Z"),
        *("１８９３４５６０００", "١٢٣", "1893456000.２"),  # noqa: RUF001 - digits that are not ASCII are the case
        "1893456000000",  # milliseconds
        "253402300800",  # the year 10000
        *(str(2**53), str(2**63 - 1), "1" + "0" * 30, "9" * 5_000),
    ],
)
def test_other_epochs_are_refused_by_name(text):
    reason, detail = refused(TARGET, ("scheduler-epoch", text.encode()))

    assert reason is Reason.BAD_EPOCH
    assert detail.startswith(f"scheduler-epoch: {text[:40]!r} is not Unix seconds such as 1893456000 or 1893456000.250")


# ---------------------------------------------------------------- scheduler-at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-01T00:00:00Z", DUE_MS),
        ("2030-01-01t00:00:00z", DUE_MS),
        ("2030-01-01 00:00:00Z", DUE_MS),
        ("2030-01-01T02:00:00+02:00", DUE_MS),
        ("2029-12-31T18:30:00-05:30", DUE_MS),
        ("2030-01-01T05:45:00+05:45", DUE_MS),
        ("2030-01-01T00:00:00-00:00", DUE_MS),
        ("2030-01-01T23:59:00+23:59", DUE_MS),
        ("2030-01-01T00:00:00.250Z", DUE_MS + 250),
        ("2030-01-01T00:00:00.2Z", DUE_MS + 200),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2028-02-29T00:00:00Z", 1_835_395_200_000),
        ("9999-12-31T23:59:59.999Z", LATEST_MS),
    ],
)
def test_at_is_an_rfc_3339_instant_with_offset(text, expected):
    assert expected == due_ms(("scheduler-at", text.encode()))


@pytest.mark.parametrize("fraction", ["0001", "0000001", "000000001", "000999999", "001"])
def test_a_fraction_finer_than_a_millisecond_is_never_early(fraction):
    assert due_ms(("scheduler-at", f"2030-01-01T00:00:00.{fraction}Z".encode())) == DUE_MS + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T02:59:60+03:00", 1_483_228_800_000),
        ("2016-12-31T23:59:60.5Z", 1_483_228_800_500),
    ],
)
def test_a_leap_second_has_the_number_of_the_next_day_s_first_second(text, expected):
    """So Unix time counts them; and it is not early."""
    assert expected == due_ms(("scheduler-at", text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1893456000", "2030-01-01", "2030-01-01T00:00Z", "2030-01-01T00:00:00", "20300101T000000Z"),
        *("2030-1-1T00:00:00Z", "30-01-01T00:00:00Z", "2030-W01-1T00:00:00Z", "+2030-01-01T00:00:00Z"),
        *("2030-02-30T00:00:00Z", "2029-02-29T00:00:00Z", "2030-13-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        *("2030-01-01T24:00:00Z", "2030-01-01T00:60:00Z", "2030-01-01T00:00:61Z", "2030-01-01T12:00:60Z"),
        *("2030-01-01T00:00:00.Z", "2030-01-01T00:00:00,5Z", "2030-01-01T00:00:00.0000000000Z"),
        *("2030-01-01T00:00:00+24:00", "2030-01-01T00:00:00+00:60", "2030-01-01T00:00:00+0100"),
        *(
            "2030-01-01T00:00:00 Z",
            "2030-01-01T00:00:00Europe/Riga",
            "2030-01-01T00:00:00+1:00",
            "2030-01-01T00:00:00Z\n",
        ),
        *("1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "0001-01-01T00:00:00+23:59"),
        *("9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59.9999Z"),
        "２０３０-01-01T00:00:00Z",  # noqa: RUF001 - digits that are not ASCII are the case
    ],
)
def test_other_instants_are_refused_by_name(text):
    reason, detail = refused(TARGET, ("scheduler-at", text.encode()))

    assert reason is Reason.BAD_AT
    assert detail.startswith(f"scheduler-at: {text[:40]!r} is not an RFC 3339 instant with offset")
    assert "2030-01-01T00:00:00Z" in detail


@given(
    instant=st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001 - the offset is drawn below
    offset_minutes=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    nanoseconds=st.integers(0, 999),
)
def test_an_instant_is_due_at_its_own_millisecond_or_within_the_next(instant, offset_minutes, nanoseconds):
    """Against the standard library, with the digits that it cannot read."""
    west = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    text = f"{instant.isoformat(timespec='microseconds')}{nanoseconds:03d}{west}{hours:02d}:{minutes:02d}"
    microseconds = (
        instant.replace(tzinfo=UTC) - timedelta(minutes=offset_minutes) - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(microseconds=1)
    exact_ns = microseconds * 1_000 + nanoseconds

    assert 0 <= parse_instant(text) * 1_000_000 - exact_ns < 1_000_000


# ---------------------------------------------------------------- scheduler-delay


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        *[("250ms", 250), ("90s", 90 * SECOND), ("15m", 15 * MINUTE), ("2h", 2 * HOUR), ("1d", DAY), ("0s", 0)],
        *[("PT15M", 15 * MINUTE), ("P1DT2H", DAY + 2 * HOUR), ("1h30m", 90 * MINUTE)],
    ],
)
def test_a_delay_counts_from_the_record_s_timestamp(text, milliseconds):
    """So that a restore, whenever it is, computes the same instant."""
    assert STAMPED_MS + milliseconds == due_ms(("scheduler-delay", text.encode()))


@pytest.mark.parametrize("text", ["", "15", "-15m", "1w", "PT-15M", "NaN", "9" * 40 + "d", "１５m"])  # noqa: RUF001
def test_other_delays_are_refused_by_name(text):
    reason, detail = refused(TARGET, ("scheduler-delay", text.encode()))

    assert reason is Reason.BAD_DELAY
    assert detail.startswith(f"scheduler-delay: {text!r} is ")


def test_a_delay_needs_a_timestamp_to_count_from():
    """Kafka says -1 where a record has none; counted from 1970 it would fire at once."""
    reason, detail = refused(TARGET, ("scheduler-delay", b"15m"), timestamp_ms=-1)

    assert (reason, detail) == (Reason.BAD_DELAY, "scheduler-delay: the record has no Kafka timestamp to count from")


def test_a_delay_that_ends_after_the_year_9999_is_refused():
    """A producer chooses the timestamp of its records."""
    assert refused(TARGET, ("scheduler-delay", b"1d"), timestamp_ms=2**62)[0] is Reason.BAD_DELAY
    assert due_ms(("scheduler-delay", b"1d"), timestamp_ms=LATEST_MS - DAY) == LATEST_MS


# ---------------------------------------------------------------- how many due times


@pytest.mark.parametrize("recurring", [[], [("scheduler-cron", b"* * * * *")]])
@pytest.mark.parametrize(
    ("names", "detail"),
    [
        (("epoch", "at"), "scheduler-epoch and scheduler-at: give one of them"),
        (("epoch", "delay"), "scheduler-epoch and scheduler-delay: give one of them"),
        (("at", "delay"), "scheduler-at and scheduler-delay: give one of them"),
        (("epoch", "at", "delay"), "scheduler-epoch and scheduler-at and scheduler-delay: give one of them"),
    ],
)
def test_several_due_times_are_refused(names, detail, recurring):
    value = {"epoch": b"1893456000", "at": b"2030-01-01T00:00:00Z", "delay": b"15m"}
    headers = [(f"scheduler-{name}", value[name]) for name in names]

    assert (Reason.SEVERAL_DUE_TIMES, detail) == refused(TARGET, *headers, *recurring)


def test_a_schedule_without_a_due_time_is_refused():
    expected = "one of scheduler-epoch, scheduler-at, scheduler-delay or scheduler-cron is needed"

    assert (Reason.MISSING_DUE_TIME, expected) == refused(TARGET)


# ---------------------------------------------------------------- the target


@pytest.mark.parametrize("topic", ["orders", "a", "A.b_c-9", "..a", "x" * 249])
def test_a_topic_name_is_a_target(topic):
    assert topic == schedule(DUE, ("scheduler-target-topic", topic.encode())).target_topic


@pytest.mark.parametrize("topic", ["", " ", ".", "..", "a b", "a/b", "a\n", "ünïcode", "x" * 250, "a\x00"])
def test_what_is_no_topic_name_is_refused(topic):
    reason, detail = refused(DUE, ("scheduler-target-topic", topic.encode()))

    assert (Reason.BAD_TARGET, f"scheduler-target-topic: {topic[:60]!r} is not a topic name") == (reason, detail)


def test_the_target_topic_is_required():
    assert refused(DUE) == (Reason.MISSING_TARGET, "scheduler-target-topic is missing")


def test_without_a_target_key_the_message_has_a_null_key():
    assert schedule(DUE, TARGET).target_key is None
    assert schedule(DUE, TARGET, ("scheduler-target-key", None)).target_key is None


@pytest.mark.parametrize("key", [b"", b"\xff\x00", "ключ".encode()])
def test_a_target_key_is_bytes(key):
    assert key == schedule(DUE, TARGET, ("scheduler-target-key", key)).target_key


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("7", 7), (str(2**31 - 1), 2**31 - 1)])
def test_a_target_partition_is_a_number(text, expected):
    assert expected == schedule(DUE, TARGET, ("scheduler-target-partition", text.encode())).target_partition


@pytest.mark.parametrize(
    "raw", [b"", b"-1", b"1.0", b"x", b"2147483648", b"9" * 50, "\N{FULLWIDTH DIGIT ONE}".encode(), None, b" 1"]
)
def test_other_target_partitions_are_refused_by_name(raw):
    reason, detail = refused(DUE, TARGET, ("scheduler-target-partition", raw))

    assert reason is Reason.BAD_PARTITION
    assert detail.startswith("scheduler-target-partition")


# ---------------------------------------------------------------- recurring schedules


def test_without_an_epoch_a_recurring_schedule_is_due_at_its_first_occurrence_after_the_record():
    found = schedule(TARGET, ("scheduler-cron", b"30 9 * * *"))

    assert found.due_ms == 1_800_005_400_000  # 2027-01-15T09:30:00Z
    assert (found.rule.text, found.rule.timezone) == ("30 9 * * *", "UTC")


def test_a_time_zone_moves_the_occurrence():
    found = schedule(TARGET, ("scheduler-cron", b"30 11 * * *"), ("scheduler-timezone", b"Europe/Riga"))

    assert found.due_ms == 1_800_005_400_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (DUE, DUE_MS),
        (("scheduler-at", b"2030-01-01T00:00:00Z"), DUE_MS),
        (("scheduler-delay", b"1h"), STAMPED_MS + HOUR),
    ],
)
def test_a_recurring_schedule_may_say_when_it_begins(header, expected):
    assert expected == due_ms(header, ("scheduler-cron", b"@every 10m"))


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 0 31 2 *",
        "@reboot",
        "@every",
        "@every 1ms",
        "jeden Tag",
        "5-1 * * * *",
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(expression):
    reason, detail = refused(TARGET, ("scheduler-cron", expression.encode()))

    assert reason is Reason.BAD_CRON
    assert detail.startswith("scheduler-cron: ")


@pytest.mark.parametrize("zone", ["Europe/Rigga", "", "../../etc/passwd", "localtime", "+02:00", "x" * 10_000])
@pytest.mark.parametrize("expression", ["* * * * *", "nonsense"])
def test_an_unknown_time_zone_is_refused_by_its_own_name(zone, expression):
    reason, detail = refused(TARGET, ("scheduler-cron", expression.encode()), ("scheduler-timezone", zone.encode()))

    assert reason is Reason.BAD_TIMEZONE
    assert detail.startswith(f"scheduler-timezone: unknown time zone {zone[:64]!r}")


def test_a_time_zone_alone_is_a_mistake():
    assert refused(DUE, TARGET, ("scheduler-timezone", b"UTC")) == (
        Reason.BAD_TIMEZONE,
        "scheduler-timezone without scheduler-cron",
    )


def test_a_shift_makes_every_occurrence_later():
    shifted = schedule(
        TARGET, ("scheduler-cron", b"0 3 * * *"), ("scheduler-shift", b"2m30s"), timestamp_ms=1_893_456_000_000
    )

    assert shifted.due_ms == 1_893_456_000_000 + (3 * 60 + 2) * 60_000 + 30_000
    assert shifted.rule.next_after(shifted.due_ms, shifted.due_ms) == shifted.due_ms + 86_400_000
    assert ("scheduler-shift", b"2m30s") in wire.successor_headers(shifted, shifted.due_ms + 86_400_000, 7)


def test_no_shift_is_a_shift_of_nothing():
    plain = schedule(TARGET, ("scheduler-cron", b"0 3 * * *"))

    assert plain.rule == schedule(TARGET, ("scheduler-cron", b"0 3 * * *"), ("scheduler-shift", b"0s")).rule


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ([DUE, ("scheduler-shift", b"5m")], "scheduler-shift without scheduler-cron"),
        (
            [("scheduler-cron", b"@every 1h"), ("scheduler-shift", b"5m")],
            "scheduler-shift: @every 1h cannot be shifted; give it a later first due time",
        ),
        (
            [("scheduler-cron", b"@daily"), ("scheduler-shift", b"5")],
            "scheduler-shift: '5' is not a duration: write it like",
        ),
    ],
)
def test_a_shift_that_cannot_be_is_refused(headers, detail):
    reason, said = refused(TARGET, *headers)

    assert reason is Reason.BAD_SHIFT
    assert said.startswith(detail)


def test_another_rule_takes_its_own_shift_and_not_the_old_ones():
    shifted = schedule(TARGET, ("scheduler-cron", b"0 3 * * *"), ("scheduler-shift", b"2m"))

    plain = wire.restated(shifted, rule=parse_rule("0 4 * * *"))
    later = wire.restated(plain, rule=shifted.rule)

    assert "scheduler-shift" not in dict(plain.own_headers)
    assert dict(later.own_headers)["scheduler-shift"] == b"2m"
    assert schedule(*later.own_headers).rule == shifted.rule


# ---------------------------------------------------------------- flags

FLAGS = [
    ("scheduler-target-tombstone", "delivers_null", Reason.BAD_TOMBSTONE),
    ("scheduler-paused", "paused", Reason.BAD_PAUSED),
]


@pytest.mark.parametrize(("name", "attribute", "_reason"), FLAGS)
def test_a_flag_is_off_unless_it_says_true(name, attribute, _reason):
    for headers, expected in (([], False), ([(name, b"false")], False), ([(name, b"true")], True)):
        assert getattr(schedule(TARGET, DUE, *headers), attribute) is expected


@pytest.mark.parametrize(("name", "_attribute", "reason"), FLAGS)
@pytest.mark.parametrize("text", ["", "True", "1", "yes", "true "])
def test_a_flag_that_says_neither_is_refused(name, _attribute, reason, text):
    assert refused(TARGET, DUE, (name, text.encode())) == (reason, f"{name}: {text!r} is neither true nor false")


def test_a_record_of_the_pause_key_pauses_whatever_is_in_it_and_a_null_one_ends_the_pause():
    assert decode(key=PAUSE_KEY, value=b"", offset=3) == Pause(on=True, offset=3)
    assert decode(TARGET, DUE, key=PAUSE_KEY, value=b"x", offset=4) == Pause(on=True, offset=4)
    assert decode(key=PAUSE_KEY, value=None, offset=5) == Pause(on=False, offset=5)


# ---------------------------------------------------------------- misfire and grace

CRON = ("scheduler-cron", b"* * * * *")


@pytest.mark.parametrize(
    ("headers", "policy", "grace_ms"),
    [
        ([DUE], Misfire.FIRE, None),
        ([DUE, ("scheduler-misfire", b"fire")], Misfire.FIRE, None),
        ([DUE, ("scheduler-misfire", b"skip")], Misfire.SKIP, None),
        ([DUE, ("scheduler-misfire", b"skip"), ("scheduler-misfire-grace", b"10s")], Misfire.SKIP, 10 * SECOND),
        ([DUE, ("scheduler-misfire-grace", b"0s")], Misfire.FIRE, 0),
        ([CRON], Misfire.ONCE, MINUTE),
        ([CRON, ("scheduler-misfire", b"once")], Misfire.ONCE, MINUTE),
        ([CRON, ("scheduler-misfire", b"all")], Misfire.ALL, MINUTE),
        ([CRON, ("scheduler-misfire", b"skip"), ("scheduler-misfire-grace", b"PT2H")], Misfire.SKIP, 2 * HOUR),
    ],
)
def test_misfire_policy_and_grace_have_the_defaults_of_their_kind(headers, policy, grace_ms):
    found = schedule(TARGET, *headers)

    assert (policy, grace_ms) == (found.misfire, found.grace_ms)


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        *[(DUE, text, "fire, skip") for text in ("once", "all", "", "FIRE", "fire ", "ｓｋｉｐ")],  # noqa: RUF001
        *[(CRON, text, "once, all, skip") for text in ("fire", "never")],
    ],
)
def test_a_policy_of_another_kind_is_refused(kind, text, allowed):
    expected = f"scheduler-misfire: {text!r} is not one of {allowed}"

    assert (Reason.BAD_MISFIRE, expected) == refused(TARGET, kind, ("scheduler-misfire", text.encode()))


@pytest.mark.parametrize("text", ["60", "-1s", "forever", ""])
def test_a_grace_that_is_no_duration_is_refused(text):
    reason, detail = refused(TARGET, DUE, ("scheduler-misfire-grace", text.encode()))

    assert reason is Reason.BAD_MISFIRE
    assert detail.startswith(f"scheduler-misfire-grace: {text!r} is not a duration")


# ---------------------------------------------------------------- headers in general


@pytest.mark.parametrize("name", sorted(wire.STATED))
def test_a_header_of_ours_may_be_there_once(name):
    base = {"scheduler-target-topic": b"orders", "scheduler-epoch": b"1893456000", name: b"1"}
    headers = [*base.items(), (name, b"1")]

    assert (Reason.REPEATED_HEADER, f"{name} is there twice") == refused(*headers)


@pytest.mark.parametrize("name", ["scheduler-epocch", "scheduler-", "scheduler-Epoch", "scheduler-retry"])
def test_an_unknown_header_with_our_prefix_is_refused(name):
    expected = f"{name} is not known; names that begin with scheduler- are reserved"

    assert (Reason.UNKNOWN_HEADER, expected) == refused(DUE, TARGET, (name, b"1"))


def test_a_sentence_does_not_repeat_a_megabyte():
    long = b"9" * 1_000_000
    for name in sorted(wire.STATED - {wire.TARGET_KEY}):
        base = {"scheduler-target-topic": b"orders", "scheduler-epoch": b"1", "scheduler-cron": b"@daily"}
        if name in (wire.AT, wire.DELAY):
            del base["scheduler-epoch"]
        assert len(refused(*(base | {name: long}).items())[1]) < 300
    assert len(refused(DUE, TARGET, ("scheduler-" + "x" * 1_000_000, b""))[1]) < 300


@pytest.mark.parametrize(
    "name", ["Scheduler-Epoch", "SCHEDULER-EPOCH", "scheduler", "xscheduler-epoch", "", "traceparent"]
)
def test_other_names_are_the_customer_s(name):
    assert [(name, b"1")] == schedule(DUE, TARGET, (name, b"1")).headers


def test_the_customer_s_headers_keep_order_repeats_and_bytes():
    customer = [("b", b"1"), ("a", None), ("b", b"\xff"), ("", b"")]
    mixed = [customer[0], DUE, customer[1], customer[2], TARGET, customer[3]]

    assert customer == schedule(*mixed).headers


def test_ten_thousand_headers_are_carried():
    customer = [(f"h{number % 100}", b"%d" % number) for number in range(10_000)]

    assert customer == schedule(DUE, *customer, TARGET).headers


@pytest.mark.parametrize("name", sorted(wire.REPORTED))
def test_what_the_scheduler_reports_says_nothing_on_a_schedule(name):
    """A consumer may send a fired message back with all its headers; junk in them is no mistake either."""
    found = schedule(DUE, TARGET, (name, b"\xff"), (name, None))

    assert (found.headers, found.own_headers) == ([], [DUE, TARGET])


TEXTS = sorted(wire.STATED - {wire.TARGET_KEY, wire.REPLACES})


def _with(name, raw):
    base = {"scheduler-target-topic": b"orders", "scheduler-epoch": b"1893456000"}
    if name in (wire.TIMEZONE, wire.SHIFT):
        base["scheduler-cron"] = b"* * * * *"
    if name in (wire.AT, wire.DELAY):
        del base["scheduler-epoch"]
    return (base | {name: raw}).items()


@pytest.mark.parametrize("name", TEXTS)
def test_a_value_that_is_not_utf8_is_refused_by_name(name):
    assert (Reason.NOT_UTF8, f"{name} is not UTF-8: b'\\xff\\xfe'") == refused(*_with(name, b"\xff\xfe"))


@pytest.mark.parametrize("name", TEXTS)
def test_a_null_value_is_refused_by_name(name):
    reason, detail = refused(*_with(name, None))

    assert detail == f"{name} is null"
    assert reason.value.startswith("bad-")


def test_a_refused_record_keeps_all_it_had():
    headers = [("a", b"1"), ("scheduler-outcome", b"fired"), DUE]

    assert decode(*headers, key=b"k", value=b"v", offset=9) == Rejected(
        key=b"k",
        value=b"v",
        headers=headers,
        offset=9,
        timestamp_ms=STAMPED_MS,
        reason=Reason.MISSING_TARGET,
        detail="scheduler-target-topic is missing",
    )
