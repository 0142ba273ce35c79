"""The history as events: what became of which schedule."""

import pytest

from scheduler import wire
from scheduler.history import Filter, HistoryEvent, read_event
from scheduler.schedule import Outcome, Reason, Rejected

DUE_MS = 1_893_456_000_250


class Message:
    """A record as the client hands it out."""

    def __init__(self, headers, key=b"remind-17", value=b"payload", timestamp_ms=DUE_MS + 42):
        self._headers, self._key, self._value, self._timestamp_ms = headers, key, value, timestamp_ms

    def headers(self):
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers

    def key(self):
        return self._key

    def value(self):
        return self._value

    def timestamp(self):
        return (1, self._timestamp_ms)

    def partition(self):
        return 3

    def offset(self):
        return 11


def fired(key=b"remind-17", **said):
    schedule = wire.decode(
        key, b"payload", [("a", b"1"), *wire.schedule_headers("orders", due_ms=DUE_MS)], timestamp_ms=1_000
    )
    return Message(
        wire.history_headers(
            schedule,
            wire.said_of(schedule, b"schedules", DUE_MS),
            **({"outcome": Outcome.FIRED, "lateness_ms": 42} | said),
        ),
        key=key,
    )


def test_an_event_says_what_the_scheduler_recorded():
    assert read_event(fired()) == HistoryEvent(
        at_ms=DUE_MS + 42,
        schedule_id="remind-17",
        outcome="fired",
        due_ms=DUE_MS,
        lateness_ms=42,
        target="orders",
        fire_id="remind-17@1893456000250",
        reason=None,
        detail=None,
        partition=3,
        offset=11,
        value=b"payload",
    )


def test_an_event_for_programs():
    event = read_event(fired(outcome=Outcome.UNDELIVERABLE, reason=Reason.UNKNOWN_TOPIC, detail="no topic orders"))

    assert event.as_json() == {
        "time": "2030-01-01T00:00:00.292Z",
        "schedule_id": "remind-17",
        "outcome": "undeliverable",
        "due": "2030-01-01T00:00:00.250Z",
        "lateness_ms": 42,
        "target_topic": "orders",
        "fire_id": "remind-17@1893456000250",
        "reason": "unknown-target-topic",
        "detail": "no topic orders",
        "partition": 3,
        "offset": 11,
        "payload": "payload",
    }


def test_bytes_that_are_no_text_are_shown_as_bytes():
    event = read_event(fired(key=b"\xff-17"))

    assert (event.schedule_id, event.fire_id) == (r"\xff-17", r"\xff-17@1893456000250")


def test_a_clock_that_jumped_back_shows_a_negative_lateness():
    assert read_event(fired(lateness_ms=-5)).lateness_ms == -5


def test_a_refusal_has_no_due_time_but_a_reason():
    rejected = Rejected(b"k", b"v", [("scheduler-epoch", b"soon")], 1, 1_000, Reason.BAD_EPOCH, "scheduler-epoch: no")
    event = read_event(Message(wire.rejected_headers(rejected, "schedules")))

    assert (event.outcome, event.due_ms, event.lateness_ms, event.fire_id) == ("rejected", None, None, None)
    assert (event.reason, event.detail) == ("bad-epoch", "scheduler-epoch: no")
    assert event.as_json()["due"] is None


@pytest.mark.parametrize("headers", [None, [], [("a", b"1")], UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_a_foreign_record_is_an_event_of_unknown_outcome(headers):
    event = read_event(Message(headers, key=None, value=None))

    assert (event.schedule_id, event.outcome, event.due_ms, event.value) == ("", "unknown", None, None)
    assert event.as_json()["payload"] is None


@pytest.mark.parametrize("text", [b"", b"-", b"--5", b"1.5", b"9" * 5_000, b"\xd9\xa1", b"NaN", None, b"\xff"])
def test_a_lateness_that_is_no_number_is_none(text):
    assert read_event(Message([("scheduler-lateness-ms", text)])).lateness_ms is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), True),
        (Filter(key="remind-17"), True),
        (Filter(key="remind-1"), False),
        (Filter(outcome=Outcome.FIRED), True),
        (Filter(outcome=Outcome.MISFIRED), False),
        (Filter(target="orders"), True),
        (Filter(target="payments"), False),
        (Filter(key="remind-17", outcome=Outcome.FIRED, target="orders"), True),
        (Filter(key="remind-17", outcome=Outcome.FIRED, target="payments"), False),
    ],
)
def test_a_filter_lets_through_what_fits_all_of_it(wanted, expected):
    assert wanted.wants(read_event(fired())) is expected
