"""What is kept of the past: which rows, how much room, and what of each record."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Message

from scheduler.archive import store as store_module
from scheduler.archive.kept import OUTPUT_CHARACTERS, PAYLOAD_BYTES, event_row, letter_row, run_row
from scheduler.archive.store import Kind, Spot, Store, Wanted
from scheduler.letters import Action, Marker

NOW_MS = 1_800_000_000_000


def message(value=b"payload", *, key=b"a", offset=0, at_ms=NOW_MS, partition=0, headers=()):
    return Message(
        topic="t",
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        headers=list(headers),
        timestamp=(1, at_ms),
    )


def event(number, *, at_ms=None, payload=b"p", **said):
    outcome = said.pop("outcome", "fired")
    headers = [("scheduler-outcome", outcome.encode()), ("scheduler-target-topic", b"orders")]
    key = said.pop("key", b"id-%d" % number)
    return event_row(
        message(payload, key=key, offset=number, at_ms=NOW_MS + number if at_ms is None else at_ms, headers=headers)
    )


def places(rows):
    return [row["place"] for row in rows]


def test_rows_come_newest_first_whatever_order_they_were_read_in_and_page_by_page():
    kept = Store(8)
    # partitions are read one after the other: time goes back where the next one begins
    kept.add(Kind.EVENT, [event(number) for number in (3, 4, 5)])
    kept.add(Kind.EVENT, [event(number) for number in (0, 1, 2)])

    first = kept.rows(Kind.EVENT, Wanted(limit=4))
    last = first[-1]
    rest = kept.rows(Kind.EVENT, Wanted(limit=4, before=Spot(last["at_ms"], last["seq"])))

    assert places(first) == ["0-5", "0-4", "0-3", "0-2"]
    assert places(rest) == ["0-1", "0-0"]


def test_rows_of_one_instant_are_neither_left_out_nor_told_twice():
    kept = Store(8)
    kept.add(Kind.EVENT, [event(number, at_ms=NOW_MS) for number in range(7)])
    found, spot = [], None
    while True:
        rows = kept.rows(Kind.EVENT, Wanted(limit=2, before=spot))
        if not rows:
            break
        found += rows
        spot = Spot(rows[-1]["at_ms"], rows[-1]["seq"])

    assert sorted(places(found)) == [f"0-{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted({"schedule_id": "id-1"}), ["0-1"]),
        (Wanted({"outcome": ["fired", "rejected"]}), ["0-3", "0-2", "0-0"]),
        (Wanted(prefix=("schedule_id", "id-")), ["0-2", "0-1", "0-0"]),
        (Wanted(prefix=("schedule_id", "100%")), ["0-3"]),
        (Wanted(prefix=("schedule_id", "'; DROP TABLE events; --")), []),
        (Wanted(since_ms=NOW_MS + 1, until_ms=NOW_MS + 3), ["0-2", "0-1"]),
        (Wanted({"reason": None, "outcome": "cancelled"}), ["0-1"]),
    ],
)
def test_what_is_wanted_is_found(wanted, expected):
    kept = Store(8)
    outcomes = ["fired", "cancelled", "rejected"]
    kept.add(Kind.EVENT, [event(number, outcome=outcome) for number, outcome in enumerate(outcomes)])
    kept.add(Kind.EVENT, [event(3, key=b"100%_sure")])

    assert places(kept.rows(Kind.EVENT, wanted)) == expected


def test_what_came_after_an_answer_is_told_once_also_after_everything_was_read_anew():
    kept = Store(8)
    kept.add(Kind.EVENT, [event(1)])
    seen = kept.newest()
    kept.add(Kind.EVENT, [event(2)])
    assert places(kept.rows(Kind.EVENT, Wanted(after=seen))) == ["0-2"]

    seen = kept.newest()
    kept.clear()
    assert kept.rows(Kind.EVENT, Wanted()) == []
    kept.add(Kind.EVENT, [event(3)])

    assert places(kept.rows(Kind.EVENT, Wanted(after=seen))) == ["0-3"]


def test_the_oldest_go_where_there_are_too_many(monkeypatch):
    monkeypatch.setitem(store_module.MOST, Kind.EVENT, 100)
    kept = Store(8)
    for start in range(0, 1000, 50):
        kept.add(Kind.EVENT, [event(number) for number in range(start, start + 50)])
        count, oldest_ms, _ = kept.extent(Kind.EVENT)
        assert count <= 100
    newest = kept.rows(Kind.EVENT, Wanted(limit=1000))

    assert places(newest) == [f"0-{number}" for number in range(999, 999 - count, -1)]
    assert count >= 90
    assert oldest_ms == newest[-1]["at_ms"]
    assert kept.extent(Kind.EVENT)[2], "it says that older ones were dropped"


def test_memory_is_bounded_and_a_flood_of_one_kind_does_not_wash_away_another():
    kept = Store(2)
    kept.add(Kind.LETTER, [letter_row(message(b"no job", offset=number)) for number in range(20)])
    big = b"x" * PAYLOAD_BYTES
    for start in range(0, 3000, 100):
        kept.add(Kind.EVENT, [event(number, payload=big) for number in range(start, start + 100)])

    (pages,) = kept._base.execute("PRAGMA page_count").fetchone()
    assert pages * store_module.PAGE_BYTES < 2_600_000, "a batch comes in before room is made for the next"
    assert kept.extent(Kind.LETTER) == (20, NOW_MS, False)
    assert kept.rows(Kind.EVENT, Wanted(limit=1))[0]["place"] == "0-2999"
    assert 100 < kept.extent(Kind.EVENT)[0] < 3000


def test_letters_are_open_until_a_marker_names_them():
    kept = Store(8)
    letters = [letter_row(message(b"no job", offset=number, at_ms=NOW_MS + number)) for number in range(3)]
    kept.add(Kind.LETTER, letters)
    marker = letter_row(
        message(
            None,
            key=b"0-1",
            offset=7,
            at_ms=NOW_MS + 9,
            headers=[("dead-letter-settles", b"0-1"), ("dead-letter-action", b"redriven")],
        )
    )
    assert marker == Marker("0-1", "redriven", NOW_MS + 9)
    kept.settle([(marker.letter_id, marker.action, marker.at_ms)])

    assert places(kept.rows(Kind.LETTER, Wanted({"settled": None}))) == ["0-2", "0-0"]
    (settled,) = kept.rows(Kind.LETTER, Wanted({"settled": [Action.REDRIVEN.value]}))
    assert (settled["place"], settled["settled_at_ms"]) == ("0-1", NOW_MS + 9)
    assert kept.open_letters() == 2


def test_jobs_have_their_last_attempts_the_one_that_ran_last_first():
    kept = Store(8)

    def run(number, job, outcome="succeeded"):
        told = {"run_id": f"{job}@{number}", "id": job, "job": job, "cluster": "c", "outcome": outcome}
        return run_row(message(json.dumps(told).encode(), offset=number, at_ms=NOW_MS + number))

    kept.add(Kind.RUN, [run(number, "often") for number in range(8)])
    kept.add(Kind.RUN, [run(8, "seldom", "failed"), run(9, "often", "started")])

    rows = kept.jobs(recent=3, most=10)

    assert [(row["job_id"], row["place"]) for row in rows] == [
        ("seldom", "0-8"),
        ("often", "0-7"),
        ("often", "0-6"),
        ("often", "0-5"),
    ], "an attempt that has only begun is not how a job ended"
    assert [row["kept"] for row in rows] == [1, 8, 8, 8]


def test_long_payloads_and_outputs_are_cut_and_their_sizes_kept():
    row = event_row(
        message(b"p" * (PAYLOAD_BYTES + 1), headers=[("scheduler-outcome", b"fired"), ("mine", b"h" * 9999)])
    )
    told = {"run_id": "a@1", "id": "a", "outcome": "failed", "output": "x" * 99 + "y" * OUTPUT_CHARACTERS}
    run = run_row(message(json.dumps({**told, "output_bytes": 123_456}).encode()))

    assert (len(row["payload"]), row["payload_bytes"]) == (PAYLOAD_BYTES, PAYLOAD_BYTES + 1)
    assert len(row["headers"]) < 1000
    assert run is not None
    assert (run["output"], run["output_bytes"]) == ("y" * OUTPUT_CHARACTERS, 123_456)
    assert "output" not in json.loads(run["told"])


@pytest.mark.parametrize(
    "value", [None, b"", b"text", b"[1]", b'{"id": "a"}', b'{"id": 7, "run_id": "x", "outcome": "y"}']
)
def test_what_is_no_result_is_left_out(value):
    assert run_row(message(value)) is None
