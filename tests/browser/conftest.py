"""A real Chromium; `make test-browser` needs one, `make test` leaves these tests out."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.schedules import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.broker import Broker, Topics

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = "These tests need Chromium: `apt-get install chromium`, or CHROMIUM=/path/to/it."


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - asked for by these tests alone
    except ImportError:
        pytest.fail("These tests need the Python package playwright; `make install` brings it.", pytrace=False)
    with sync_playwright() as playwright:
        # the sandbox needs rights that a container's root has not; nothing but our own page is opened
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def install(broker: Broker, topics: Topics) -> Callable[..., Installation]:
    """Make an installation."""
    return partial(Installation.make, broker.bootstrap_servers, topics)
