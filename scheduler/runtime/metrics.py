"""Serves a metrics registry at /metrics; every program of the product has one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address

if TYPE_CHECKING:
    import threading
    from wsgiref.simple_server import WSGIServer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Buckets for lateness and durations: a millisecond to an hour."""

log = logging.getLogger("metrics")


class MetricsServer:
    """Serves a registry at /metrics."""

    def __init__(self, registry: CollectorRegistry, address: Address, variable: str = "METRICS_HTTP_ADDR") -> None:
        """Listen at once.

        Raises:
            ConfigurationError: the address cannot be listened on; the message names the variable.
        """
        try:
            server, thread = start_http_server(address.port, address.host, registry)
        except OSError as error:
            raise ConfigurationError(
                f"{variable}: cannot listen on {address}: {error.strerror}; choose another, or `off`"
            ) from error
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.address = Address(address.host, server.server_port)
        log.info("metrics", extra=fields(address=f"http://{self.address}/metrics"))

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
