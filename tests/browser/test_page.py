"""The admin page in a real browser, with a replica on a real broker behind it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scheduler.job import Job
from tests.support.records import Put
from tests.support.schedules import JAVA, clock
from tests.support.tab import SIZES, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.schedules import Installation

pytestmark = pytest.mark.browser

TOKEN = "correct horse"  # noqa: S105 - of a test
EVIL = '<img src=x onerror="window.hacked=1">'

TOO_WIDE = """[`${document.documentElement.scrollWidth} of ${innerWidth} pixels`,
    ...document.querySelectorAll('main *')]
    .filter((each) => document.documentElement.scrollWidth > innerWidth && (typeof each === 'string'
        || each.scrollWidth > each.clientWidth + 1 || each.getBoundingClientRect().right > innerWidth))
    .map((each) => each.outerHTML?.slice(0, 120) ?? each)"""


def furnish(installation: Installation) -> None:
    """Something for each page to show."""
    now_ms = clock.now_ms()
    run = {"run_id": "nightly@1", "id": "nightly", "job": "nightly-report", "cluster": "c", "outcome": "failed"}
    job = Job.model_validate({"id": "nightly", "job": "nightly-report", "cluster": "c", "command": "exit 3"})
    installation.write(
        *(installation.schedule(b"order-%d/reminder" % each, due_ms=now_ms + each * 70_000) for each in range(1, 40)),
        installation.schedule(b"fired", due_ms=now_ms),
        installation.schedule(b"every", b"\x00\xff", cron="@every 10m"),
        installation.schedule(EVIL.encode(), EVIL.encode(), due_ms=now_ms + 3_600_000, headers=[(EVIL, EVIL.encode())]),
        installation.schedule(b"evil-fired " + EVIL.encode(), EVIL.encode(), due_ms=now_ms),
        Put(installation.schedules, EVIL.encode() + b" rejected", b"", []),
        Put(
            installation.dead_letters,
            b"nightly",
            job.to_json(),
            [("dead-letter-reason", EVIL.encode()), ("dead-letter-source", b"c-0@0")],
        ),
        partitioner=JAVA,
    )
    # what the test's installation has no topic of its own for
    installation.write(Put(installation.target, b"nightly@1", json.dumps({**run, "output": EVIL}).encode(), []))
    installation.fired(b"fired", b"evil-fired " + EVIL.encode())


@pytest.mark.parametrize("mode", SIZES)
def test_every_page_opens_and_fits_and_shows_anybodys_text_as_text(
    install: Callable[..., Installation], chromium: Any, mode: str
) -> None:
    installation = install(partitions=2)
    with opened(installation, chromium, mode=mode, results_topic=installation.target) as tab:
        furnish(installation)
        pages = {
            "": "Where this is",
            "schedules": EVIL,
            f"schedule?id={EVIL.replace('=', '%3D')}": EVIL,
            "schedule?id=every": "@every 10m",
            "create": "Payload",
            "history": "rejected",
            "jobs": "nightly-report",
            "jobs?id=nightly": "c",
            "dead": EVIL,
        }
        for number, (path, text) in enumerate(pages.items()):
            page = tab.open(path)
            tab.sees(text)
            for opener in page.locator("button.row-open").all()[:2]:
                opener.click()
                page.locator(".opened").first.wait_for()
            assert page.evaluate(TOO_WIDE) == [], path
            assert page.evaluate("window.hacked") is None, path
            if folder := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=Path(folder) / f"{number}-{mode}.png", full_page=True)


def test_a_schedule_is_written_moved_paused_fired_and_found_in_the_history(
    install: Callable[..., Installation], chromium: Any
) -> None:
    installation = install(partitions=2)
    with opened(installation, chromium) as tab:
        page = tab.open("create")
        page.locator("[name=id]").fill("by/hand #1")
        page.locator("[name=target_topic]").fill(installation.target)
        page.locator("[name=delay]").fill("1h")
        page.locator("[name=payload]").fill('{"a": 1}')
        tab.role("button", "Add a header").click()
        page.get_by_label("Header name").fill("trace")
        page.get_by_label("Header value").fill("7")
        tab.role("button", "Write it").click()
        tab.role("button", "Fire now").wait_for()
        assert page.locator("pre.payload").first.inner_text() == '{\n  "a": 1\n}'
        tab.role("button", "Hex").click()
        assert page.locator("pre.payload").first.inner_text().startswith("000000  7b 22 61")
        tab.sees("in 59 min")

        tab.role("button", "Reschedule").click()
        page.locator("[name=cron]").fill("30 2 * * mon-fri")
        tab.role("button", "Reschedule").last.click()
        tab.sees("Next occurrences")
        tab.role("button", "Pause").click()
        tab.role("button", "Resume").wait_for()
        tab.role("button", "Resume").click()
        tab.role("button", "Pause").wait_for()
        tab.role("button", "Fire now").click()
        tab.role("button", "Fire now").last.click()
        (message,) = installation.fired(b"by/hand #1")
        assert (message.value, message["trace"]) == (b'{"a": 1}', b"7")

        tab.role("button", "Cancel it").click()
        tab.role("button", "Cancel it").last.click()
        tab.sees("not in force")
        tab.role("button", "Show versions").click()
        tab.sees("tombstone")
        tab.open("history?contains=hand")
        tab.sees("cancelled", "tbody")
        tab.sees("fired", "tbody")


def test_everything_is_reached_by_the_keyboard(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    installation.write(*(installation.schedule(b"%s" % key, due_ms=clock.now_ms() + 900_000) for key in (b"a", b"b-1")))
    with opened(installation, chromium) as tab:
        page = tab.open()
        tab.press("g", "s")
        tab.role("heading", "Schedules").wait_for()
        tab.press("/")
        tab.until("document.activeElement.type === 'search'")
        page.keyboard.type("b-")
        tab.until("document.querySelectorAll('tbody tr').length === 1")
        tab.press("Escape", "j")
        tab.until("document.activeElement.textContent === 'b-1'")
        tab.press("Enter")
        tab.role("button", "Fire now").wait_for()
        tab.press("?")
        tab.role("dialog", "Keyboard").wait_for()
        tab.press("Escape")
        tab.role("dialog", "Keyboard").wait_for(state="detached")
        tab.press("n")
        page.locator("[name=target_topic]").wait_for()


def test_what_comes_is_shown_live(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    with opened(installation, chromium) as tab:
        tab.open("history")
        installation.write(installation.schedule(b"comes", due_ms=clock.now_ms()))
        tab.sees("comes", "tbody")


def test_a_schedule_that_recurs_is_shown_with_its_next_due_time(
    install: Callable[..., Installation], chromium: Any
) -> None:
    installation = install()
    installation.write(installation.schedule(b"every", cron="@every 1s"))
    with opened(installation, chromium) as tab:
        page = tab.open("schedules")
        page.locator("tbody time").first.wait_for()  # while it fires, it is in no list
        shown = "document.querySelector('tbody time')?.dateTime"
        first = page.evaluate(shown)
        tab.until(f"{shown} > {json.dumps(first)}")


def test_letters_are_redriven(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    outcome: list[tuple[str, bytes | None]] = [
        ("scheduler-outcome", b"undeliverable"),
        ("scheduler-reason", b"unknown-target-topic"),
        ("scheduler-target-topic", installation.target.encode()),
        ("scheduler-fire-id", b"lost@1"),
    ]
    installation.write(Put(installation.dead_letters, b"lost", b"payload", outcome))
    with opened(installation, chromium) as tab:
        page = tab.open("dead")
        page.get_by_label("Choose 0-0").check()
        tab.role("button", "Redrive").click()
        tab.sees("is scheduled again, due now", "dialog")
        tab.role("dialog", re.compile("Redrive")).get_by_role("button", name="Redrive").click()
        tab.sees("1 letter redriven", "#toasts")
        tab.sees("No dead letter waits")
        (message,) = installation.fired(b"lost@1#redriven")
        assert message.value == b"payload"


def test_the_token_is_asked_for_and_kept_in_the_tab(install: Callable[..., Installation], chromium: Any) -> None:
    installation = install()
    with opened(installation, chromium, api_token=TOKEN) as tab:
        page = tab.open()
        tab.role("textbox", "Token").fill("wrong")
        tab.press("Enter")
        tab.role("textbox", "Token").fill(TOKEN)
        tab.press("Enter")
        tab.sees("The coming hour")
        page.reload()
        tab.sees("The coming hour")
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_a_replica_that_does_not_answer_is_said_and_tried_again(
    install: Callable[..., Installation], chromium: Any
) -> None:
    with opened(install(), chromium) as tab:
        page = tab.open()
        tab.sees("Connected", ".side")
        page.context.set_offline(True)
        tab.sees("No answer", ".side")
        page.context.set_offline(False)
        tab.sees("Connected", ".side")
