"""A replica's clock that is wrong makes schedules late or early, never doubled, and is told."""

from __future__ import annotations

import pytest

from tests.support.clocks import ShiftedClock
from tests.support.schedules import clock, wait_until


@pytest.mark.parametrize("ahead_seconds", [-5, 0, 5])
def test_the_skew_against_the_brokers_is_measured(installation, ahead_seconds):
    with installation.replica(clock=ShiftedClock(ahead_seconds * 1000)) as replica:
        installation.write(installation.schedule(b"k", due_ms=clock.now_ms() - 10_000))
        installation.fired(b"k")

        def skew():
            return replica.registry.get_sample_value("scheduler_clock_skew_seconds")

        wait_until(lambda: abs(skew() - ahead_seconds) < 1, f"a skew of {ahead_seconds} s")


@pytest.mark.parametrize("ahead_ms", [5_000, 3_600_000])
def test_a_clock_that_is_ahead_fires_early_by_that_and_once(installation, ahead_ms):
    """A replica with the right time that takes over afterwards has nothing left to do."""
    due_ms = clock.now_ms() + ahead_ms + 1000
    with installation.replica(clock=ShiftedClock(ahead_ms)):
        installation.write(installation.schedule(b"k", due_ms=due_ms))
        (early,) = installation.fired(b"k")
    with installation.replica() as right:
        pending = [standing.pending for standing in right.standings().values()]

    assert early.timestamp_ms < due_ms
    assert pending == [0]
    assert len(installation.read(installation.target)) == 1
