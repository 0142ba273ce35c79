"""The topics of the product: what each is for and the settings it needs, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

RETRY_SUFFIX = "-retry"
SAFE_REPLICATION = 3


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that should exist, with the settings that matter."""

    name: str
    config: dict[str, str] = field(default_factory=dict)


def schedules_topic(name: str) -> TopicSpec:
    """The store: compacted, kept for ever."""
    return TopicSpec(
        name,
        {
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            # a crash between a firing and the re-append of an update that it shadowed is mended
            # by the next owner as long as the shadowed record is still there
            "min.compaction.lag.ms": str(10 * MINUTE_MS),
            "max.compaction.lag.ms": str(7 * DAY_MS),
            # a restore must finish well within this, or a tombstone may be gone before it is read
            "delete.retention.ms": str(DAY_MS),
            "segment.ms": str(6 * HOUR_MS),
            "min.cleanable.dirty.ratio": "0.1",
        },
    )


def history_topic(name: str) -> TopicSpec:
    """What became of every schedule, for a month; stamped by the brokers, whose clock an audit can hold on to."""
    return TopicSpec(
        name,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(30 * DAY_MS),
            "message.timestamp.type": "LogAppendTime",
        },
    )


def cluster_topic(name: str) -> TopicSpec:
    """First runs or retries of one cluster: workers that are down for a week lose nothing."""
    return TopicSpec(name, {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)})


def dead_letter_topic(name: str) -> TopicSpec:
    """What was given up; kept until someone deals with it."""
    return TopicSpec(name, {"cleanup.policy": "delete", "retention.ms": "-1"})


def results_topic(name: str) -> TopicSpec:
    """How each attempt ended, for a month."""
    return TopicSpec(name, {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)})


def retry_topic_name(cluster: str) -> str:
    """Where the retries of a cluster go: `<cluster>-retry`."""
    return cluster + RETRY_SUFFIX


def all_topics(
    *,
    schedules: list[str],
    history: str,
    dead_letters: str,
    results: str,
    clusters: list[str],
    replication_factor: int = 1,
) -> list[TopicSpec]:
    """Every topic of an installation, in the order in which to create them."""
    specs = [
        *(schedules_topic(name) for name in schedules),
        history_topic(history),
        dead_letter_topic(dead_letters),
        results_topic(results),
        *(cluster_topic(topic) for name in clusters for topic in (name, retry_topic_name(name))),
    ]
    if replication_factor < SAFE_REPLICATION:
        return specs
    # an acknowledged record is on two brokers, and one of three may be down
    return [TopicSpec(spec.name, {**spec.config, "min.insync.replicas": "2"}) for spec in specs]
