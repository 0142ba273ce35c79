"""OpenTelemetry, where `OTEL_TRACES_EXPORTER` asks for it; its library is an extra, and loaded only then.

Whatever else OpenTelemetry can be told is told by its own variables: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and so on.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import OncePer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from scheduler.runtime.settings import Settings

SERVICE = "kafka-scheduler"
PROTOCOL = "http/protobuf"
COMPLAINT_SECONDS = 30.0
"""A collector that is gone is one event, not two lines for each batch of spans."""


def open_tracing(settings: Settings) -> TracerProvider | None:
    """A provider that exports as the settings say; None where they say nothing. Whoever opens it shuts it down.

    Raises:
        ConfigurationError: the library is not installed, or is told what it cannot do.
    """
    exporter = settings.otel_traces_exporter
    if exporter == "none":
        return None
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415 - only where it is asked for
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SpanExporter,
        )

        made: SpanExporter
        if exporter == "console":
            made = ConsoleSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

            _check_protocol()
            made = OTLPSpanExporter()
            logging.getLogger(OTLPSpanExporter.__module__).filters[:] = [OncePer(COMPLAINT_SECONDS)]
    except ImportError as error:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER: {exporter} needs OpenTelemetry ({error.name} is missing); "
            "install it with: pip install 'kafka-delay-scheduler[otel]', or set none"
        ) from error
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource)
    try:
        provider.add_span_processor(BatchSpanProcessor(made))
    except ValueError as error:  # max_queue_size is OTEL_BSP_MAX_QUEUE_SIZE, and so on
        raise ConfigurationError(f"OpenTelemetry: check the variables that begin with OTEL_BSP_: {error}") from error
    return provider


def _check_protocol() -> None:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable)
        if protocol not in (None, "", PROTOCOL):
            raise ConfigurationError(f"{variable}: {protocol!r} is not supported here; set {PROTOCOL}, or nothing")
