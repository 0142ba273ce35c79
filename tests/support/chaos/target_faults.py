"""A target that takes less than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.support.chaos.cluster import ADMIN_SECONDS
from tests.support.chaos.faults import Fault

if TYPE_CHECKING:
    from tests.support.chaos.cluster import Cluster

SETTING = "max.message.bytes"


class SmallTarget(Fault):
    """What is too large for it becomes undeliverable, alone: its neighbours fire."""

    name = "target takes small messages only"
    seconds = (2.0, 6.0)
    largest = 2_000

    def start(self, cluster: Cluster) -> None:
        """Lower its largest message."""
        self._topic = self._dice.choice(cluster.names.targets)
        self.target = f"{self._topic}, {self.largest} bytes"
        self._alter(cluster, AlterConfigOpType.SET)

    def heal(self, cluster: Cluster) -> None:
        """As before."""
        self._alter(cluster, AlterConfigOpType.DELETE)

    def _alter(self, cluster: Cluster, operation: AlterConfigOpType) -> None:
        entry = ConfigEntry(SETTING, str(self.largest), incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, self._topic, incremental_configs=[entry])
        for altered in cluster.admin.incremental_alter_configs([resource]).values():
            altered.result(ADMIN_SECONDS)
