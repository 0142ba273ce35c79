"""What a worker is told on its command line."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.topics import retry_topic_name


@dataclass(frozen=True, slots=True)
class Options:
    """Which jobs to run, how many at once, and how long to wait for them."""

    cluster: str
    retry: bool = False
    slots: int = 4
    group_id: str | None = None
    drain_seconds: float = 10.0
    grace_seconds: float = 5.0

    @property
    def topic(self) -> str:
        """The topic to consume."""
        return retry_topic_name(self.cluster) if self.retry else self.cluster

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.group_id or f"worker-{self.topic}"
