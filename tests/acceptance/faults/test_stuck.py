"""Calls of the client that ignore their timeout, and a broker that stands still: noticed, and never the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from scheduler.broker import publisher
from scheduler.runtime import watchdog
from tests.support.replica_process import replica_process
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    import pytest

    from dev.local_kafka import LocalKafka
    from tests.support.scene import Scene

FROZEN_SECONDS = 12.0
"""Longer than a session, a commit, and the time for a fence."""


def test_a_call_that_hangs_is_noticed_and_forgotten_once_it_returns(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As init_transactions may where a coordinator goes away at a bad moment; here a gate of our own keeps it."""
    gate = threading.Event()

    class Hanging(Producer):
        def init_transactions(self, seconds: float) -> None:
            gate.wait(SECONDS)
            super().init_transactions(seconds)

    monkeypatch.setattr(publisher, "Producer", Hanging)
    monkeypatch.setattr(watchdog, "PATIENCE", 0.1)
    installation = scene.installation
    scene.write(scene.put(b"a"))
    with installation.replica(restored=False) as replica:
        wait_until(lambda: replica.stuck, "it is noticed")
        (call,) = replica.stuck
        wait_until(lambda: replica.registry.get_sample_value("scheduler_stuck_calls") == 1, "it is counted")
        gate.set()
        wait_until(lambda: not replica.stuck, "it is forgotten")
        scene.wait_until_fired(b"a")
        assert replica.registry.get_sample_value("scheduler_stuck_calls") == 0

    assert call == f"init_transactions transactional_id={installation.group_id}-{installation.schedules}-0"
    assert scene.faults() == []


def test_a_broker_that_stands_still_ends_no_replica_and_none_is_called_stuck(scene: Scene, proxied: LocalKafka) -> None:
    installation = scene.installation
    never = threading.Event()
    with replica_process(installation, session_timeout="2000") as replica:
        replica.wait_until_ready(1)
        scene.write(scene.put(b"before"))
        scene.wait_until_fired(b"before")
        due = scene.put(b"meanwhile", clock.now_ms() + 500)
        scene.write(due)
        proxied.freeze(1)
        try:
            never.wait(FROZEN_SECONDS)  # the length of the fault is the test's own choice
            alive = replica.get("/liveness")
        finally:
            proxied.thaw(1)
        scene.write(scene.put(b"after"))
        scene.wait_until_fired(b"meanwhile", b"after")
        assert replica.terminate() == 0
        assert alive.status_code == 200, alive.text
    assert scene.faults() == []


def test_a_replica_ends_when_asked_to_though_its_broker_stands_still(scene: Scene, proxied: LocalKafka) -> None:
    with replica_process(scene.installation) as replica:
        replica.wait_until_ready(1)
        proxied.freeze(1)
        try:
            assert replica.terminate() == 0
        finally:
            proxied.thaw(1)
