"""Names of the headers: those of etf1/kafka-message-scheduler where it has them."""

from __future__ import annotations

PREFIX = "scheduler-"
EPOCH = "scheduler-epoch"
AT = "scheduler-at"
DELAY = "scheduler-delay"
TARGET_TOPIC = "scheduler-target-topic"
TARGET_KEY = "scheduler-target-key"
TARGET_PARTITION = "scheduler-target-partition"
TARGET_TOMBSTONE = "scheduler-target-tombstone"
CRON = "scheduler-cron"
TIMEZONE = "scheduler-timezone"
SHIFT = "scheduler-shift"
MISFIRE = "scheduler-misfire"
MISFIRE_GRACE = "scheduler-misfire-grace"
PAUSED = "scheduler-paused"
CONTINUES = "scheduler-continues"
REPLACES = "scheduler-replaces"
TIMESTAMP = "scheduler-timestamp"
KEY = "scheduler-key"
TOPIC = "scheduler-topic"
FIRE_ID = "scheduler-fire-id"
OUTCOME = "scheduler-outcome"
REASON = "scheduler-reason"
REASON_DETAIL = "scheduler-reason-detail"
LATENESS = "scheduler-lateness-ms"

STATED = frozenset(
    {
        EPOCH,
        AT,
        DELAY,
        TARGET_TOPIC,
        TARGET_KEY,
        TARGET_PARTITION,
        TARGET_TOMBSTONE,
        CRON,
        TIMEZONE,
        SHIFT,
        MISFIRE,
        MISFIRE_GRACE,
        PAUSED,
        CONTINUES,
        REPLACES,
    }
)
"""What a schedule record states."""
REPORTED = frozenset({TIMESTAMP, KEY, TOPIC, FIRE_ID, OUTCOME, REASON, REASON_DETAIL, LATENESS})
"""What the scheduler adds to what it writes; on a schedule record they say nothing and are dropped,
so that a consumer may send a fired message back with all its headers."""
