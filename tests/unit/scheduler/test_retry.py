"""When a message comes back, what it then carries, and when it does not come back any more."""

from datetime import timedelta

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from scheduler import (
    InputError,
    RetriesExhaustedError,
    RetryPolicy,
    fire_id,
    is_retried_message,
    is_scheduler_message,
    original_timestamp_ms,
    retry_attempts,
    wire,
)
from scheduler.engine.targets import TargetPolicy
from scheduler.messages import received
from scheduler.retry import schedule_of
from scheduler.schedule import Schedule

NOW_MS = 1_893_456_000_000
WRITTEN_MS = NOW_MS - 3_600_500
TARGETS = TargetPolicy(frozenset({"schedules"}), "history", frozenset())


def message(*headers, topic="orders", key=b"order 7", value=b"payload", timestamp=(1, WRITTEN_MS), offset=17):
    return Message(
        topic=topic, partition=2, offset=offset, key=key, value=value, headers=list(headers), timestamp=timestamp
    )


def retried(failed, policy=None, **how):
    """The schedule that a replica reads; and what it then delivers."""
    write = schedule_of(received(failed), "schedules", NOW_MS, TARGETS, policy or RetryPolicy(), **how)
    schedule = wire.decode(write.key, write.value, write.headers, timestamp_ms=NOW_MS, offset=7)
    assert isinstance(schedule, Schedule), schedule
    again = message(
        *wire.fired_headers(schedule, wire.said_of(schedule, b"schedules", schedule.due_ms)),
        topic=schedule.target_topic,
        key=schedule.target_key,
        value=None if schedule.delivers_null else schedule.value,
        timestamp=(1, schedule.due_ms),
        offset=failed.offset() + 1,
    )
    return schedule, again


def test_it_comes_back_as_it_was_and_the_attempt_is_counted():
    schedule, again = retried(message(("trace", b"1"), ("trace", b"2")))

    assert (schedule.due_ms, schedule.target_topic, schedule.target_key) == (NOW_MS + 5000, "orders", b"order 7")
    assert (again.key(), again.value()) == (b"order 7", b"payload")
    assert schedule.headers[:2] == [("trace", b"1"), ("trace", b"2")]
    assert (retry_attempts(again), original_timestamp_ms(again)) == (1, WRITTEN_MS // 1000 * 1000)
    assert is_scheduler_message(again)
    assert is_retried_message(again)
    assert fire_id(again) == f"orders-2@17#1@{NOW_MS + 5000}"


def test_further_retries_grow_no_headers_and_keep_the_first_instant():
    schedule, again = retried(message(("trace", b"1")))
    headers = len(schedule.headers)
    for attempt in range(2, 51):
        schedule, again = retried(again)
        assert schedule.schedule_id == f"orders-2@17#{attempt}"
        assert (retry_attempts(again), original_timestamp_ms(again)) == (attempt, WRITTEN_MS // 1000 * 1000)
        assert len(schedule.headers) == headers
    with pytest.raises(RetriesExhaustedError, match="its 50 retries are used up"):
        retried(again)


def test_the_defaults_are_those_that_are_documented():
    seconds = [RetryPolicy().delay_ms(attempt, "a") / 1000 for attempt in range(1, 13)]

    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert RetryPolicy(min_delay=timedelta(0)).delay_ms(5000, "a") == 0
    assert RetryPolicy().delay_ms(5000, "a") == 3_600_000  # 2**4999 is no float


@given(st.integers(1, 60), st.text(), st.floats(0, 1), st.floats(1, 10))
def test_jitter_stretches_a_delay_by_no_more_than_its_part(attempt, name, jitter, factor):
    plain = RetryPolicy(factor=factor).delay_ms(attempt, name)
    delay = RetryPolicy(factor=factor, jitter=jitter).delay_ms(attempt, name)

    assert plain - 1 <= delay <= plain * (1 + jitter) + 1
    assert delay == RetryPolicy(factor=factor, jitter=jitter).delay_ms(attempt, name)


def test_jitter_differs_from_message_to_message():
    assert len({RetryPolicy(jitter=1).delay_ms(1, f"{number}") for number in range(100)}) > 90


def test_a_null_and_an_empty_payload_come_back_as_such():
    assert retried(message(value=None))[1].value() is None
    assert retried(message(value=b""))[1].value() == b""
    assert retried(message(key=None))[1].key() is None
    assert retried(message(key=b""))[1].key() == b""


def test_a_scheduled_message_is_retried_by_its_occurrence():
    """A recurring schedule's next occurrence must not replace the retry of the last."""
    occurrence = message((wire.KEY, b"nightly"), (wire.FIRE_ID, b"nightly@5"), (wire.EPOCH, b"5"))

    assert is_scheduler_message(occurrence)
    assert not is_retried_message(occurrence)
    assert retried(occurrence)[0].schedule_id == "nightly@5#1"


def test_retries_of_two_consumers_with_topics_of_their_own_do_not_replace_each_other():
    ids = {retried(message(), target_topic=topic)[0].schedule_id for topic in (None, "retry-a", "retry-b")}
    assert len(ids) == 3
    _, again = retried(message(), target_topic="retry-a")
    assert retried(again)[0].schedule_id == "orders-2@17>retry-a#2"


def test_what_is_given_wins():
    failed = message(("error", b"first"), ("trace", b"1"), timestamp=(0, 0))
    schedule, again = retried(failed, key=b"mine", delay="30s", target_topic="slow", headers={"error": "second"})

    assert (schedule.key, schedule.due_ms, schedule.target_topic) == (b"mine", NOW_MS + 30_000, "slow")
    assert [value for name, value in schedule.headers if name == "error"] == [b"second"]
    assert original_timestamp_ms(again) == NOW_MS  # the message has none
    assert retried(message(), delay=timedelta(microseconds=1))[0].due_ms == NOW_MS + 1


@pytest.mark.parametrize(
    ("failed", "how", "said"),
    [
        (message(("retry-attempt", b"many")), {}, r"orders-2@17: retry-attempt: 'many'"),
        (message(("retry-attempt", None)), {}, "retry-attempt"),
        (message(("retry-original-timestamp", b"-1")), {}, "retry-original-timestamp"),
        (message(), {"delay": "soon"}, "delay: 'soon'"),
        (message(), {"delay": timedelta(seconds=-1)}, "negative"),
        (message(), {"headers": {"scheduler-typo": "1"}}, "not known"),
        (message(), {"target_topic": "history"}, "is the history"),
        (message(topic="schedules"), {}, "would loop"),
    ],
)
def test_what_would_be_retried_for_ever_or_never_is_refused(failed, how, said):
    with pytest.raises(InputError, match=said):
        retried(failed, **how)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_attempts": -1}, "max_attempts"),
        ({"min_delay": timedelta(hours=2)}, "min_delay"),
        ({"min_delay": timedelta(seconds=-1)}, "min_delay"),
        ({"max_delay": timedelta.max}, "max_delay"),
        ({"factor": 0.5}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"jitter": 2}, "jitter"),
    ],
)
def test_a_policy_that_makes_no_delay_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        RetryPolicy(**wrong)


def test_headers_of_another_client_will_do():
    headers = (("scheduler-key", b"a"), ("scheduler-fire-id", b"a@5"), ("retry-attempt", b"3"))

    assert (fire_id(headers), retry_attempts(headers)) == ("a@5", 3)
    assert is_scheduler_message(headers)
    assert is_retried_message(headers)
    assert not is_scheduler_message(())
    assert fire_id(message()) is None
    assert (retry_attempts(message()), original_timestamp_ms(message())) == (0, None)
