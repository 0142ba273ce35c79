"""Whom the inbox wakes, and when what it holds is heard."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Message

from scheduler.broker import inbox as module
from scheduler.broker.inbox import NOTHING, Inbox
from scheduler.clock import Deadline, SystemClock

LONG = 30.0
"""Seconds: whoever waits for so long was not woken."""


def tombstone(offset: int) -> Message:
    return Message("schedules", 0, offset, b"key", None)


def waited(inbox: Inbox, seconds: float) -> float:
    """For how long an owner that is given so many seconds waits for the next."""
    clock = SystemClock()
    started = clock.monotonic()
    inbox.next(seconds)
    return clock.monotonic() - started


def test_what_is_given_wakes_the_owner() -> None:
    inbox = Inbox()
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(inbox.next, LONG)
        inbox.give([tombstone(1)])
        assert heard.result(LONG / 2).count == 1


def test_what_is_given_quietly_is_heard_with_the_next_look_and_in_order() -> None:
    inbox = Inbox()
    inbox.give([tombstone(1)], quietly=True)
    inbox.give([tombstone(2), tombstone(3)], quietly=True)
    assert [inbox.next(LONG).count, inbox.next(LONG).count] == [1, 2]
    assert inbox.next() is NOTHING


def test_what_is_given_quietly_wakes_nobody() -> None:
    inbox = Inbox()
    inbox.give([tombstone(1)], quietly=True)
    assert inbox.next().count == 1
    assert waited(inbox, 0.05) >= 0.05, "nor is a wake left behind"


def test_an_owner_that_is_roused_hears_what_was_given_quietly() -> None:
    inbox = Inbox()
    waits = threading.Event()

    def look() -> int:
        waits.set()
        return inbox.next(LONG).count

    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(look)
        waits.wait(LONG)
        inbox.give([tombstone(1)], quietly=True)
        inbox.rouse()
        assert heard.result(LONG / 2) == 1
    inbox.rouse()
    assert inbox.next(0.001) is NOTHING, "nothing is there to be roused for"


def test_whoever_waits_to_the_end_of_its_time_hears_what_came_quietly_meanwhile() -> None:
    inbox = Inbox()
    deadline = Deadline(SystemClock(), LONG)
    timer = threading.Timer(0.01, lambda: inbox.give([tombstone(1)], quietly=True))
    timer.start()
    heard = 0
    while not heard and not deadline.passed:
        heard = inbox.next(0.05).count
    assert heard == 1


def test_many_wakes_are_one() -> None:
    inbox = Inbox()
    with ThreadPoolExecutor(4) as pool:
        for woken in [pool.submit(inbox.wake) for _ in range(200)]:
            woken.result(LONG)
    assert inbox.next(LONG) is NOTHING, "it was woken"
    assert waited(inbox, 0.05) >= 0.05, "once, not as often as anybody wanted"


def test_one_that_has_too_much_is_woken_though_it_is_given_quietly(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 2)
    inbox = Inbox()
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(inbox.next, LONG)
        inbox.give([tombstone(1), tombstone(2), tombstone(3)], quietly=True)
        assert heard.result(LONG / 2).count == 3
    assert not inbox.room.is_set()
