"""When a target is looked at, what is made of it, and how long that holds."""

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.targets import PAUSES_SECONDS, SILENCE_SECONDS, Patience, Targets
from scheduler.engine.targets import TargetPolicy
from scheduler.schedule import Reason

WELL, GONE = 2, None
PARTITIONS = 2


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.seconds = 1000.0

    def now_ms(self):
        return int(self.seconds * 1000)

    def monotonic(self):
        return self.seconds

    def seconds_until(self, instant_ms):
        return instant_ms / 1000 - self.seconds

    def wait(self, event, seconds):
        self.seconds += seconds
        return event.is_set()


class Answers:
    """What a cluster would say; counts the questions."""

    def __init__(self):
        self.count = WELL
        self.ill = None
        self.allowed = True
        self.fault = None
        self.looks = 0

    def partitions(self, _topic, _seconds):
        self.looks += 1
        if self.fault is not None:
            raise KafkaException(KafkaError(self.fault))
        return self.count

    def ailment(self, _topic, _seconds):
        return self.ill

    def may_write(self, _topic, _seconds):
        return self.allowed


@pytest.fixture
def clock():
    return Hands()


@pytest.fixture
def cluster():
    return Answers()


@pytest.fixture
def targets(cluster, clock):
    return Targets(TargetPolicy(frozenset({"schedules"}), "history", frozenset()), cluster, clock)


def test_a_topic_that_is_well_is_looked_at_once(targets, cluster):
    assert [targets.obstacle("orders", None) for _ in range(3)] == [None, None, None]
    assert cluster.looks == 1


def test_a_topic_that_may_never_be_fired_to_is_not_looked_at(targets, cluster):
    found = targets.obstacle("schedules", None)

    assert (found.reason, found.patience, cluster.looks) == (Reason.FORBIDDEN_TARGET, Patience.NONE, 0)


@pytest.mark.parametrize(
    ("answers", "partition", "reason", "patience"),
    [
        ({"count": GONE}, None, Reason.UNKNOWN_TOPIC, Patience.GRACE),
        ({}, PARTITIONS, Reason.UNKNOWN_PARTITION, Patience.GRACE),
        ({"ill": "no leader"}, None, Reason.UNAVAILABLE, Patience.ENDLESS),
        ({"allowed": False}, None, Reason.NOT_AUTHORIZED, Patience.NONE),
        ({"fault": KafkaError.TOPIC_AUTHORIZATION_FAILED}, None, Reason.NOT_AUTHORIZED, Patience.NONE),
        ({"fault": KafkaError.LEADER_NOT_AVAILABLE}, None, Reason.UNAVAILABLE, Patience.ENDLESS),
        ({"fault": KafkaError._TIMED_OUT}, None, Reason.UNAVAILABLE, Patience.ENDLESS),
    ],
)
def test_what_is_in_the_way_says_how_long_to_wait(targets, cluster, answers, partition, reason, patience):
    vars(cluster).update(answers)
    found = targets.obstacle("orders", partition)

    assert (found.reason, found.patience) == (reason, patience)
    assert found.retry_seconds > 0


def test_an_obstacle_is_looked_at_again_after_growing_pauses(targets, cluster, clock):
    cluster.count = GONE
    for pause in (*PAUSES_SECONDS, PAUSES_SECONDS[-1]):
        looks = cluster.looks
        assert targets.obstacle("orders", None).retry_seconds == pause
        clock.seconds += pause / 2
        assert targets.obstacle("orders", None).retry_seconds == pytest.approx(pause / 2)
        clock.seconds += pause / 2 + 0.001
        assert cluster.looks == looks + 1
    cluster.count = WELL
    assert targets.obstacle("orders", None) is None


def test_a_topic_that_was_made_since_the_last_look_is_found_when_a_grace_is_over(targets, cluster, clock):
    cluster.count = GONE
    for _ in PAUSES_SECONDS:
        clock.seconds += targets.obstacle("orders", None).retry_seconds
    targets.obstacle("orders", None)
    clock.seconds += 1
    cluster.count = WELL

    assert targets.obstacle("orders", None) is not None
    assert targets.obstacle("orders", None, seen_since_ms=clock.now_ms()) is None


def test_a_cluster_that_does_not_answer_is_asked_once_for_all_of_its_topics(targets, cluster, clock):
    cluster.fault = KafkaError._TIMED_OUT
    for number in range(20):
        assert targets.obstacle(f"orders-{number}", None).patience is Patience.ENDLESS
    assert cluster.looks == 1
    clock.seconds += SILENCE_SECONDS
    cluster.fault = None
    assert targets.obstacle("orders-0", None) is None


def test_a_topic_that_did_not_take_a_delivery_is_left_alone_longer_each_time(targets, clock):
    for seconds in (1.0, 2.0, 4.0):
        assert targets.obstacle("orders", None) is None
        targets.suspect(["orders"])
        started = clock.seconds
        while (found := targets.obstacle("orders", None)) is not None:
            assert found.patience is Patience.ENDLESS
            clock.seconds += found.retry_seconds
        assert clock.seconds - started >= seconds


def test_a_topic_that_falls_ill_is_noticed_before_the_next_delivery(targets, cluster, clock):
    assert targets.obstacle("orders", None) is None
    cluster.ill = "no leader"
    stop = threading.Event()
    clock.wait = lambda event, _seconds: event.is_set() or stop.set()
    targets.watch(stop)

    assert targets.obstacle("orders", None).detail == "no leader"
