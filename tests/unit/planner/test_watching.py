"""The watch's own thread: what it does while a sync waits."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry

from planner import watching
from planner.watch_metrics import WatchMetrics
from planner.watching import Event, Watch, Watched
from scheduler.clock import SystemClock
from scheduler.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from planner.reconcile import Reconciler

SECONDS = 30.0


class Held:
    """In the place of a reconciler: a sync that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def sync(self, *_: object, **__: object) -> None:
        self.begun.set()
        assert self.let_go.wait(SECONDS)


def test_a_stop_is_not_held_up_by_a_sync_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "STOP_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "planner")
    (crontab := tmp_path / "jobs").write_text("@daily one\n")
    held, metrics = Held(), WatchMetrics(CollectorRegistry())
    watch = Watch(Watched(crontab, "jobs"), cast("Reconciler", held), Settings(), SystemClock(), metrics)
    running = threading.Thread(target=watch.run)
    running.start()
    try:
        assert held.begun.wait(SECONDS)
        watch.tell(Event.STOP)
        running.join(SECONDS)
        assert not running.is_alive()
        assert [record.message for record in caplog.records[-2:]] == ["stopped before Kafka answered", "stopped"]
    finally:
        held.let_go.set()
        running.join()
