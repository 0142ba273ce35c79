"""Who may ask, and change: the token, this machine alone, no other web page's doing, and no endless bodies."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from scheduler.api import problems

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1_500_000
"""Bytes: a payload of Kafka's usual limit (1 MB) fits in base64."""
_READING = ("GET", "HEAD", "OPTIONS")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PAGE = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_DOCS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
_NOTHING = "default-src 'none'; frame-ancestors 'none'"


class Refusal(NamedTuple):
    """A request that is not let through, and why."""

    status: int
    detail: str


@dataclass(frozen=True)
class Rules:
    """What is let through."""

    token: str
    """Empty: there is none."""
    loopback: bool
    """Whether the server listens on this machine's loopback alone."""
    names: frozenset[str] = frozenset()
    """Other hosts than the loopback's that this server may be asked as."""
    anybody: bool = False
    """Whether other machines may change things without a token: there is nothing worth guarding."""

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request is not let through; None where it is."""
        host = _host(headers.get("host", ""))
        if self.loopback and host not in _LOOPBACK and host not in self.names:
            # a web page whose name was made to point to this machine (DNS rebinding) says its own name here
            return Refusal(400, f"Host: {host!r} is not this server; ask 127.0.0.1, or set ADVERTISED_ADDR")
        versioned = path.startswith("/api/")
        changing = method not in _READING
        if versioned and self.token and not self._has_token(headers):
            return Refusal(401, "Authorization: Bearer <API_TOKEN> is needed")
        if not changing:
            return None
        if not (self.token or self.anybody or (self.loopback and host in _LOOPBACK)):
            return Refusal(
                403,
                "changes from another machine need a secret: set API_TOKEN for the replicas and send it as "
                "Authorization: Bearer <API_TOKEN>",
            )
        return _foreign(headers) or _body(headers)

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token.encode())


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return text


def _foreign(headers: Headers) -> Refusal | None:
    """A change that another web page asks for in its visitor's browser."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return Refusal(403, f"Sec-Fetch-Site: {site[:40]!r}: no other site's page may change anything here")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return Refusal(403, f"Origin: {origin[:100]!r}: no other site's page may change anything here")
    return None


def _body(headers: Headers) -> Refusal | None:
    length = headers.get("content-length", "0")
    if length == "0" and "transfer-encoding" not in headers:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Refusal(415, "Content-Type: application/json is what a body must be")
    return Refusal(413, _too_large()) if length.isdecimal() and int(length) > MAX_BODY else None


def _too_large() -> str:
    return f"the body is larger than {MAX_BODY:,} bytes"


class Guard:
    """The middleware in front of everything."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message), path)
            await send(message)

        refusal = self._rules.refusal(scope["method"], path, Headers(scope=scope))
        body: list[Message] = []
        if refusal is None and scope["method"] not in _READING:
            body, refusal = await _read(receive)
        if refusal is not None:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}  # noqa: PLR2004 - Unauthorized
            await problems.response(refusal.status, refusal.detail, headers)(scope, receive, sent)
            return

        async def again() -> Message:
            return body.pop(0) if body else await receive()

        await self._app(scope, again, sent)


async def _read(receive: Receive) -> tuple[list[Message], Refusal | None]:
    """The whole body, which may come in pieces of unknown number."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            return [], Refusal(413, _too_large())
        if not message.get("more_body", False):
            return messages, None


def _policy(path: str) -> str:
    if path.startswith("/docs"):
        return _DOCS
    return _PAGE if path == "/" or path.startswith("/page/") else _NOTHING


def _harden(headers: MutableHeaders, path: str) -> None:
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Content-Security-Policy", _policy(path))
    headers.setdefault("Referrer-Policy", "no-referrer")
    if path.startswith("/api/"):
        headers.setdefault("Cache-Control", "no-store")
