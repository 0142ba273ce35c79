"""What the help of several commands shares."""

from __future__ import annotations

BROKER = ("bootstrap_servers", "schedules_topics", "history_topic", "configuration_file")
