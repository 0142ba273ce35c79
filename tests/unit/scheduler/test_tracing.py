"""Spans of firings: which ones there are and what they say; and settings that ask for what cannot be had."""

import os
import re
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from scheduler.broker.spans import FiringSpans
from scheduler.engine.settlement import Place, Settlement
from scheduler.errors import ConfigurationError
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome, Reason, Rejected, Schedule
from scheduler.tracing import open_tracing

PLACE = Place("schedules", 3, "history", "dead-letters")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01".encode()
SAMPLED = [("traceparent", TRACEPARENT), ("tracestate", b"vendor=1")]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def spans():
    """Make the spans of a batch."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = FiringSpans(provider)

    def made(*batch):
        observer.settled(PLACE, batch, 0.25, running_since_ms=0)
        return exporter.get_finished_spans()

    return made


def fired(headers, outcome=Outcome.FIRED, **other):
    given = {"target_key": None, "target_partition": None, **other}
    subject = Schedule(
        key=b"k\xff", value=b"1234", due_ms=20_000, target_topic="orders", headers=headers, own_headers=[],
        timestamp_ms=0, offset=7, **given,
    )  # fmt: skip
    return Settlement(subject, outcome, 10_000, 1500, 7, None)


def test_a_firing_is_a_root_span_that_is_linked_to_the_schedules_trace(spans):
    (span,) = spans(fired(SAMPLED))

    assert (span.name, span.kind, span.parent) == ("fire orders", SpanKind.PRODUCER, None)
    assert (span.start_time, span.end_time) == (11_500 * 10**6, 11_750 * 10**6)
    (link,) = span.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (TRACE, SPAN)
    assert link.context.trace_state.to_header() == "vendor=1"
    assert f"{span.context.trace_id:032x}" != TRACE
    assert dict(span.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "fire",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
        "messaging.message.body.size": 4,
        "scheduler.schedule.id": "k\\xff",
        "scheduler.schedule.topic": "schedules",
        "scheduler.schedule.partition": 3,
        "scheduler.fire.id": "k\\xff@10000",
        "scheduler.fire.lateness_ms": 1500,
    }


def test_what_a_schedule_states_of_its_target_is_said(spans):
    (span,) = spans(fired(SAMPLED, target_key=b"t", target_partition=2, delivers_null=True))

    said = dict(span.attributes)
    assert said["messaging.kafka.message.key"] == "t"
    assert said["messaging.destination.partition.id"] == "2"
    assert said["messaging.kafka.message.tombstone"] is True
    assert said["messaging.message.body.size"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("other", b"1")],
        [("tracestate", b"vendor=1")],
        [("traceparent", None)],
        [("traceparent", b"")],
        [("traceparent", b"\xff\xfe")],
        [("traceparent", TRACEPARENT[:-1])],
        [("traceparent", TRACEPARENT[:-2] + b"00")],  # its producer did not sample it
        [("traceparent", b"00-" + b"0" * 32 + TRACEPARENT[35:])],
    ],
)
def test_without_a_sampled_trace_context_there_is_no_span(spans, headers):
    assert spans(fired(headers)) == ()


@pytest.mark.parametrize("outcome", [None, *(outcome for outcome in Outcome if outcome is not Outcome.FIRED)])
def test_what_did_not_fire_has_no_span(spans, outcome):
    rejected = Settlement(Rejected(b"k", b"v", SAMPLED, 1, 0, Reason.BAD_EPOCH, ""), Outcome.REJECTED, 0, 0, 1, None)

    assert spans(fired(SAMPLED, outcome), rejected) == ()


def test_the_page_names_every_attribute(spans):
    (span,) = spans(fired(SAMPLED, target_key=b"t", target_partition=2, delivers_null=True))
    page = (Path(__file__).parents[3] / "docs" / "tracing.md").read_text()

    rows = re.findall(r"^\| (`[a-z].*?) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(.+?)`", row)} == set(span.attributes)


def test_without_the_setting_there_is_none():
    assert open_tracing(Settings()) is None


@pytest.mark.parametrize("exporter", ["otlp", "console"])
def test_a_library_that_is_missing_says_what_to_install(monkeypatch, exporter):
    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(
        ConfigurationError, match=r"OTEL_TRACES_EXPORTER: .*pip install 'kafka-delay-scheduler\[otel\]'"
    ):
        open_tracing(Settings(otel_traces_exporter=exporter))


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_named(monkeypatch, variable):
    monkeypatch.setenv(variable, "grpc")

    with pytest.raises(ConfigurationError, match=f"{variable}: 'grpc' is not supported"):
        open_tracing(Settings(otel_traces_exporter="otlp"))


def test_a_queue_that_cannot_be_is_told_as_a_setting(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    with pytest.raises(ConfigurationError, match="OTEL_BSP_: max_queue_size"):
        open_tracing(Settings(otel_traces_exporter="console"))


@pytest.mark.parametrize(("given", "expected"), [(None, "kafka-scheduler"), ("billing-cron", "billing-cron")])
def test_the_service_has_a_name(monkeypatch, given, expected):
    if given is not None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", given)
    provider = open_tracing(Settings(otel_traces_exporter="otlp"))
    assert provider is not None
    provider.shutdown()

    assert provider.resource.attributes["service.name"] == expected
