"""A trace context travels through a schedule; with tracing on, its firing is a span that a collector receives."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.replica_process import replica_process
from tests.support.schedules import clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.support.schedules import Installation

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT: list[tuple[str, bytes | None]] = [
    ("traceparent", f"00-{TRACE}-{SPAN}-01".encode()),
    ("tracestate", b"vendor=1"),
]


def test_a_trace_context_travels_unchanged_also_through_a_restart(installation: Installation) -> None:
    due_ms = clock.now_ms() + 1500
    with installation.replica():
        installation.write(
            installation.schedule(b"once", due_ms=due_ms, headers=CONTEXT),
            installation.schedule(b"again", cron="@every 1s", epoch=0, headers=CONTEXT),
        )
        installation.fired(b"again")
    with installation.replica():
        installation.fired(b"once")
        wait_until(
            lambda: sum(each["scheduler-key"] == b"again" for each in installation.read(installation.target)) > 2,
            "the recurring one fires again",
        )

    for message in installation.read(installation.target):
        assert [header for header in message.headers if header[0].startswith("trace")] == CONTEXT


def test_each_firing_with_a_trace_context_is_a_span(installation: Installation) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    start_ms = clock.now_ms()
    with installation.replica(tracer_provider=provider):
        due_ms = clock.now_ms() + 1000
        installation.write(
            installation.schedule(b"traced", due_ms=due_ms, headers=CONTEXT),
            installation.schedule(b"not traced", due_ms=due_ms),
            installation.schedule(b"undeliverable", due_ms=due_ms, headers=CONTEXT, target_topic=installation.history),
            installation.schedule(b"cancelled", due_ms=due_ms + 600_000, headers=CONTEXT),
            installation.cancel(b"cancelled"),
        )
        message, _ = installation.fired(b"traced", b"not traced")
        installation.wait_for(installation.history, 4)
        wait_until(exporter.get_finished_spans, "there is a span")
    (span,) = exporter.get_finished_spans()

    assert span.name == f"fire {installation.target}"
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert span.attributes is not None
    assert span.attributes["scheduler.schedule.id"] == "traced"
    assert span.attributes["scheduler.fire.id"] == f"traced@{due_ms}"
    assert span.start_time is not None
    assert span.end_time is not None
    # by the replica's clock, which in this test is the broker's: decided when due, committed behind the broker's stamp
    assert start_ms < due_ms <= span.start_time // 10**6 <= message.timestamp_ms <= span.end_time // 10**6 + 1


def test_spans_reach_a_collector_at_the_latest_when_the_replica_stops(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [b"key-%d" % number for number in range(50)]
    with collector() as (address, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
        with installation.replica(otel_traces_exporter="otlp"):
            installation.write(*(installation.schedule(key, epoch=0, headers=CONTEXT) for key in keys))
            installation.fired(*keys)
        resources = [resource for request in received for resource in request.resource_spans]

    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    ids = [a.value.string_value for span in spans for a in span.attributes if a.key == "scheduler.schedule.id"]
    assert sorted(ids) == sorted(key.decode() for key in keys)
    assert {link.trace_id.hex() for span in spans for link in span.links} == {TRACE}
    named = {
        a.value.string_value for resource in resources for a in resource.resource.attributes if a.key == "service.name"
    }
    assert named == {"kafka-scheduler"}


def test_a_collector_that_is_not_there_holds_up_nothing(installation: Installation) -> None:
    keys = [b"key-%d" % number for number in range(20)]
    with collector() as (gone, _):
        pass
    with replica_process(
        installation,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=gone,
        OTEL_EXPORTER_OTLP_TIMEOUT="2",
        OTEL_BSP_SCHEDULE_DELAY="100",
    ) as replica:
        replica.wait_until_ready(1)
        installation.write(*(installation.schedule(key, epoch=0, headers=CONTEXT) for key in keys))
        installation.fired(*keys)
        assert replica.terminate() == 0


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector on a free port: its address, and what it has received."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
