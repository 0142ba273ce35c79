"""What the doctor says: one finding for each check, and the commands that mend what Kafka's tools can mend."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Status(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"  # it works, and will not always
    FAILED = "failed"  # it does not work, or a guarantee does not hold
    UNKNOWN = "unknown"  # it could not be learned


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report."""

    status: Status
    check: str
    seen: str
    advice: str = ""
    """What to do; empty where all is well."""
    topic: str = ""
    """Whose settings to alter."""
    alter: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    """What mends it, where it is no setting of a topic."""

    def as_json(self, bootstrap_servers: str) -> dict[str, Any]:
        """For programs."""
        return {
            "status": self.status.value,
            "check": self.check,
            "seen": self.seen,
            "advice": self.advice,
            "commands": commands([self], bootstrap_servers),
        }


def commands(findings: Iterable[Finding], bootstrap_servers: str) -> list[str]:
    """Commands of Kafka's own tools for what they can mend; the settings of one topic in one command."""
    altered: dict[str, dict[str, str]] = {}
    others: list[str] = []
    for finding in findings:
        if finding.alter:
            altered.setdefault(finding.topic, {}).update(finding.alter)
        if finding.command and finding.command not in others:
            others.append(finding.command)
    server = shlex.quote(bootstrap_servers)
    settings = [
        f"kafka-configs.sh --bootstrap-server {server} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {','.join(f'{name}={value}' for name, value in config.items())}"
        for topic, config in altered.items()
    ]
    return settings + [command.replace("{server}", server) for command in others]


def failed(findings: Iterable[Finding]) -> bool:
    """Whether something does not work."""
    return any(finding.status is Status.FAILED for finding in findings)
