"""A broker whose network is the tests' own, and an installation on it for each test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_kafka import LocalKafka
from tests.support.broker import Topics
from tests.support.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHORT_SESSIONS = {"group.min.session.timeout.ms": "1000"}


@pytest.fixture(scope="session")
def proxied() -> Iterator[LocalKafka]:
    """One broker behind a proxy, which lets replicas be missed after a second."""
    with LocalKafka(heap="512m", properties=SHORT_SESSIONS, proxied=True) as kafka:
        yield kafka


@pytest.fixture
def make_scene(proxied: LocalKafka, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes an installation and what happens to it; the network is well again afterwards."""
    topics = Topics(proxied.bootstrap_servers)
    with ExitStack() as until_the_end:

        def make(**given: Any) -> Scene:
            return until_the_end.enter_context(Scene(proxied, topics, tmp_path, **given))

        yield make
    topics.delete()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """One of one partition."""
    return make_scene()
