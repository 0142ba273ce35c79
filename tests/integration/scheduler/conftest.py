"""An installation for each test: topics and a group of its own on the run's broker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.schedules import Installation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.broker import Broker, Topics


@pytest.fixture
def install(broker: Broker, topics: Topics) -> Callable[..., Installation]:
    """Make an installation with other than one partition, or with other settings."""
    return partial(Installation.make, broker.bootstrap_servers, topics)


@pytest.fixture
def installation(install: Callable[..., Installation]) -> Installation:
    """One schedules topic of one partition."""
    return install()
