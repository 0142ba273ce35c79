"""Where a replica fires, by what it logs."""

from __future__ import annotations

import pytest

from tests.support.processes import Event, firing


def restored(number: int) -> Event:
    return {"event": "restored", "topic": "s", "partition": number}


def fenced(number: int, event: str = "fenced") -> Event:
    return {"event": event, "topic": "s", "partition": number}


def gone(event: str, partitions: str) -> Event:
    return {"event": event, "partitions": partitions}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([restored(0), restored(1)], {"s/0", "s/1"}),
        ([restored(0), restored(1), gone("revoked", "s/1")], {"s/0"}),
        ([restored(0), fenced(0)], set()),
        ([restored(0), fenced(0), restored(0)], {"s/0"}),
        ([restored(0), gone("revoked", "s/0"), fenced(0, "handed over")], set()),
        # it comes back: its former owner is fenced by the new one, before that one has restored it or after
        ([restored(0), gone("lost", "s/0"), fenced(0), restored(0)], {"s/0"}),
        ([restored(0), gone("lost", "s/0"), restored(0), fenced(0)], {"s/0"}),
        ([restored(0), gone("lost", "s/0"), restored(0), fenced(0), fenced(0)], set()),
    ],
)
def test_it_fires_in_what_it_has_restored_and_not_lost(events: list[Event], expected: set[str]) -> None:
    assert firing(events) == expected
