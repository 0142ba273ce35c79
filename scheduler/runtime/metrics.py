"""Serves a metrics registry at /metrics; every program of the product has one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Buckets for lateness and durations: a millisecond to an hour."""

log = logging.getLogger("metrics")


class MetricsServer:
    """Serves a registry at /metrics."""

    def __init__(
        self,
        registry: CollectorRegistry,
        address: Address,
        variable: str = "METRICS_HTTP_ADDR",
        *,
        unready: Callable[[], str] | None = None,
    ) -> None:
        """Listen at once.

        Args:
            registry: what is served.
            address: where; port 0 takes a free one.
            variable: the setting that names the address, for the error.
            unready: for a program without an API: says why it is not ready, empty when it is. It is then asked for
                at /readiness, and /liveness answers too.

        Raises:
            ConfigurationError: the address cannot be listened on; the message names the variable.
        """
        try:
            server, thread = start_http_server(address.port, address.host, registry)
        except OSError as error:
            raise ConfigurationError(
                f"{variable}: cannot listen on {address}: {error.strerror}; choose another, or `off`"
            ) from error
        if unready is not None:
            server.set_app(_with_health(make_wsgi_app(registry), unready))
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.address = Address(address.host, server.server_port)
        log.info("metrics", extra=fields(address=f"http://{self.address}/metrics"))

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _with_health(metrics: WSGIApplication, unready: Callable[[], str]) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path not in ("/readiness", "/liveness"):
            return metrics(environ, start_response)
        why = unready() if path == "/readiness" else ""
        start_response("503 Service Unavailable" if why else "200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{why or 'ok'}\n".encode()]

    return answer
