"""What the scheduler and its clients write is read back as it was meant, and no record at all raises."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scheduler import wire
from scheduler.durations import MAX_DURATION_MS, format_duration
from scheduler.instants import LATEST_MS, epoch_ms, format_epoch
from scheduler.schedule import PAUSE_KEY, Misfire, Outcome, Reason, Rejected, Schedule

STAMPED_MS = 1_800_000_000_123
"""The Kafka timestamp of the records below: 2027-01-15T08:00:00.123Z."""
DUE = ("scheduler-epoch", b"1893456000")
DUE_MS = 1_893_456_000_000
TARGET = ("scheduler-target-topic", b"orders")


def decode(*headers, key=b"k", value=b"v", timestamp_ms=STAMPED_MS, offset=7):
    return wire.decode(key, value, list(headers), timestamp_ms=timestamp_ms, offset=offset)


def schedule(*headers, **record):
    fact = decode(*headers, **record)
    assert isinstance(fact, Schedule), fact
    return fact


# ---------------------------------------------------------------- what is written


def test_a_fired_message_carries_the_customer_s_headers_and_where_it_comes_from():
    found = schedule(("a", b"1"), ("scheduler-epoch", b"1893456000.250"), TARGET, ("a", None), key=b"remind-17")

    assert wire.fired_headers(found, wire.said_of(found, b"schedules", found.due_ms)) == [
        ("a", b"1"),
        ("a", None),
        ("scheduler-timestamp", b"1800000000"),
        ("scheduler-key", b"remind-17"),
        ("scheduler-topic", b"schedules"),
        ("scheduler-epoch", b"1893456000.250"),
        ("scheduler-fire-id", b"remind-17@1893456000250"),
    ]


def test_every_copy_of_an_occurrence_has_the_same_fire_id():
    first = schedule(DUE, TARGET, ("scheduler-cron", b"@hourly"), offset=3)
    copy = schedule(*wire.successor_headers(first, first.due_ms, 3), offset=9, timestamp_ms=STAMPED_MS + 5)

    assert first.fire_id == copy.fire_id == "k@1893456000000"


def test_the_history_states_the_schedule_its_outcome_and_its_lateness():
    found = schedule(
        ("a", b"1"), ("scheduler-delay", b"1h"), TARGET, ("scheduler-target-key", b"t"), ("scheduler-replaces", b"2")
    )
    written = wire.history_headers(
        found,
        wire.said_of(found, b"schedules", DUE_MS),
        Outcome.UNDELIVERABLE,
        lateness_ms=42,
        reason=Reason.UNKNOWN_TOPIC,
        detail="there is no topic orders",
    )

    assert written == [
        ("a", b"1"),
        ("scheduler-target-topic", b"orders"),
        ("scheduler-target-key", b"t"),
        ("scheduler-timestamp", b"1800000000"),
        ("scheduler-key", b"k"),
        ("scheduler-topic", b"schedules"),
        ("scheduler-epoch", b"1893456000"),
        ("scheduler-fire-id", b"k@1893456000000"),
        ("scheduler-outcome", b"undeliverable"),
        ("scheduler-lateness-ms", b"42"),
        ("scheduler-reason", b"unknown-target-topic"),
        ("scheduler-reason-detail", b"there is no topic orders"),
    ]


def test_a_refusal_in_the_history_shows_the_record_as_it_was_and_why():
    """What only the scheduler may say is not taken from the record."""
    record = [("a", b"1"), ("scheduler-epoch", b"soon"), TARGET, ("scheduler-outcome", b"fired")]

    assert [
        ("a", b"1"),
        ("scheduler-epoch", b"soon"),
        TARGET,
        ("scheduler-timestamp", b"1800000000"),
        ("scheduler-key", b"k"),
        ("scheduler-topic", b"schedules"),
        ("scheduler-outcome", b"rejected"),
        ("scheduler-reason", b"bad-epoch"),
        ("scheduler-reason-detail", decode(*record).detail.encode()),
    ] == wire.rejected_headers(decode(*record), "schedules")


@pytest.mark.parametrize(
    ("instant_ms", "text"),
    [
        (0, b"0"),
        (1, b"0.001"),
        (DUE_MS, b"1893456000"),
        (DUE_MS + 50, b"1893456000.050"),
        (DUE_MS + 999, b"1893456000.999"),
    ],
)
def test_an_epoch_is_written_with_milliseconds_only_where_there_are_any(instant_ms, text):
    """etf1's consumers read whole seconds."""
    assert text == format_epoch(instant_ms)


@given(st.integers(0, LATEST_MS))
def test_an_epoch_is_read_back_as_it_was_written(instant_ms):
    assert instant_ms == epoch_ms(format_epoch(instant_ms).decode())


# ---------------------------------------------------------------- there and back

KEYS = st.binary(min_size=1, max_size=20).filter(lambda key: key != PAUSE_KEY)
INSTANTS = st.integers(0, LATEST_MS)
CUSTOMER_HEADERS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
            lambda name: not name.startswith("scheduler-")
        ),
        st.none() | st.binary(max_size=8),
    ),
    max_size=4,
)
RECURRENCES = st.sampled_from(
    [("*/5 * * * *", "Europe/Riga"), ("@every 90s", None), ("@daily", "UTC"), ("0 3 * * mon", None)]
)
DURATIONS = st.integers(0, MAX_DURATION_MS).map(format_duration)


@st.composite
def stated(draw):
    """Arguments of `schedule_headers` for any sound schedule."""
    arguments = {
        "target_topic": draw(st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)),
        "target_key": draw(st.none() | st.binary(max_size=8)),
        "target_partition": draw(st.none() | st.integers(0, 2**31 - 1)),
        "misfire_grace": draw(st.none() | DURATIONS),
        "target_tombstone": draw(st.booleans()),
        "paused": draw(st.booleans()),
        "headers": draw(CUSTOMER_HEADERS),
    }
    when = draw(st.sampled_from(["due", "delay", "cron", "cron and due"]))
    if "due" in when:
        arguments["due_ms"] = draw(INSTANTS)
    if when == "delay":
        arguments["delay"] = draw(DURATIONS)
    recurring = "cron" in when
    if recurring:
        arguments["cron"], arguments["timezone"] = draw(RECURRENCES)
    policies = [Misfire.ONCE, Misfire.ALL, Misfire.SKIP] if recurring else [Misfire.FIRE, Misfire.SKIP]
    arguments["misfire"] = draw(st.none() | st.sampled_from(policies))
    return arguments


@given(arguments=stated(), key=KEYS, value=st.binary(max_size=20))
def test_what_a_client_writes_is_read_as_it_was_meant(arguments, key, value):
    found = schedule(*wire.schedule_headers(**arguments), key=key, value=value)

    for name in ("target_topic", "target_key", "target_partition", "headers"):
        assert arguments[name] == getattr(found, name)
    assert (key, value) == (found.key, found.value)
    assert (arguments["target_tombstone"], arguments["paused"]) == (found.delivers_null, found.paused)
    if "due_ms" in arguments:
        assert arguments["due_ms"] == found.due_ms
    if "cron" in arguments:
        assert (arguments["cron"], arguments["timezone"] or "UTC") == (found.rule.text, found.rule.timezone)
    else:
        assert found.rule is None
    if arguments["misfire"] is not None:
        assert arguments["misfire"] is found.misfire


@given(arguments=stated(), due=INSTANTS, replaces=st.integers(0, 2**47), new_timestamp=st.integers(0, LATEST_MS))
def test_a_successor_is_the_same_schedule_at_the_given_time(arguments, due, replaces, new_timestamp):
    """Whatever the record's own timestamp is by then: a relative delay would have moved."""
    first = schedule(*wire.schedule_headers(**arguments))
    headers = wire.successor_headers(first, due, replaces)
    second = schedule(*headers, key=first.key, value=first.value, timestamp_ms=new_timestamp, offset=replaces + 1)

    assert (due, replaces) == (second.due_ms, second.replaces)
    for name in (
        "key",
        "value",
        "target_topic",
        "target_key",
        "target_partition",
        "headers",
        "rule",
        "misfire",
        "grace_ms",
        "delivers_null",
        "paused",
    ):
        assert getattr(first, name) == getattr(second, name)
    assert headers == wire.successor_headers(second, due, replaces), "and so on, without growing"


@given(arguments=stated(), due=INSTANTS)
def test_a_fired_message_sent_back_as_a_schedule_is_understood(arguments, due):
    """Its own `scheduler-epoch` is then the due time; what else it reports is dropped."""
    assume("delay" not in arguments)
    first = schedule(*wire.schedule_headers(**arguments))
    again = schedule(*wire.fired_headers(first, wire.said_of(first, b"schedules", due)), TARGET)

    assert (due, first.headers) == (again.due_ms, again.headers)


NAMES = st.one_of(
    st.sampled_from(sorted(wire.STATED | wire.REPORTED)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.text(max_size=5).map(lambda text: "scheduler-" + text),
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode),
    st.sampled_from(
        [
            b"1893456000",
            b"1e400",
            b"-1",
            b"NaN",
            b"2030-01-01T00:00:00Z",
            b"0001-01-01T00:00:00+23:59",
            b"P99999D",
            b"1h",
        ]
    ),
    st.sampled_from([b"* * * * *", b"@every 1s", b"0 0 30 2 *", b"Europe/Riga", b"skip", b"all", b"orders", b"3"]),
)


@given(
    key=st.none() | st.binary(max_size=10),
    value=st.none() | st.binary(max_size=10),
    headers=st.none() | st.lists(st.tuples(NAMES, VALUES), max_size=8),
    timestamp_ms=st.integers(-1, 2**63 - 1),
)
def test_no_record_raises(key, value, headers, timestamp_ms):
    """A schedule can be written back and read again; a refusal can be recorded; nothing else comes out."""
    fact = wire.decode(key, value, headers, timestamp_ms=timestamp_ms, offset=1)

    if isinstance(fact, Schedule):
        assert 0 <= fact.due_ms <= LATEST_MS
        again = schedule(*wire.successor_headers(fact, fact.due_ms, 1), key=key, value=value, timestamp_ms=0)
        assert fact.due_ms == again.due_ms
        wire.fired_headers(fact, wire.said_of(fact, b"schedules", fact.due_ms))
    elif isinstance(fact, Rejected):
        assert fact.detail
        written = wire.rejected_headers(fact, "schedules")
        assert ("scheduler-reason", fact.reason.encode()) in written
    else:
        assert value is None or key == PAUSE_KEY
