"""What every test may ask for: a real broker and topics on it; and what a run says at its end."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.broker import Broker, NoBrokerError, Topics, running_broker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# how long an example takes says how busy the machine is
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# a shell lets what it puts in the background ignore Ctrl-C, and whatever that starts
signal.signal(signal.SIGINT, signal.default_int_handler)

BROKER_USED = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A real Kafka for the whole run, started when a test first asks; a machine that has none fails."""
    failure = ""
    with ExitStack() as until_the_end:
        try:
            used = until_the_end.enter_context(running_broker(os.environ))
        except NoBrokerError as error:
            failure = str(error)
        if failure:
            request.config.stash[BROKER_USED] = f"none could be had. {failure}"
            pytest.fail(failure, pytrace=False)
        request.config.stash[BROKER_USED] = used.name
        yield used
        gc.collect()  # a client that outlives the broker would complain behind the run's last line


@pytest.fixture
def topics(broker: Broker) -> Iterator[Topics]:
    """A maker of topics with names of their own; they are deleted after the test."""
    made = Topics(broker.bootstrap_servers)
    yield made
    made.delete()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """With CI set, let a skipped test fail the run: there, it is a test that nobody would miss."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    in_ci = bool(os.environ.get("CI"))
    if in_ci and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    # After the count of tests, so that these are the run's last lines.
    if reporter:
        if in_ci and skipped:
            reporter.write_line(f"{skipped} skipped: with CI set, that fails the run.", red=True)
        reporter.write_line(f"broker: {session.config.stash.get(BROKER_USED, 'none was needed')}")
