"""Asks the payload decoder: the operator's own HTTP service, which knows what the bytes of a payload mean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from scheduler.api.problems import ProblemError

if TYPE_CHECKING:
    from ssl import SSLContext

NAME = "PAYLOAD_DECODER_URL"
SECONDS = 2.0
"""For an answer, from the connection to its last byte."""
MAX_ANSWER = 1 << 20
"""Bytes of an answer; a person reads it, and every tab that asks costs the replica so much memory."""
AT_ONCE = 4
"""Requests at the same time; more wait for their turn."""
MOST_SAID = 300
"""Characters of an answer that is none, for the person who has to mend it."""


class _Answer(NamedTuple):
    status: int
    kind: str
    body: bytes
    whole: bool


class Decoder:
    """Asked when a person opens a payload; rarely enough to keep no connection."""

    def __init__(self, url: str) -> None:
        given = httpx.URL(url)
        # apart from the credentials, so that no log or problem can name them; a query or a path may hold a secret too
        self._url = given.copy_with(username="", password="", fragment=None)
        self._auth = httpx.BasicAuth(given.username, given.password) if given.userinfo else None
        self._name = f"the payload decoder at {given.scheme}://{given.netloc.decode()}"
        self._tls: SSLContext | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def decode(self, record: dict[str, Any]) -> str | None:
        """What the decoder makes of a record's `value`; None where it answers with nothing, and leaves it as it is.

        Raises:
            ProblemError: it does not answer in time, or with anything but 200 and text.
        """
        try:
            async with self._turns, asyncio.timeout(SECONDS):
                answer = await self._post(record)
        except TimeoutError:
            raise ProblemError(
                504, f"{self._name} has not answered within {SECONDS:g} s: look at its log, and whether {NAME} is right"
            ) from None
        except httpx.TransportError as error:
            why = "cannot be reached" if isinstance(error, httpx.ConnectError) else "breaks off its answer"
            raise ProblemError(
                502, f"{self._name} {why} ({_said(repr(error))}): is it running, and is {NAME} right?"
            ) from error
        return self._text(answer)

    async def _post(self, record: dict[str, Any]) -> _Answer:
        if self._url.scheme == "https" and self._tls is None:
            try:
                self._tls = await asyncio.to_thread(httpx.create_ssl_context)  # knows SSL_CERT_FILE and SSL_CERT_DIR
            except OSError as error:
                raise ProblemError(
                    502, f"{self._name} cannot be asked: {_said(str(error))}: is SSL_CERT_FILE right?"
                ) from error
        client = httpx.AsyncClient(
            auth=self._auth,
            verify=self._tls or False,
            # the environment's proxies are for the world outside
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the caller's holds for all of it, however slowly bytes drip
            # what is compressed may be a thousand times as large as it looks
            headers={"Accept-Encoding": "identity"},
        )
        async with client, client.stream("POST", self._url, json=record) as answer:
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER:
                    break
            kind = answer.headers.get("content-type", "none")
            return _Answer(answer.status_code, kind, bytes(body[:MAX_ANSWER]), len(body) <= MAX_ANSWER)

    def _text(self, answer: _Answer) -> str | None:
        status, kind, body, whole = answer
        if status != httpx.codes.OK:
            said = _said(body.decode("utf-8", "replace"))
            more = f", and says: {said}" if said else ""
            if httpx.codes.is_redirect(status):
                what = f"Redirects are not followed: {NAME} has to name where it answers itself"
            else:
                what = f"Only 200 is an answer: look at its log, and whether {NAME} is right"
            raise ProblemError(502, f"{self._name} answers with {status}{more}. {what}")
        if not whole:
            raise ProblemError(502, f"{self._name} answers with more than {MAX_ANSWER:,} bytes, which is not shown")
        try:
            return body.decode("utf-8") or None
        except UnicodeDecodeError:
            raise ProblemError(
                502,
                f"{self._name} answers with {len(body):,} bytes that are no UTF-8 text (Content-Type: "
                f"{_said(kind)}): let it answer with text or JSON, in UTF-8 and not compressed",
            ) from None


def _said(text: str) -> str:
    """The beginning, on one line."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * MOST_SAID]).split())
    return line if len(line) <= MOST_SAID else f"{line[:MOST_SAID]}…"
