"""A payload decoder on a free port of the loopback: answers as a test wants it to, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 30.0
DRIPS = 200


class PayloadDecoder:
    """What it answers from now on, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        self.drips = False
        """Whether the answer takes `DRIPS` times as long as a byte of it."""
        self.breaks = False
        """Whether the connection ends before an answer."""
        self.over = threading.Event()
        self.sent = 0
        """Bytes of the last answer that somebody has taken."""

    @property
    def url(self) -> str:
        return f"http://{self.address}/Read"

    def values(self) -> list[bytes]:
        """The payloads that it was asked about."""
        return [b64decode(each["value"], validate=True) for each in self.asked]


@contextmanager
def payload_decoder() -> Iterator[PayloadDecoder]:
    """One that serves until the test is over."""
    told = PayloadDecoder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.paths.append(self.path)
            told.authorizations.append(self.headers["Authorization"])
            told.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if told.breaks:
                return
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for _ in range(DRIPS if told.drips else 0):
                    told.over.wait(0.05)
                    self.wfile.write(b"x")
                told.sent = 0
                for start in range(0, len(told.body), 65_536):
                    told.sent += self.wfile.write(told.body[start : start + 65_536])
            except OSError:
                pass  # who asked has gone, as it should

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        told.over.set()
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)
