"""What an installation needs, by its settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.topics import all_topics

if TYPE_CHECKING:
    from scheduler.runtime.settings import Settings
    from scheduler.topics import TopicSpec


def needed_topics(settings: Settings) -> list[TopicSpec]:
    """The topics of the installation, with the settings they need."""
    return all_topics(
        schedules=settings.schedules_topics,
        history=settings.history_topic,
        dead_letters=settings.dead_letter_topic,
        results=settings.results_topic,
        clusters=settings.clusters,
        replication_factor=settings.replication_factor,
    )
