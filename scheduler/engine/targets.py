"""Which topics may be fired to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TargetPolicy:
    """Internal topics, schedules topics and the history are never targets; an allow-list narrows the rest."""

    schedules_topics: frozenset[str]
    history_topic: str
    allowed: frozenset[str]
    """Empty: any topic that is not refused."""

    def refusal(self, topic: str) -> str | None:
        """Why the topic may not be fired to; None where it may."""
        if topic.startswith("__"):
            return f"{topic} is internal to Kafka"
        if topic in self.schedules_topics:
            return f"{topic} holds schedules: firing to it would loop"
        if topic == self.history_topic:
            return f"{topic} is the history"
        if self.allowed and topic not in self.allowed:
            return f"{topic} is not among ALLOWED_TARGETS"
        return None
