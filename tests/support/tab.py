"""A tab of a real browser on the admin page of a replica."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.schedules import wait_until

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from tests.support.schedules import Installation

SECONDS = 30_000
"""For whatever the page waits for, in the browser's milliseconds."""
SIZES = {"light": (1280, 860), "dark": (1280, 860), "phone": (390, 844)}


class Tab:
    """A page of the browser, and all that it complained of."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.complaints: list[str] = []
        page.set_default_timeout(SECONDS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # an answer of 401 or 404 is part of some tests; the browser calls it an error of its own
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, path: str = "") -> Any:
        """Go to a page, as by its address."""
        self.page.goto("about:blank")  # else the page before may be taken for this one: only what is behind # changes
        self.page.goto(f"{self.base}/#/{path}")
        return self.shown()

    def shown(self) -> Any:
        """The page once it is drawn."""
        self.page.wait_for_selector("main[aria-busy=false] h1")
        return self.page

    def role(self, role: str, name: str | re.Pattern[str], **more: Any) -> Any:
        """What a person would call it."""
        return self.page.get_by_role(role, name=name, **more)

    def until(self, condition: str) -> None:
        """Return once the page's own script would find it true; the page forbids what the browser's driver does."""
        wait_until(lambda: self.page.evaluate(condition), condition)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sees(self, text: str, where: str = "main") -> None:
        self.page.locator(where).get_by_text(text).first.wait_for()


@contextmanager
def opened(installation: Installation, chromium: Any, *, mode: str = "light", **settings: Any) -> Iterator[Tab]:
    """A tab on the page of a replica; whatever it complains of fails the test."""
    width, height = SIZES[mode]
    with installation.replica(server_addr="127.0.0.1:0", **settings) as replica:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if mode == "dark" else "light"
        )
        tab = Tab(context.new_page(), f"http://{replica.api_address}")
        try:
            yield tab
        finally:
            context.close()
        assert tab.complaints == []
