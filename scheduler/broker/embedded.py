"""A broker inside this process, for a first look and for users' own integration tests: no Java, no Docker.

It is librdkafka's mock cluster. Any Kafka client can talk to it, and nothing outlives the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from confluent_kafka import Producer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

START_SECONDS = 10.0

NOT_PROMISED = (
    "It keeps everything in memory (100,000 records or 5 MB a partition), neither fences a frozen replica nor hides "
    "what a transaction aborted, never compacts, and gives a second replica nothing to do. For looking and for tests "
    "of your own; guarantees need a real Kafka."
)


class EmbeddedBroker:
    """Runs from `start` to `close`, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._client: Producer | None = None
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Listen."""
        client = Producer({"bootstrap.servers": "embedded:0", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = client.list_topics(timeout=START_SECONDS).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self._client = client

    def create(self, topics: Sequence[str]) -> None:
        """Bring topics into being, of four partitions each; it knows no other number and no settings."""
        if self._client is not None:
            for topic in topics:
                self._client.list_topics(topic, timeout=START_SECONDS)

    def close(self) -> None:
        """Stop, and forget everything."""
        self._client = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
