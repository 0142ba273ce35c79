"""Who may ask and change: tokens, other machines, other sites' pages, bodies that are none."""

from __future__ import annotations

from functools import cache

import pytest
from starlette.datastructures import Headers

from scheduler.api.guard import Rules
from tests.support.fleet import Brokers, Replica

BODY = {"target_topic": "orders", "delay": "1h"}
PUT = ("PUT", "/api/v1/schedules/a")
TOKEN = "correct horse"  # noqa: S105 - of a test


@cache
def _made(**settings):
    return Replica(Brokers(), **settings)


def made(**settings):
    """A replica with nothing in force; making its application takes longer than asking it."""
    replica = _made(**settings)
    replica.kafka.clear()
    return replica


def refused(answer, status, *words):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in answer.json()["detail"]


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", f"Basic {TOKEN}", "Bearer correct horse2", TOKEN])
@pytest.mark.parametrize(("method", "path"), [PUT, ("GET", "/api/v1/schedules"), ("POST", "/api/v1/pause")])
def test_with_a_token_nothing_of_the_versioned_api_is_told_or_done_without_it(method, path, given):
    replica = made(api_token=TOKEN)
    headers = {} if given is None else {"Authorization": given}
    answer = replica.ask(method, path, headers=headers)
    refused(answer, 401, "API_TOKEN")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_everything_is(scheme):
    replica = made(api_token=TOKEN, loopback=False, host="10.0.0.7")
    headers = {"Authorization": f"{scheme} {TOKEN}"}

    assert replica.ask(*PUT, json=BODY, headers=headers).status_code == 201
    assert replica.ask("GET", "/api/v1/schedules/a", headers=headers).status_code == 200
    assert replica.ask("GET", "/liveness").status_code == 200, "an orchestrator has no token"


def test_without_a_token_changes_are_for_this_machine_alone():
    local, wide = made(), made(loopback=False, host="10.0.0.7")

    assert local.ask(*PUT, json=BODY).status_code == 201
    refused(wide.ask(*PUT, json=BODY), 403, "API_TOKEN")
    assert wide.ask("GET", "/api/v1/schedules").status_code == 200


def test_what_a_proxy_brings_to_the_loopback_is_not_from_this_machine():
    replica = made(host="scheduler.example")

    assert replica.ask("GET", "/api/v1/schedules").status_code == 200
    refused(replica.ask(*PUT, json=BODY), 403, "API_TOKEN")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]", "", "["])
@pytest.mark.parametrize("path", ["/api/v1/schedules", "/schedules", "/docs"])
def test_a_name_that_was_made_to_point_here_is_refused(host, path):
    refused(made().ask("GET", path, headers={"Host": host}), 400, "Host")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1234", "LOCALHOST", "[::1]:8000"])
def test_this_machine_s_own_names_are_served(host):
    assert made().ask("GET", "/api/v1/schedules", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
    ],
)
def test_another_site_s_page_changes_nothing(headers):
    replica = made()

    refused(replica.ask(*PUT, json=BODY, headers=headers), 403, next(iter(headers)))
    refused(replica.ask("POST", "/api/v1/pause", headers=headers), 403)
    assert not replica.kafka.logs["schedules", 0].engine.paused


def test_the_page_of_this_server_may_change():
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert made().ask(*PUT, json=BODY, headers=headers).status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_a_body_is_json_or_refused(kind):
    headers = {} if kind is None else {"Content-Type": kind}
    refused(made().ask(*PUT, content=b'{"target_topic":"o","delay":"1h"}', headers=headers), 415)


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in pieces"])
def test_a_body_without_end_is_refused(told):
    async def pieces():
        for _ in range(200):
            yield b" " * 10_000

    content = b" " * 2_000_000 if told else pieces()
    answer = made().ask(*PUT, content=content, headers={"Content-Type": "application/json"})
    refused(answer, 413, "1,500,000")


def test_where_there_is_nothing_to_guard_other_machines_may_change_things_and_other_sites_may_not():
    rules = Rules("", loopback=False, anybody=True)

    assert rules.refusal("PUT", PUT[1], Headers({"host": "mini:8000"})) is None
    refusal = rules.refusal("PUT", PUT[1], Headers({"host": "mini:8000", "origin": "http://elsewhere"}))
    assert refusal is not None
    assert refusal.status == 403


def test_what_a_browser_is_told():
    replica = made()
    for path in ("/api/v1/schedules", "/api/v1/nothing", "/docs"):
        headers = replica.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert replica.ask("GET", "/api/v1/schedules").headers["cache-control"] == "no-store"


def test_the_page_of_the_document_asks_no_other_server():
    replica = made()
    page = replica.ask("GET", "/docs").text

    assert "http://" not in page
    assert "https://" not in page
    for path in ("/docs/static/swagger-ui-bundle.js", "/docs/static/swagger-ui.css", "/openapi.json"):
        assert path in page
        assert replica.ask("GET", path).status_code == 200


def test_the_document_names_the_token_where_one_is_needed():
    operation = made(api_token=TOKEN).ask("GET", "/openapi.json").json()["paths"]["/api/v1/schedules"]["get"]

    assert operation["security"] == [{"API_TOKEN": []}]
    assert "security" not in made().ask("GET", "/openapi.json").json()["paths"]["/api/v1/schedules"]["get"]
