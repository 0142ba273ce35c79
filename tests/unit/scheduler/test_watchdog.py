"""Calls that do not return are noticed, once, with their stack; those that take their time are not."""

import logging
import threading
from contextlib import contextmanager

import pytest

from scheduler.runtime.watchdog import ASLEEP_SECONDS, PATIENCE, TICK_SECONDS, Watchdog

SECONDS = 10.0


class Clock:
    """Goes on when told."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def watchdog(clock, reports):
    return Watchdog(clock, reports.append)


def pass_time(watchdog, clock, seconds):
    """Look once a second, as its thread does."""
    end = clock.seconds + seconds
    while clock.seconds < end:
        clock.seconds += TICK_SECONDS
        watchdog.look()


@contextmanager
def a_call_that_hangs(watchdog):
    """On a thread of its own, within the block."""
    begun, returns = threading.Event(), threading.Event()

    def init_transactions_of_the_client():
        begun.set()
        returns.wait(SECONDS)

    def main():
        with watchdog.call("init_transactions", 10.0, topic="schedules", partition=3):
            init_transactions_of_the_client()

    thread = threading.Thread(target=main)
    thread.start()
    assert begun.wait(SECONDS)
    try:
        yield
    finally:
        returns.set()
        thread.join(SECONDS)


def test_a_call_that_does_not_return_is_told_once_with_its_stack(watchdog, clock, reports, caplog):
    with a_call_that_hangs(watchdog):
        pass_time(watchdog, clock, PATIENCE * 10)
        assert (watchdog.stuck, reports, caplog.messages) == ([], [], [])
        pass_time(watchdog, clock, 60)
        assert watchdog.stuck == ["init_transactions topic=schedules partition=3"]
        (told,) = caplog.records
        said = told.event_fields
        assert (told.levelno, told.message) == (logging.ERROR, "a call does not return")
        assert {"call": "init_transactions", "partition": 3, "limit": 10.0}.items() <= said.items()
        assert "in init_transactions_of_the_client" in said["stack"]
    assert watchdog.stuck == []
    assert reports == [1, 0]
    assert caplog.messages[1:] == ["the call has returned"]


def test_a_call_that_fails_is_over(watchdog, clock, reports):
    with pytest.raises(ValueError, match="refused"), watchdog.call("commit", 1.0):
        raise ValueError("refused")
    pass_time(watchdog, clock, 60)
    assert (watchdog.stuck, reports) == ([], [])


def test_the_time_for_which_the_process_stood_still_does_not_count(watchdog, clock, caplog):
    with a_call_that_hangs(watchdog):
        pass_time(watchdog, clock, 5)
        clock.seconds += 3600
        pass_time(watchdog, clock, PATIENCE * 10 - 6)
        assert watchdog.stuck == []
        pass_time(watchdog, clock, 10 + ASLEEP_SECONDS)
        assert len(watchdog.stuck) == 1
    assert len(caplog.records) == 2
