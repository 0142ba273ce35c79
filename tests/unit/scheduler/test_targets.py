"""Which topics may be fired to."""

import pytest

from scheduler.engine.targets import TargetPolicy

ANY = TargetPolicy(frozenset({"schedules", "more-schedules"}), "history", frozenset())
SOME = TargetPolicy(frozenset({"schedules"}), "history", frozenset({"orders", "schedules", "history", "__orders"}))


@pytest.mark.parametrize("topic", ["orders", "_orders", "schedules-2", "history-2", "dead-letters"])
def test_without_an_allow_list_any_other_topic_is_a_target(topic):
    assert ANY.refusal(topic) is None


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("__consumer_offsets", "__consumer_offsets is internal to Kafka"),
        ("__transaction_state", "__transaction_state is internal to Kafka"),
        ("schedules", "schedules holds schedules: firing to it would loop"),
        ("more-schedules", "more-schedules holds schedules: firing to it would loop"),
        ("history", "history is the history"),
    ],
)
def test_the_scheduler_s_own_and_kafka_s_own_topics_are_refused(topic, why):
    assert ANY.refusal(topic) == why


def test_an_allow_list_narrows_the_targets():
    assert SOME.refusal("orders") is None
    assert SOME.refusal("payments") == "payments is not among ALLOWED_TARGETS"


@pytest.mark.parametrize("topic", ["schedules", "history", "__orders"])
def test_an_allow_list_does_not_allow_what_is_never_a_target(topic):
    assert SOME.refusal(topic) is not None
