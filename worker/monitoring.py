"""Serves /metrics, and /healthz, which fails when the poll loop is stuck."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from scheduler.runtime.settings import Address

STUCK_SECONDS = 30.0
"""A poll loop that has not come round for so long does not any more: what it waits for has limits of its own below."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: a scrape is no event."""


def serve(address: Address, registry: CollectorRegistry, idle_seconds: Callable[[], float]) -> str:
    """Serve in the background.

    Args:
        address: where to listen.
        registry: what /metrics shows.
        idle_seconds: how long ago the poll loop last came round.

    Returns:
        The address that was bound, `host:port`.
    """
    metrics = make_wsgi_app(registry)

    def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            shown: Iterable[bytes] = metrics(environ, start_response)
            return shown
        idle = idle_seconds()
        status = HTTPStatus.OK if idle < STUCK_SECONDS else HTTPStatus.SERVICE_UNAVAILABLE
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"ok\n" if status is HTTPStatus.OK else b"the poll loop last came round %d s ago\n" % idle]

    kind = _Server6 if ":" in address.host else _Server
    server = make_server(address.host, address.port, route, kind, _Silent)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return str(address._replace(port=server.server_port))
