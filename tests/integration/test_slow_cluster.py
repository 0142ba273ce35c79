"""A cluster that is slow for everybody: what is due is late, and comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.local_kafka import LocalKafka
from dev.proxy import Api
from tests.support.broker import Topics
from tests.support.schedules import Installation, clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.proxy import Proxy

START_SECONDS = 240.0
COUNT = 120
PAYLOAD = b"." * 200_000
"""Five of them fill a request."""
PRODUCE_SECONDS = 0.15
"""For each request: all at once take 7 s and more, which is longer than a transaction has."""


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    with LocalKafka(proxied=True, start_seconds=START_SECONDS) as started:
        yield started


@pytest.fixture
def proxy(kafka: LocalKafka) -> Iterator[Proxy]:
    (proxy,) = kafka.proxies.values()
    yield proxy
    proxy.weather.delay_by_api = {}


@pytest.fixture
def installation(kafka: LocalKafka) -> Iterator[Installation]:
    topics = Topics(kafka.bootstrap_servers)
    yield Installation.make(kafka.bootstrap_servers, topics)
    topics.delete()


@pytest.mark.timeout(500)
def test_a_backlog_that_is_too_much_for_one_transaction_is_fired_in_smaller_ones(
    installation: Installation, proxy: Proxy
) -> None:
    due_ms = clock.now_ms() - 60_000
    keys = [b"large-%d" % number for number in range(COUNT)]
    installation.write(*(installation.schedule(key, PAYLOAD, due_ms=due_ms) for key in keys))
    proxy.weather.delay_by_api = {Api.PRODUCE: PRODUCE_SECONDS}
    with installation.replica():
        fired = installation.wait_for(installation.target, COUNT, seconds=150)
        proxy.weather.delay_by_api = {}
        installation.wait_for(installation.history, COUNT)

    assert sorted(record["scheduler-key"] or b"" for record in fired) == sorted(keys)
    assert len(installation.read(installation.target)) == COUNT
