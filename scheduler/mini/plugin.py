"""The pytest fixture `scheduler_mini`. Nothing is loaded and nothing starts before a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.mini.harness import SchedulerMini


@pytest.fixture(scope="session")
def _scheduler_mini() -> Iterator[SchedulerMini]:
    from scheduler.mini.harness import SchedulerMini  # noqa: PLC0415 - with the Kafka client, where it is wanted

    with SchedulerMini() as mini:
        yield mini


@pytest.fixture
def scheduler_mini(_scheduler_mini: SchedulerMini) -> SchedulerMini:
    """A scheduler with an embedded broker and a clock that stands still at the machine's time until it is moved.

    One for the whole run, with nothing in force and nothing fired when a test begins.
    """
    _scheduler_mini.reset()
    return _scheduler_mini
