"""The order of lists over many partitions: pages that leave nothing out and repeat nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import partitioners
from tests.support.fleet import Brokers, Network, Replica

PLACES = [("schedules", 0), ("schedules", 1), ("retries", 0), ("retries", 1)]


def fleet(has=PLACES[:2]):
    network, brokers = Network(), Brokers()
    one = Replica(brokers, list(has), network=network)
    other = Replica(brokers, [where for where in PLACES if where not in has], port=8001, network=network)
    return brokers, one, other


SHARED = fleet()
"""For the property: making applications takes longer than asking them."""


def listed(replica, **params):
    """Every page of a list."""
    found = []
    while True:
        page = replica.ask("GET", "/api/v1/schedules", params=params).json()
        assert page["unanswered"] == []
        assert len(page["schedules"]) <= int(params.get("limit", 100))
        found += page["schedules"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


schedules = st.lists(
    st.tuples(st.sampled_from(PLACES), st.integers(0, 3), st.booleans(), st.sampled_from(["orders", "mails"])),
    max_size=20,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    schedules,
    st.integers(1, 5),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["orders", "mails"]),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_pages_together_are_all_that_fits_in_order_of_due_time(stated, limit, paused, target, since, until):
    brokers, one, other = SHARED
    brokers.clear()
    expected = []
    for number, (where, due, is_paused, topic) in enumerate(stated):
        also = {"paused": "true"} if is_paused else {}
        written = brokers.schedule(b"%d" % number, where, epoch=1_893_456_000 + due, target_topic=topic, **also)
        if paused in (None, is_paused) and target in (None, topic) and since <= due < until:
            expected.append((is_paused, due, *where, written.offset))
    params = {"limit": limit, "paused": paused, "target": target}
    params |= {"due_from": f"2030-01-01T00:00:0{since}Z", "due_to": f"2030-01-01T00:00:0{until}Z"}
    params = {name: value for name, value in params.items() if value is not None}

    for replica in (one, other):
        found = [
            (each["paused"], int(each["due"][-2:-1]), each["topic"], each["partition"], each["offset"])
            for each in listed(replica, **params)
        ]
        assert found == sorted(expected, key=lambda each: (each[0], 0 if each[0] else each[1], *each[2:]))


def test_a_long_partition_is_looked_through_in_pieces(monkeypatch):
    """What fits stands far behind what does not; and where the time is over before, the page has a cursor."""
    brokers, one, _ = fleet()
    for number in range(25):
        brokers.schedule(b"%d" % number, epoch=1_893_456_000 + number)
    brokers.schedule(b"last", epoch=1_893_460_000)
    monkeypatch.setattr("scheduler.api.local.CHUNK", 2)

    assert [each["id"] for each in listed(one, prefix="la")] == ["last"]
    assert [each["id"] for each in listed(one, contains="as")] == ["last"]
    assert listed(one, prefix="as") == []

    monkeypatch.setattr("scheduler.api.local.SCAN_SECONDS", 0.0)
    page = one.ask("GET", "/api/v1/schedules?prefix=la").json()
    assert page["schedules"] == []
    assert page["next_cursor"]
    assert [each["id"] for each in listed(one, prefix="la")] == ["last"]


def test_what_changes_between_two_pages_does_not_shift_the_rest():
    brokers, one, _ = fleet()
    for number in range(6):
        brokers.schedule(b"%d" % number, PLACES[number % 2], epoch=1_893_456_000 + number)
    first = one.ask("GET", "/api/v1/schedules?limit=3").json()
    for where, key in ((PLACES[0], b"0"), (PLACES[1], b"1"), (PLACES[0], b"4")):
        brokers.logs[where].append(key, None, [])
    brokers.schedule(b"earlier", PLACES[1], epoch=1_893_455_000)

    second = one.ask("GET", "/api/v1/schedules", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [each["id"] for each in first["schedules"]] == ["0", "1", "2"]
    assert [each["id"] for each in second["schedules"]] == ["3", "5"]


def test_keys_go_where_java_has_them_go():
    """Known answers of Kafka's own murmur2; `tests/integration` has them from the client."""
    assert [partitioners.java(key, 1000) for key in (b"21", b"foobar", b"a-little-bit-long-string", b"")] == [
        (-973932308 & 0x7FFFFFFF) % 1000,
        (-790332482 & 0x7FFFFFFF) % 1000,
        (-985981536 & 0x7FFFFFFF) % 1000,
        (275646681 & 0x7FFFFFFF) % 1000,
    ]
