"""The mini scheduler's clock: tomorrow's firings now, each at its own time, seen by ordinary Kafka clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition

from scheduler.clock import Deadline, SystemClock
from scheduler.errors import InputError
from scheduler.mini.harness import SchedulerMini
from scheduler.mini.timekeeper import NotSettledError
from tests.support.schedules import wait_until

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def running():
    with SchedulerMini() as mini:
        yield mini


@pytest.fixture
def mini(running):
    running.reset()
    return running


def write(mini, *records, **conf):
    """With a producer that knows nothing of the product; each record is a key, a value and headers."""
    producer = Producer({"bootstrap.servers": mini.bootstrap_servers, **conf})
    for key, value, headers in records:
        producer.produce("schedules", key=key, value=value, headers=headers)
    assert producer.flush(30) == 0


def consume(mini, topic, count):
    """With a client that looks at checksums."""
    consumer = Consumer({"bootstrap.servers": mini.bootstrap_servers, "group.id": "any", "check.crcs": True})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    found, deadline = [], Deadline(CLOCK, 60)
    while len(found) < count and not deadline.passed:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


def due_times(mini, topic):
    return [message.due for message in mini.fired(topic)]


def test_tomorrows_message_is_there_as_soon_as_the_clock_is_moved(mini):
    write(mini, ("a", "tomorrow", {"scheduler-delay": "1d", "scheduler-target-topic": "t1", "colour": "red"}))
    begin = mini.now

    assert mini.advance("23h59m59s999ms").fired == 0
    assert mini.fired("t1") == []
    assert mini.advance(timedelta(milliseconds=1)).fired == 1

    (message,) = mini.fired("t1")
    assert (message.schedule_id, message.value, message.headers["colour"]) == ("a", b"tomorrow", b"red")
    assert message.due == begin + timedelta(days=1) == mini.now
    assert [(event.outcome, event.lateness_ms) for event in mini.history()] == [("fired", 0)]


def test_time_passes_through_every_due_time_on_the_way(mini):
    mini.move_to(NEW_YEAR)
    write(
        mini,
        ("hourly", "", {"scheduler-cron": "15 * * * *", "scheduler-target-topic": "t2"}),
        ("once", "", {"scheduler-at": "2030-01-01T06:15:00.007Z", "scheduler-target-topic": "t2"}),
    )

    time = mini.advance("1d")

    hours = [NEW_YEAR + timedelta(hours=hour, minutes=15) for hour in range(24)]
    assert due_times(mini, "t2") == [*hours[:7], hours[6] + timedelta(milliseconds=7), *hours[7:]]
    assert {event.lateness_ms for event in mini.history()} == {0}
    assert time.fired == 25
    assert mini.now == NEW_YEAR + timedelta(days=1)
    assert time.next_due_ms == (hours[0] + timedelta(days=1)).timestamp() * 1000


def test_a_jump_is_a_standstill_after_which_misfires_are_settled(mini):
    mini.move_to(NEW_YEAR)
    hourly = {"scheduler-cron": "15 * * * *", "scheduler-target-topic": "t3"}
    write(
        mini,
        ("latest", "", hourly),
        ("none", "", {**hourly, "scheduler-misfire": "skip"}),
        ("late", "", {"scheduler-delay": "1h", "scheduler-target-topic": "t3"}),
    )

    mini.advance("1d", jump=True)

    assert [(message.schedule_id, message.due.hour) for message in mini.fired("t3")] == [("late", 1), ("latest", 23)]
    assert {event.lateness_ms for event in mini.history() if event.schedule_id == "late"} == {23 * 3_600_000}


@pytest.mark.parametrize("codec", ["none", "gzip", "lz4", "zstd"])
def test_the_broker_stamps_records_with_the_clock_and_their_checksums_hold(mini, codec):
    mini.move_to(NEW_YEAR)
    topic = f"stamped-{codec}"
    # a delay counts from the stamp: were it the machine's time, this would be due long before
    write(
        mini,
        *(
            (str(number), b"x" * 1000, {"scheduler-delay": "15m", "scheduler-target-topic": topic})
            for number in range(50)
        ),
        **{"compression.type": codec},
    )
    assert mini.fired(topic) == []
    mini.advance("15m")

    found = consume(mini, topic, 50)

    stamp = (TIMESTAMP_LOG_APPEND_TIME, int((NEW_YEAR + timedelta(minutes=15)).timestamp() * 1000))
    assert [message.timestamp() for message in found] == [stamp] * 50


def test_a_producer_is_told_how_its_record_was_stamped(mini):
    mini.move_to(NEW_YEAR)

    receipt = mini.client.schedule("a", b"", target_topic="t5", delay="1h")

    assert receipt.timestamp_ms == NEW_YEAR.timestamp() * 1000


def test_a_transaction_of_a_client_counts_once_it_is_committed(mini):
    producer = Producer({"bootstrap.servers": mini.bootstrap_servers, "transactional.id": "theirs"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("schedules", key="a", value="", headers={"scheduler-delay": "1m", "scheduler-target-topic": "t6"})
    producer.commit_transaction(30)

    mini.advance("1m")

    assert [message.schedule_id for message in mini.fired("t6")] == ["a"]


def test_thousands_that_are_due_at_once_are_all_fired_when_the_move_returns(mini):
    at = {"scheduler-at": "2031-01-01T00:00:00Z", "scheduler-target-topic": "t7"}
    write(mini, *((str(number), "x", at) for number in range(3000)))

    assert mini.move_to("2031-01-01T00:00:00Z").fired == 3000
    assert len({message.schedule_id for message in mini.fired("t7")}) == 3000


def test_what_is_replaced_or_cancelled_before_its_time_does_not_fire(mini):
    soon = {"scheduler-delay": "1m", "scheduler-target-topic": "t8"}
    write(mini, ("a", "old", soon), ("b", "", soon))
    mini.advance("30s")
    write(mini, ("a", "new", soon), ("b", None, {}))

    mini.advance("30s")
    assert mini.fired("t8") == []
    mini.advance("30s")
    assert [message.value for message in mini.fired("t8")] == [b"new"]
    assert [event.outcome for event in mini.history()] == ["cancelled", "fired"]


def test_a_running_clock_fires_by_itself(mini):
    mini.move_to(NEW_YEAR)
    mini.client.schedule("a", b"", target_topic="t9", delay="300ms")
    mini.run()

    wait_until(lambda: mini.fired("t9"), "it is fired")

    mini.stand()
    assert mini.now >= NEW_YEAR + timedelta(milliseconds=300)
    assert mini.now == mini.now


def test_a_target_partition_that_does_not_exist_is_waited_for_and_given_up(mini):
    mini.client.schedule("a", b"", target_topic="t10", target_partition=77, delay="1m")

    time = mini.advance("1m")
    assert (time.fired, time.postponed) == (0, 1)
    mini.advance("1m")

    assert [(event.outcome, event.reason) for event in mini.history()] == [
        ("undeliverable", "unknown-target-partition")
    ]


def test_what_cannot_be_done_in_time_is_said_and_goes_on(mini):
    mini.move_to(NEW_YEAR)
    write(mini, ("a", "", {"scheduler-cron": "* * * * *", "scheduler-target-topic": "t11"}))

    with pytest.raises(NotSettledError, match=r"2030-01-0.*time allowed is over"):
        mini.advance("365d", timeout=0.5)

    assert NEW_YEAR <= mini.now < NEW_YEAR + timedelta(days=365)
    fired = len(mini.fired("t11"))
    mini.advance("10m")
    assert len(mini.fired("t11")) == fired + 10


def test_it_goes_back_only_by_a_jump(mini):
    mini.move_to(NEW_YEAR)

    with pytest.raises(InputError, match="jump"):
        mini.move_to("2029-12-31T23:59:59Z")
    mini.move_to("2029-12-31T23:59:59Z", jump=True)

    assert mini.now == NEW_YEAR - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("move", "word"),
    [
        (lambda mini: mini.advance("soon"), "is not a duration"),
        (lambda mini: mini.advance(timedelta(days=-1)), "negative"),
        (lambda mini: mini.move_to("tomorrow"), "is not an instant"),
        (lambda mini: mini.move_to(datetime(2030, 1, 1)), "no offset"),  # noqa: DTZ001 - the point of it
    ],
)
def test_what_cannot_be_read_is_refused(mini, move, word):
    with pytest.raises(InputError, match=word):
        move(mini)


def test_a_test_begins_with_nothing_in_force_and_nothing_fired(mini):
    hourly = {"scheduler-cron": "0 * * * *", "scheduler-target-topic": "t12"}
    write(mini, ("a", "", hourly), ("b", "", {"scheduler-delay": "500d", "scheduler-target-topic": "t12"}))
    mini.client.pause("b")
    mini.advance("2h")
    mini.client.pause_all()
    assert mini.fired("t12")

    mini.reset()

    assert mini.fired("t12") == []
    assert mini.history() == []
    assert mini.client.schedules("schedules") == []
    assert abs(mini.now.timestamp() - CLOCK.now_ms() / 1000) < 60
    write(mini, ("c", "", {"scheduler-delay": "1m", "scheduler-target-topic": "t12"}))
    mini.advance("1d")
    assert [message.schedule_id for message in mini.fired("t12")] == ["c"], "and nothing is paused"


# -- over HTTP ---------------------------------------------------------------------------------------


def ask(mini, method, path, *, status=200, **request):
    answer = httpx.request(method, f"{mini.api}{path}", timeout=60, **request)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_create_cancel_and_move_over_http(mini):
    mini.move_to(NEW_YEAR)
    for key in ("a", "b"):
        created = ask(
            mini,
            "POST",
            "/api/v1/schedules",
            status=201,
            json={"id": key, "target_topic": "t13", "delay": "1d", "payload": key},
        )
        assert created["due"] == "2030-01-02T00:00:00Z"
    ask(mini, "DELETE", "/api/v1/schedules/b", status=204)

    assert ask(mini, "GET", "/clock") == {
        "now": "2030-01-01T00:00:00Z",
        "running": False,
        "fired": 0,
        "next_due": "2030-01-02T00:00:00Z",
        "postponed": 0,
    }
    moved = ask(mini, "POST", "/clock", json={"advance": "1d"})
    assert moved == {
        "now": "2030-01-02T00:00:00Z",
        "running": False,
        "fired": 1,
        "next_due": None,
        "postponed": 0,
    }
    assert [message.value for message in mini.fired("t13")] == [b"a"]
    assert ask(mini, "POST", "/clock", json={"now": "2029-01-01T00:00:00Z", "jump": True})["now"].startswith("2029")
    assert ask(mini, "POST", "/clock", json={"run": True})["running"]
    assert ask(mini, "GET", "/clock")["running"]
    assert not ask(mini, "POST", "/clock", json={"run": False})["running"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "to when?"),
        ({"advance": "1d", "now": "2040-01-01T00:00:00Z"}, "not both"),
        ({"run": True, "jump": True}, "jump to when?"),
        ({"advance": "soon"}, "body.advance: 'soon' is not a duration"),
        ({"now": "soon"}, "body.now: 'soon' is not an instant"),
        ({"now": "2001-01-01T00:00:00Z"}, "is earlier than"),
        ({"advance": "1d", "timeout": "x"}, "body.timeout"),
        ({"advanced": "1d"}, "advanced"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(mini, body, word):
    before = mini.now

    assert word in ask(mini, "POST", "/clock", status=422, json=body)["detail"]

    assert mini.now == before


def test_a_clock_that_has_not_come_so_far_in_time_says_so(mini):
    mini.client.schedule("a", b"", target_topic="t14", cron="* * * * *")

    problem = ask(mini, "POST", "/clock", status=504, json={"advance": "365d", "timeout": "500ms"})

    assert "move it again to go on" in problem["detail"]
