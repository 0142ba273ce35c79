"""Rights on topics of a broker that asks for them; everybody is the same user to it."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Properties of such a broker."""
SECONDS = 20.0
EVERYBODY = "User:ANONYMOUS"


class Rights:
    """Takes a right away and gives it back."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._ruled: set[str] = set()

    def deny(self, topic: str, operation: AclOperation) -> None:
        """Nobody may do this with the topic any more; all else is allowed, as before."""
        rules = [
            # where a topic has any rule, what none allows is forbidden
            self._rule(topic, AclOperation.ALL, AclPermissionType.ALLOW),
            self._rule(topic, operation, AclPermissionType.DENY),
        ]
        for creation in self._admin.create_acls(rules).values():
            creation.result(SECONDS)
        self._ruled.add(topic)

    def give_back(self, *topics: str) -> None:
        """Everything is allowed again."""
        found = [
            AclBindingFilter(
                ResourceType.TOPIC,
                topic,
                ResourcePatternType.LITERAL,
                None,
                None,
                AclOperation.ANY,
                AclPermissionType.ANY,
            )
            for topic in topics
        ]
        for deletion in self._admin.delete_acls(found).values() if found else ():
            deletion.result(SECONDS)
        self._ruled.difference_update(topics)

    def clear(self) -> None:
        """Everything is allowed again on every topic, so that they can be deleted."""
        self.give_back(*self._ruled)

    @staticmethod
    def _rule(topic: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
        pattern = ResourcePatternType.LITERAL
        return AclBinding(ResourceType.TOPIC, topic, pattern, EVERYBODY, "*", operation, permission)
