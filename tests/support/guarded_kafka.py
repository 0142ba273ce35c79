"""A Kafka that knows users and gives them no more than the runbook says; what it trusts whole comes by another port."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from dev.kafka_node import free_port
from dev.local_kafka import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"
SECONDS = 20.0

Resource = tuple[ResourceType, str, ResourcePatternType]


def topics(*names: str) -> list[Resource]:
    """These topics."""
    return [(ResourceType.TOPIC, name, ResourcePatternType.LITERAL) for name in names]


def groups(*names: str) -> list[Resource]:
    """These consumer groups."""
    return [(ResourceType.GROUP, name, ResourcePatternType.LITERAL) for name in names]


def transactions(prefix: str) -> list[Resource]:
    """The transactional ids that begin so."""
    return [(ResourceType.TRANSACTIONAL_ID, prefix, ResourcePatternType.PREFIXED)]


CLUSTER: list[Resource] = [(ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL)]
"""What is asked of the cluster as a whole; the client's library calls it a broker."""


class GuardedKafka(LocalKafka):
    """One broker with a port for users, whose password is their name."""

    def __init__(self, users: Sequence[str]) -> None:
        known = " ".join(f'user_{user}="{user}"' for user in users)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        super().__init__(
            heap="512m",
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.users.plain.sasl.jaas.config": f"{module} required {known};",
            },
        )
        self._users_port = free_port()

    @property
    def users(self) -> str:
        """Where users come in."""
        return f"127.0.0.1:{self._users_port}"

    def allow(self, user: str, operations: Sequence[str], resources: Sequence[Resource]) -> None:
        """Give a user rights."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        rules = [
            AclBinding(kind, name, pattern, f"User:{user}", "*", _operation(operation), AclPermissionType.ALLOW)
            for kind, name, pattern in resources
            for operation in operations
        ]
        for creation in admin.create_acls(rules).values():
            creation.result(SECONDS)

    def _prepare(self) -> None:
        super()._prepare()
        for node in self._nodes.values():
            lines = dict(line.split("=", 1) for line in node._properties.read_text().splitlines())
            for name, value in (
                ("listeners", f"USERS://{self.users}"),
                ("advertised.listeners", f"USERS://{self.users}"),
                ("listener.security.protocol.map", "USERS:SASL_PLAINTEXT"),
            ):
                lines[name] += f",{value}"
            node.configure(lines)


def credentials(folder: Path, user: str) -> Path:
    """A CONFIGURATION_FILE of the user."""
    path = folder / f"{user}.config"
    path.write_text(
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=PLAIN\nsasl.username={user}\nsasl.password={user}\n"
    )
    return path


def rights_of_the_runbook() -> list[tuple[str, list[str], str]]:
    """The table of least rights: component, operations, and on what, in its words."""
    section = RUNBOOK.read_text(encoding="utf-8").partition("## Least rights")[2].partition("\n## ")[0]
    found: list[tuple[str, list[str], str]] = []
    for component, operations, what in re.findall(r"^\| (.*?) ?\| (.+?) \| (.+?) \|$", section, re.MULTILINE):
        if component not in ("component", "---"):
            found.append((component or found[-1][0], operations.split(", "), what))
    return found


def give_all(kafka: GuardedKafka, meant: Mapping[str, Sequence[Resource]]) -> None:
    """Give every component the rights of the runbook, and no others.

    Args:
        kafka: the broker.
        meant: which resources the table means by its words.
    """
    for component, operations, what in rights_of_the_runbook():
        kafka.allow(component, operations, meant[what])


def _operation(name: str) -> AclOperation:
    return AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()]
