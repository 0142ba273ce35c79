"""A job queue of its own for a test, its workers and its scheduler, and a look at what is written."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler import Scheduler
from scheduler.needs import needed_topics
from tests.support.handlers import jobs
from tests.support.schedules import Installation
from tests.support.workers import SECONDS
from worker import JobQueue, QueueConfig, QueueWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Broker, Topics
    from tests.support.schedules import Record


@dataclass
class Shop:
    """A queue of its own, and a look at what is written."""

    queue: JobQueue
    created: list[str]

    def read(self, topic: str, count: int) -> list[Record]:
        settings = self.queue.settings
        look = Installation(settings.bootstrap_servers, (), "", "", "", "", 1)
        return look.wait_for(topic, count)

    def results(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(record.value or b"") for record in self.read(self.queue.config.results, count)]

    def environment(self) -> dict[str, str]:
        config, settings = self.queue.config, self.queue.settings
        return {
            "BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "SCHEDULES_TOPICS": config.delayed_queue,
            "DEAD_LETTER_TOPIC": config.dead_queue,
            "RESULTS_TOPIC": config.results,
            "WORKER_CLUSTER": config.default_queue,
        }

    @contextmanager
    def worker(self, **options: Any) -> Iterator[None]:
        worker = QueueWorker(self.queue, **options)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(SECONDS)
        assert not thread.is_alive()

    @contextmanager
    def scheduler(self) -> Iterator[None]:
        scheduler = Scheduler(self.queue.settings)
        scheduler.start()
        try:
            yield
        finally:
            scheduler.close()
        assert scheduler.failure is None


@contextmanager
def open_shop(broker: Broker, topics: Topics, folder: Path) -> Iterator[Shop]:
    """A queue with names that nobody else uses."""
    unique = uuid.uuid4().hex[:8]
    file = folder / "librdkafka.config"
    file.write_text(f"# Kafka\nbootstrap.servers={broker.bootstrap_servers}\n")
    names = [f"{name}-{unique}" for name in ("jobs", "delayed", "dead", "results")]
    settings = {
        "bootstrap_servers": broker.bootstrap_servers,
        "history_topic": f"history-{unique}",
        "partitions": 2,
        "group_id": f"group-{unique}",
        "server_addr": "off",
        "metrics_http_addr": "off",
    }
    with JobQueue(config=QueueConfig(*names, configuration_file=file, settings=settings)) as queue:
        topics.adopt(*(spec.name for spec in needed_topics(queue.settings)))
        made = Shop(queue, queue.init())
        queue.registry = jobs
        yield made
