"""The admin page with a payload decoder: a view more of a payload, asked for when somebody opens it."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.decoder import payload_decoder
from tests.support.schedules import clock
from tests.support.tab import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.schedules import Installation

pytestmark = pytest.mark.browser

PAYLOAD = b"\x00\x00\x00\x00\x07\x0e\xffvideo 1"
TITLE = '<img src=x onerror="window.hacked=1">'
ANSWER = b'{"title": "<img src=x onerror=\\"window.hacked=1\\">", "online": 1893456000}'


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_payload_is_decoded_once_somebody_opens_it(
    install: Callable[..., Installation], chromium: Any, mode: str
) -> None:
    installation = install()
    due_ms = clock.now_ms() + 3_600_000
    installation.write(
        installation.schedule(b"avro", PAYLOAD, due_ms=due_ms, headers=[("schema", b"video")]),
        installation.schedule(b"fired", PAYLOAD, due_ms=clock.now_ms()),
        installation.schedule(b"large", b"x" * 5000, due_ms=clock.now_ms()),
    )
    with (
        payload_decoder() as decoder,
        opened(installation, chromium, mode=mode, payload_decoder_url=decoder.url) as tab,
    ):
        decoder.body = ANSWER
        installation.fired(b"fired", b"large")
        for path, text in {"": "The coming hour", "schedules": "avro", "history": "large"}.items():
            tab.open(path)
            tab.sees(text)
        page = tab.open("schedule?id=avro")
        assert page.locator("pre.payload").inner_text().startswith("000000  00 00 00 00 07 0e ff")
        assert decoder.asked == []
        tab.role("button", "Decoded").click()
        tab.sees("<img src=x onerror=", "pre.payload")
        assert page.locator("pre.payload .json-key").all_inner_texts() == ['"title"', '"online"']
        _shoot(page, "decoded", mode)
        decoder.status, decoder.body = 404, b"no schema 7"
        tab.role("button", "Hex").click()
        tab.role("button", "Decoded").click()
        tab.sees("answers with 404", ".note-error")
        tab.sees("and says: no schema 7", ".note-error")
        _shoot(page, "refused", mode)
        decoder.status, decoder.body = 200, b""
        tab.role("button", "Decoded").click()
        tab.sees("The decoder leaves it as it is.", ".note")
        assert decoder.values() == [PAYLOAD] * 3

        decoder.body = TITLE.encode()
        page = tab.open("history?contains=fired")
        page.locator("button.row-open").first.click()
        tab.role("button", "Decoded").click()
        tab.sees(TITLE, ".opened")
        _shoot(page, "history", mode)
        assert [each["id"] for each in decoder.asked] == ["avro"] * 3 + ["fired"]
        assert page.evaluate("window.hacked") is None

        with _told(page):
            tab.open("history?contains=large")  # of which the beginning alone is kept
            page.locator("button.row-open").first.click()
        tab.sees("Cut here")
        assert tab.role("button", "Decoded").count() == 0


def test_without_a_decoder_there_is_no_such_view(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    installation.write(installation.schedule(b"avro", PAYLOAD, due_ms=clock.now_ms() + 3_600_000))
    with opened(installation, chromium) as tab:
        with _told(tab.page):
            tab.open("schedule?id=avro")
        tab.role("button", "Hex").wait_for()
        assert tab.role("button", re.compile("Decoded", re.IGNORECASE)).count() == 0


@contextmanager
def _told(page: Any) -> Iterator[None]:
    """Leave it once the page knows whether there is a decoder."""
    with page.expect_response("**/info"):
        yield
    page.evaluate("fetch('/info').then((answer) => answer.text())")  # behind what the page does with the first answer


def _shoot(page: Any, name: str, mode: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"decoder-{name}-{mode}.png", full_page=True)
