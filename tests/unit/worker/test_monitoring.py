"""What a supervisor hears of a poll loop that is stuck."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from scheduler.runtime.settings import Address
from worker.monitoring import STUCK_SECONDS, serve


def test_health_is_told_by_the_poll_loop_and_metrics_stay_readable() -> None:
    idle = [0.0]
    registry = CollectorRegistry()
    Counter("seen", "Things seen", registry=registry).inc()
    address = serve(Address("127.0.0.1", 0), registry, lambda: idle[0])

    with urllib.request.urlopen(f"http://{address}/healthz", timeout=10) as answer:
        assert answer.status == 200
    idle[0] = STUCK_SECONDS + 1
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        urllib.request.urlopen(f"http://{address}/healthz", timeout=10)
    assert refused.value.read() == b"the poll loop last came round 31 s ago\n"
    refused.value.close()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        assert b"seen_total 1.0" in answer.read()
