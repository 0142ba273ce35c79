"""A span for each firing of a schedule that carries a trace context, linked to the trace it came from.

A firing is no child of that trace, which may have ended a year ago: it begins one of its own. The message at the
target keeps the customer's `traceparent` as it is, so its consumer goes on with the customer's trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from scheduler import __version__
from scheduler.broker.observer import Observer
from scheduler.schedule import Outcome, Schedule, display, fire_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import TracerProvider

    from scheduler.engine.settlement import Place, Settlement
    from scheduler.schedule import Header

TRACE_HEADERS = ("traceparent", "tracestate")
_NS_OF_MS = 1_000_000
_NS_OF_SECOND = 1_000_000_000

_propagator = TraceContextTextMapPropagator()


class FiringSpans(Observer):
    """From the decision to fire to the commit; the attributes are those of OpenTelemetry's messaging conventions."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("scheduler", __version__)

    def settled(self, place: Place, batch: Sequence[Settlement], seconds: float, *, running_since_ms: int) -> None:  # noqa: ARG002 - an observer's
        """Make the spans of a committed batch."""
        for settlement in batch:
            subject = settlement.subject
            if settlement.outcome is Outcome.FIRED and isinstance(subject, Schedule) and subject.headers:
                origin = _origin(subject.headers)
                if origin is not None:
                    self._span(place, settlement, subject, origin, seconds)

    def _span(
        self, place: Place, settlement: Settlement, schedule: Schedule, origin: SpanContext, seconds: float
    ) -> None:
        decided_ns = (settlement.due_ms + settlement.lateness_ms) * _NS_OF_MS
        attributes: dict[str, str | int | bool] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "fire",
            "messaging.operation.type": "send",
            "messaging.destination.name": schedule.target_topic,
            "messaging.message.body.size": 0 if schedule.delivers_null else len(schedule.value),
            "scheduler.schedule.id": schedule.schedule_id,
            "scheduler.schedule.topic": place.topic,
            "scheduler.schedule.partition": place.partition,
            "scheduler.fire.id": fire_id(schedule.key, settlement.due_ms),
            "scheduler.fire.lateness_ms": settlement.lateness_ms,
        }
        if schedule.target_key is not None:
            attributes["messaging.kafka.message.key"] = display(schedule.target_key)
        if schedule.target_partition is not None:
            attributes["messaging.destination.partition.id"] = str(schedule.target_partition)
        if schedule.delivers_null:
            attributes["messaging.kafka.message.tombstone"] = True
        span = self._tracer.start_span(
            f"fire {schedule.target_topic}",
            context=Context(),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            links=[Link(origin)],
            start_time=decided_ns,
        )
        span.end(decided_ns + int(seconds * _NS_OF_SECOND))


def _origin(headers: Sequence[Header]) -> SpanContext | None:
    """The trace context of a schedule; None where it has none, or one that was not sampled."""
    carrier = {name: (raw or b"").decode("ascii", "replace") for name, raw in headers if name in TRACE_HEADERS}
    if not carrier:
        return None
    origin = get_current_span(_propagator.extract(carrier, Context())).get_span_context()
    return origin if origin.is_valid and origin.trace_flags.sampled else None
