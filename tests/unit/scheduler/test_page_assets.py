"""The files of the admin page: what a browser may run, and that nothing comes from elsewhere."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import pytest

from tests.support.fleet import Brokers, Replica

TOKEN = "correct horse"  # noqa: S105 - of a test
STATIC = files("scheduler.page") / "static"
FILES = sorted(each.name for each in STATIC.iterdir())
SCRIPTS = [name for name in FILES if name.endswith(".js")]
STYLES = [name for name in FILES if name.endswith(".css")]


@cache
def replica(**settings):
    return Replica(Brokers(), **settings)


def read(name):
    return (STATIC / name).read_text(encoding="utf-8")


def test_the_page_is_there_without_a_token_and_may_run_nothing_but_its_own_files():
    answer = replica(api_token=TOKEN).ask("GET", "/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_as_what_it_is_and_not_again_where_it_has_not_changed(name):
    kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "html": "text/html"}[name.split(".")[1]]
    answer = replica().ask("GET", f"/page/{name}")
    again = replica().ask("GET", f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})

    assert (answer.status_code, answer.text) == (200, read(name))
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/page/", "/page/nothing.js", "/page/..%2Fassets.py", "/page/%2e%2e/assets.py"])
def test_nothing_else_is_served(path):
    answer = replica().ask("GET", path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_whatever_is_loaded_is_there():
    html = read("index.html")
    loaded = set(re.findall(r'(?:src|href)="/page/([^"]+)"', html))
    for name in SCRIPTS:
        loaded |= set(re.findall(r'from "\./([^"]+)"', read(name)))

    assert loaded == set(FILES) - {"index.html"}


def test_nothing_is_loaded_from_elsewhere():
    for name in FILES:
        found = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"')]*", read(name)))
        assert found <= {"http://www.w3.org/2000/svg"}, name


def test_data_never_becomes_html_or_code():
    """Ids, payloads and headers are anybody's: elements are made, and text is set as text."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
        r"|createContextualFragment|setHTML"
    )
    for name in SCRIPTS:
        assert re.findall(forbidden, read(name)) == [], name
    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", read("index.html")) == []


def test_colours_are_given_for_light_and_dark():
    colours = re.compile(r"(--[a-z-]+):")
    light, dark = read("base.css").split("@media (prefers-color-scheme: dark)", 1)
    dark = dark.split("\n}\n", 1)[0]

    assert set(colours.findall(light)) - set(colours.findall(dark)) == {"--sans", "--mono"}
    used = {name for style in STYLES for name in re.findall(r"var\((--[a-z-]+)\)", read(style))}
    assert used <= set(colours.findall(light))
