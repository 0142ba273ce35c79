"""Serves a metrics registry at /metrics, as every program of the product does, and counts what comes in batches."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Buckets for lateness and durations: a millisecond to an hour."""

log = logging.getLogger("metrics")


class MillisecondsHistogram(Collector):
    """A histogram of seconds that is told whole milliseconds, many at once: a tenth of the time of one by one.

    Args:
        name: of the metric, in seconds.
        text: what it is.
        buckets: upper bounds in seconds, growing.
        registry: that shows it.
    """

    def __init__(self, name: str, text: str, *, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._bounds = [bound * 1000 for bound in buckets]
        self._labels = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._counts = [0] * len(self._labels)
        self._sum_ms = 0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, values_ms: Sequence[int]) -> None:
        """Count these."""
        with self._lock:
            counts, bounds = self._counts, self._bounds
            for value_ms in values_ms:
                counts[bisect_left(bounds, value_ms)] += 1
            self._sum_ms += sum(values_ms)

    def describe(self) -> Iterable[Metric]:
        """Its name, without asking for its values."""
        return [HistogramMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        """Its values now."""
        with self._lock:
            counts, sum_ms = list(accumulate(self._counts)), self._sum_ms
        buckets = list(zip(self._labels, counts, strict=True))
        return [HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=sum_ms / 1000)]


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
