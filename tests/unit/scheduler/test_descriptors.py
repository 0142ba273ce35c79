"""A shortage of file descriptors is told once while it lasts, whoever comes and goes meanwhile."""

import logging
import os
import resource
from contextlib import contextmanager

import pytest

from scheduler.runtime.descriptors import CALM_SECONDS, Descriptors


class Clock:
    """Goes on when told."""

    seconds = 1.0

    def monotonic(self):
        return self.seconds


@contextmanager
def none_left():
    """This process can open no file, within the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def clock():
    return Clock()


def test_a_shortage_is_told_once_while_it_lasts_and_again_after_it(clock, caplog):
    descriptors = Descriptors(clock)
    descriptors.look()
    assert not caplog.records
    with none_left():
        for _ in range(3):
            descriptors.look()
            clock.seconds += CALM_SECONDS - 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    descriptors.look()
    clock.seconds += 1
    with none_left():
        descriptors.look()
    assert len(caplog.records) == 2
