"""Payloads as the payload decoder reads them: a real HTTP server is asked, by replicas without Kafka."""

from __future__ import annotations

import logging
import socket

import pytest
from confluent_kafka import Message

from scheduler.api import decoder
from scheduler.archive.kept import PAYLOAD_BYTES, event_row
from scheduler.archive.store import Kind
from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import configure
from scheduler.runtime.settings import Settings
from tests.support.decoder import payload_decoder
from tests.support.fleet import NOW_MS, Brokers, Network, Replica

PASSWORD = "hunter2"  # noqa: S105 - what must not be shown
TOKEN = "correct horse"  # noqa: S105 - of a test
NEAR, FAR = ("schedules", 0), ("schedules", 1)
ANSWER = b'{"title": "video 1"}'


@pytest.fixture(scope="module")
def server():
    with payload_decoder() as running:
        yield running


@pytest.fixture(scope="module")
def installed(server):
    """Two replicas; the first one alone has a decoder, given with credentials and a secret of its own."""
    brokers, network = Brokers(), Network()
    url = f"http://us:{PASSWORD}@{server.address}/Read?key={PASSWORD}"
    near = Replica(brokers, [NEAR, ("retries", 0)], network=network, payload_decoder_url=url)
    far = Replica(brokers, [FAR, ("retries", 1)], port=8001, network=network)
    return brokers, near, far


@pytest.fixture
def told(server):
    """The decoder, which answers with JSON."""
    server.status, server.body, server.headers = 200, ANSWER, {"Content-Type": "application/json"}
    server.drips = server.breaks = False
    for kept in (server.asked, server.paths, server.authorizations):
        kept.clear()
    return server


@pytest.fixture
def brokers(installed):
    installed[0].clear()
    installed[1].archive.store.clear()
    return installed[0]


@pytest.fixture
def near(installed):
    return installed[1]


@pytest.fixture
def there(brokers):
    brokers.schedule(b"a", value=b"\x00\x01avro")


def ask(replica, query="id=a", status=200, **request):
    answer = replica.ask("GET", f"/api/v1/decoded?{query}", **request)
    assert answer.status_code == status, answer.text
    assert PASSWORD not in answer.text
    return answer.json() if status == 200 else answer.json()["detail"]


def ended(near, payload, *headers):
    message = Message(
        topic="past",
        partition=2,
        offset=7,
        key=b"a",
        value=payload,
        headers=[("scheduler-outcome", b"fired"), *headers],
        timestamp=(1, NOW_MS),
    )
    near.archive.store.add(Kind.EVENT, [event_row(message)])


@pytest.mark.parametrize("where", [NEAR, FAR], ids=["here", "at another replica, which has no decoder"])
@pytest.mark.parametrize("key", [b"a", b"..", b"a/b ?#", b"\xff"])
def test_a_payload_is_read_by_the_decoder_which_is_sent_what_etf1s_admin_sends(brokers, near, told, where, key):
    shown = key.decode("utf-8", "backslashreplace")
    brokers.schedule(key, where, value=b"\x00\x01avro", target_key=b"k\xfe")

    assert near.ask("GET", "/api/v1/decoded", params={"id": shown}).json() == {"text": ANSWER.decode()}
    (asked,) = told.asked
    assert asked == {
        "id": shown,
        "epoch": 1_893_456_000,
        "timestamp": NOW_MS // 1000,
        "topic": "schedules",
        "target-topic": "orders",
        "target-key": r"k\xfe",
        "value": "AAFhdnJv",
        "headers": [],
    }
    assert told.paths == [f"/Read?key={PASSWORD}"], "as it is written, capitals and all"
    assert told.authorizations == ["Basic dXM6aHVudGVyMg=="]


def test_headers_go_with_it(brokers, near, told):
    brokers.logs[NEAR].append(
        b"a",
        b"x",
        [("schema", b"video"), ("raw", b"\xff"), ("none", None), ("scheduler-target-topic", b"t"),
         ("scheduler-epoch", b"1893456000")],
    )  # fmt: skip
    ask(near)

    assert told.asked[0]["headers"] == [
        {"name": "schema", "value": "video"},
        {"name": "raw", "value": r"\xff"},
        {"name": "none", "value": None},
    ]


@pytest.mark.usefixtures("brokers")
def test_so_is_a_payload_of_the_history(near, told):
    ended(near, b"\x00\x01", ("scheduler-target-key", b"k"), ("scheduler-topic", b"schedules"), ("schema", b"video"))

    assert ask(near, "place=2-7") == {"text": ANSWER.decode()}
    (asked,) = told.asked
    assert told.values() == [b"\x00\x01"]
    assert {name: asked[name] for name in ("id", "epoch", "timestamp", "topic", "target-key")} == {
        "id": "a",
        "epoch": None,
        "timestamp": NOW_MS // 1000,
        "topic": "schedules",
        "target-key": "k",
    }
    assert {"name": "schema", "value": "video"} in asked["headers"]


@pytest.mark.usefixtures("brokers")
def test_of_a_payload_that_is_not_all_kept_the_decoder_is_not_asked(near, told):
    ended(near, b"x" * (PAYLOAD_BYTES + 1))

    assert "the first 4,096 of 4,097 bytes" in ask(near, "place=2-7", 422)
    assert told.asked == []


@pytest.mark.parametrize("payload", [b"", None])
def test_nor_where_there_is_no_payload(brokers, near, told, payload):
    ended(near, payload)
    brokers.schedule(b"a", value=b"")

    assert ask(near, "place=2-7") == ask(near) == {"text": None}
    assert told.asked == []


@pytest.mark.usefixtures("there")
def test_an_answer_of_nothing_leaves_the_payload_as_it_is(near, told):
    told.body = b""

    assert ask(near) == {"text": None}


@pytest.mark.usefixtures("there")
def test_an_answer_is_text_whatever_it_is_called(near, told):
    told.body, told.headers = "<b>видео</b>\x00".encode(), {"Content-Type": "text/html"}

    answer = near.ask("GET", "/api/v1/decoded?id=a")
    assert answer.json() == {"text": "<b>видео</b>\x00"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("status", [204, 400, 401, 500])
@pytest.mark.usefixtures("there")
def test_an_answer_that_is_not_200_is_told_with_what_it_says(near, told, status):
    told.status, told.body = status, b"" if status == 204 else b"no schema\n\x1b[31m 17" + b"!" * 1000
    found = ask(near, status=502)

    says = "." if status == 204 else ", and says: no schema [31m 17!!!"
    assert f"http://{told.address} answers with {status}{says}" in found
    assert found.endswith("Only 200 is an answer: look at its log, and whether PAYLOAD_DECODER_URL is right")
    assert len(found) < 600


@pytest.mark.usefixtures("there")
def test_a_redirect_is_not_followed(near, told):
    told.status, told.headers = 307, {"Location": f"http://{told.address}/elsewhere"}

    assert "Redirects are not followed: PAYLOAD_DECODER_URL" in ask(near, status=502)
    assert len(told.paths) == 1


@pytest.mark.usefixtures("there")
def test_bytes_that_are_no_text_are_refused(near, told):
    told.body, told.headers = b"\xff\xd8\xff", {"Content-Type": "image/jpeg"}

    found = ask(near, status=502)
    assert "3 bytes that are no UTF-8 text (Content-Type: image/jpeg)" in found


@pytest.mark.usefixtures("there")
def test_an_answer_that_is_too_large_is_not_read_to_its_end(near, told):
    told.body = b"x" * decoder.MAX_ANSWER
    assert len(ask(near)["text"]) == decoder.MAX_ANSWER

    told.body = b"x" * (64 * decoder.MAX_ANSWER)
    assert "more than 1,048,576 bytes" in ask(near, status=502)
    assert told.sent < len(told.body)


@pytest.mark.usefixtures("there")
def test_an_answer_that_takes_too_long_is_given_up(near, told, monkeypatch):
    monkeypatch.setattr(decoder, "SECONDS", 0.3)
    told.drips = True

    assert "has not answered within 0.3 s" in ask(near, status=504)


@pytest.mark.usefixtures("there")
def test_a_connection_that_breaks_is_told(near, told):
    told.breaks = True

    assert "breaks off its answer (RemoteProtocolError(" in ask(near, status=502)


def test_a_decoder_that_is_not_there_is_told():
    brokers = Brokers()
    with socket.create_server(("127.0.0.1", 0)) as taken:  # free again once it is closed
        url = f"http://us:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}/"
    replica = Replica(brokers, payload_decoder_url=url)
    brokers.schedule(b"a")

    found = ask(replica, status=502)
    assert "cannot be reached (ConnectError(" in found
    assert "is it running, and is PAYLOAD_DECODER_URL right?" in found


@pytest.mark.usefixtures("there")
def test_a_certificate_that_is_not_there_is_told(monkeypatch, told):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    replica = Replica(Brokers(), payload_decoder_url=f"https://us:{PASSWORD}@{told.address}/")
    replica.kafka.schedule(b"a")

    assert "SSL_CERT_FILE" in ask(replica, status=502)


def test_a_decoder_that_speaks_no_tls_is_told(told):
    replica = Replica(Brokers(), payload_decoder_url=f"https://us:{PASSWORD}@{told.address}/")
    replica.kafka.schedule(b"a")

    assert "cannot be reached (ConnectError('[SSL" in ask(replica, status=502)


def test_lists_and_single_views_never_ask_it(near, told):
    ended(near, b"\x00\x01")
    for path in ("/schedules", "/api/v1/schedules", "/api/v1/schedules/a", "/api/v1/history", "/api/v1/history/2-7",
                 "/api/v1/pending", "/info"):  # fmt: skip
        assert near.ask("GET", path).status_code == 200

    assert told.asked == []


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("", 422, "one of id and place"),
        ("id=a&place=0-1", 422, "one of id and place"),
        ("place=0-1&partition=0", 422, "topic and partition go with id"),
        ("place=x", 422, "query.place"),
        ("id=nothing", 404, "nothing is not in force"),
        ("place=9-9", 404, "9-9 is not among the records"),
        ("id=a&topic=other", 422, "'other' is not among"),
    ],
)
@pytest.mark.usefixtures("there")
def test_what_is_asked_wrongly_is_refused_before_the_decoder_is_asked(near, told, query, status, why):
    assert why in ask(near, query, status)
    assert told.asked == []


def test_without_a_decoder_there_is_no_sign_of_one():
    replica = Replica(Brokers())
    replica.kafka.schedule(b"a")

    assert "PAYLOAD_DECODER_URL" in ask(replica, status=404)
    assert "payload_decoder" not in replica.ask("GET", "/info").json()


def test_whether_there_is_one_is_told_and_not_where(near, told):
    answer = near.ask("GET", "/info")

    assert answer.json()["payload_decoder"] is True
    for secret in (PASSWORD, told.address):
        assert secret not in answer.text


def test_who_may_look_may_see_it(told):
    """The same as the payload itself."""
    guarded = Replica(Brokers(), api_token=TOKEN, payload_decoder_url=told.url)
    wide = Replica(Brokers(), loopback=False, host="10.0.0.7", payload_decoder_url=told.url)
    for replica in (guarded, wide):
        replica.kafka.schedule(b"a")

    assert "API_TOKEN" in ask(guarded, status=401)
    assert told.asked == []
    assert ask(guarded, headers={"Authorization": f"Bearer {TOKEN}"}) == {"text": ANSWER.decode()}
    assert ask(wide) == {"text": ANSWER.decode()}


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.usefixtures("there")
def test_no_log_names_its_credentials(near, told, capfd, level):
    root = logging.getLogger()
    kept, quiet = root.handlers[:], root.level
    try:
        configure(level, "text")
        ask(near)
        told.status = 500
        ask(near, status=502)
    finally:
        root.handlers[:] = kept
        root.setLevel(quiet)

    assert len(told.asked) == 2
    assert PASSWORD not in capfd.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        f"us:{PASSWORD}@decoder:8080/read",
        f"http:///read?key={PASSWORD}",
        f"ftp://us:{PASSWORD}@decoder/",
        f"http://us:{PASSWORD}@decoder:web/",
        f"http://us:{PASSWORD}@decoder:65536/",
        f"http://us:{PASSWORD}@a b/",
        f"http://us:{PASSWORD}@.../",
        f"http://us:{PASSWORD}@decoder/\n",
        f"//us:{PASSWORD}@decoder/",
        f"https://?{PASSWORD}",
    ],
)
def test_an_address_that_is_none_stops_the_start_and_is_not_repeated(text):
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(payload_decoder_url=text)

    found = str(refused.value)
    assert found.startswith("PAYLOAD_DECODER_URL: is no web address: write http:// or https://")
    assert PASSWORD not in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "text", ["http://10.0.0.7", "https://[::1]:8443/x", "http://decoder_1:8080/?a=b", "https://пример.example/"]
)
def test_an_address_that_is_one_is_taken_as_it_is_and_not_shown_with_the_settings(text):
    settings = Settings.load(payload_decoder_url=f"{text}#{PASSWORD}")

    assert settings.payload_decoder_url.get_secret_value() == f"{text}#{PASSWORD}"
    assert PASSWORD not in repr(settings)
    decoder.Decoder(settings.payload_decoder_url.get_secret_value())
