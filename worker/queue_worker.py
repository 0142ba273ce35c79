"""Runs a job queue: one worker for first runs and one for retries, in one process."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from scheduler.clock import SystemClock
from scheduler.runtime import logs
from worker import interpreter
from worker.metrics import Metrics
from worker.options import Options
from worker.service import Worker

if TYPE_CHECKING:
    from types import FrameType

    from scheduler.clock import Clock
    from worker.queue import JobQueue


class QueueWorker:
    """Calls the handlers of a queue until it is told to stop.

    Args:
        queue: whose registry and topics.
        slots: calls at once.
        retry_slots: calls of retries at once, beside them; 0 leaves retries to other processes.
        group_id: consumer group, with `-retry` behind it for retries; `worker-<topic>` without it.
        drain_seconds: how long calls may end when it is stopped.
        clock: for tests.
    """

    def __init__(
        self,
        queue: JobQueue,
        *,
        slots: int = 20,
        retry_slots: int = 5,
        group_id: str | None = None,
        drain_seconds: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        cluster = queue.config.default_queue
        every = [Options(cluster, slots=slots, group_id=group_id, drain_seconds=drain_seconds)]
        if retry_slots:
            retry_group = group_id and f"{group_id}-retry"
            every.append(Options(cluster, True, retry_slots, retry_group, drain_seconds))  # noqa: FBT003 - of retries
        self._workers = [
            Worker(
                queue.settings,
                options,
                clock=clock or SystemClock(),
                metrics=Metrics(CollectorRegistry(), cluster),
                registry=queue.registry,
            )
            for options in every
        ]
        self._settings = queue.settings
        self._failed: list[BaseException] = []

    def stop(self) -> None:
        """Ask for the end: the first time calls may end, the second time they are not waited for."""
        for worker in self._workers:
            worker.stop()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            BrokerUnavailableError: an error that no waiting mends.
        """
        first, *others = self._workers
        threads = [threading.Thread(target=self._serve, args=(worker,), name="retries") for worker in others]
        for thread in threads:
            thread.start()
        self._serve(first)
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def main(self) -> None:
        """`run` as a program: log, and stop at SIGTERM and Ctrl-C."""
        logs.configure(self._settings.log_level, self._settings.log_format)
        interpreter.tune()

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        self.run()

    def _serve(self, worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - raised again by run, once the other has stopped too
            self._failed.append(error)
            self.stop()
