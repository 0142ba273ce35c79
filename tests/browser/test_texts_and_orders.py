"""The admin page with texts that an input or a line cannot hold, and its list in every order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.schedules import JAVA, clock
from tests.support.tab import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation

pytestmark = pytest.mark.browser

LATER_MS = 3_600_000
MOST = 1000
"""So many are put in an order of their own."""


def test_a_change_leaves_what_nobody_touched_as_it_was(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    key, payload = b"line\nbreak", b"one\r\ntwo\r\n"
    there = installation.schedule(
        key, payload, due_ms=clock.now_ms() + LATER_MS, target_key=b"k\nk", headers=[("multi\nline", b"a\nb")]
    )
    installation.write(there)
    with opened(installation, chromium) as tab:
        page = tab.open(f"create?like={quote(key.decode())}")
        page.get_by_text("When late, and more").click()
        page.locator("[name=misfire]").select_option("skip")
        tab.role("button", "Replace it").click()
        tab.role("button", "Fire now").wait_for()
    _, changed = installation.wait_for(installation.schedules, 2, key=key)
    assert changed.value == payload
    assert changed["multi\nline"] == b"a\nb"
    assert changed["scheduler-target-key"] == b"k\nk"
    assert changed["scheduler-misfire"] == b"skip"


def test_what_cannot_be_seen_is_shown_as_an_escape(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    turned = "\u202egpj.exe"
    due_ms = clock.now_ms() + LATER_MS
    installation.write(
        installation.schedule(b"a\tb", b"first\nsecond \x1b[31m", due_ms=due_ms, headers=[(turned, b"x")])
    )
    with opened(installation, chromium) as tab:
        page = tab.open("schedules")
        tab.sees(r"a\tb", "tbody")
        page.locator("tbody a.id").click()
        tab.sees(r"\u202egpj.exe", "tbody")
        assert page.locator("pre.payload").first.inner_text() == "first\nsecond \\x1b[31m"


def test_the_list_is_put_in_each_order(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install(partitions=2)
    now_ms = clock.now_ms()
    first, second, third = (  # by when they are written
        installation.schedule(key, due_ms=now_ms + LATER_MS * hours) for key, hours in ((b"b", 3), (b"c", 1), (b"a", 2))
    )
    for each in (first, second, third):
        installation.write(each, partitioner=JAVA)
    with opened(installation, chromium) as tab:
        page = tab.open("schedules")
        orders = {"-due": "bac", "id": "abc", "-id": "cba", "-written": "acb", "written": "bca", "due": "cab"}
        shown = "[...document.querySelectorAll('tbody a.id')].map((each) => each.textContent).join('')"
        for order, expected in orders.items():
            page.get_by_label("Order").select_option(order)
            tab.until(f"{shown} === '{expected}'")
        tab.open("schedules?order=-id")
        tab.until(f"{shown} === 'cba'")


def test_of_more_than_can_be_put_in_an_order_the_list_says_so(
    install: Callable[..., Installation], chromium: Any
) -> None:
    installation = install(partitions=2)
    now_ms = clock.now_ms()
    many = (installation.schedule(b"%d" % each, due_ms=now_ms + LATER_MS + each) for each in range(MOST + 1))
    installation.write(*many, partitioner=JAVA)
    with opened(installation, chromium) as tab:
        page = tab.open("schedules?order=-due")
        tab.sees("These are the 1,000 that are due first")
        assert page.locator("tbody a.id").first.inner_text() == str(MOST - 1)
        page.locator("[name=search]").fill("99")
        page.locator(".note").wait_for(state="detached")
        assert page.locator("tbody a.id").first.inner_text() == "999"


def test_what_comes_is_in_a_list_that_was_empty(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    with opened(installation, chromium) as tab:
        tab.open("schedules")
        tab.sees("Nothing is in force.")
        installation.write(installation.schedule(b"comes", due_ms=clock.now_ms() + LATER_MS))
        tab.sees("comes", "tbody")


def test_json_is_indented_and_not_rewritten(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    payload = b'{"id":12345678901234567890,"a":[],"b":[1.10,"x: {\\n}"],"a":null}'
    installation.write(installation.schedule(b"json", payload, due_ms=clock.now_ms() + LATER_MS))
    with opened(installation, chromium) as tab:
        page = tab.open("schedule?id=json")
        assert page.locator("pre.payload").inner_text().split("\n") == [
            "{",
            '  "id": 12345678901234567890,',
            '  "a": [],',
            '  "b": [',
            "    1.10,",
            r'    "x: {\n}"',
            "  ],",
            '  "a": null',
            "}",
        ]


def test_the_history_is_told_from_when_to_when(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    installation.write(installation.schedule(b"gone", due_ms=clock.now_ms()))
    with opened(installation, chromium) as tab:
        installation.fired(b"gone")
        page = tab.open("history?since=2020-01-01T00:00:00Z")
        tab.sees("gone", "tbody")
        page.get_by_label("Ended before").fill("2021-01-01T00:00:00")
        tab.sees("Nothing fits")
        page.get_by_label("Ended before").fill("")
        tab.sees("gone", "tbody")
