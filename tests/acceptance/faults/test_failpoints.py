"""Replicas that stop within a firing transaction, at every point of it that makes a difference: exactly once.

One replica for each point, each with a partition of its own, all of them stopped in one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dev.proxy import Api
from scheduler.broker.cluster import Cluster
from tests.support.failing_replica import Point
from tests.support.scene import SETTLE_SECONDS
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.processes import Replica
    from tests.support.scene import Scene

ASKED = "asked"
"""The end of the transaction is asked for, and the answer is not there yet: a point that the network makes."""
EACH = 20
"""Schedules of a partition that fall due together."""
SOON_MS = 500
"""Until then: enough for all of them to be read before, and what is due in a moment is prepared."""


class Cast:
    """A replica for each point, and the partitions that they have."""

    def __init__(self, scene: Scene, action: str) -> None:
        self.scene = scene
        self.asked = scene.start(ASKED)
        self.replicas = [
            self.asked,
            *(scene.start(point.value, FAILPOINT=f"{point}:{action}:1") for point in Point),
        ]
        self.count = len(self.replicas)
        wait_until(
            lambda: all(len(replica.partitions()) == 1 for replica in self.replicas),
            "each replica fires in a partition",
            SETTLE_SECONDS,
        )

    def fire(self, name: str) -> list[bytes]:
        """Let schedules fall due in every partition, in a moment; their keys."""
        keys = [b"%s-%d-%d" % (name.encode(), at, number) for at in range(self.count) for number in range(EACH)]
        due_ms = clock.now_ms() + SOON_MS
        self.scene.write(*(self.scene.put(key, due_ms, partition=number // EACH) for number, key in enumerate(keys)))
        return keys

    def stop_in_the_middle(self, stop: Callable[[Replica], None], stopped: Callable[[Replica], bool]) -> list[bytes]:
        """Let them fire, each to its point; the keys of which nobody knows what becomes."""
        network, client = self.scene.network, self.asked.client
        network.hold(client=client, apis=[Api.END_TXN], to_broker=False)
        keys = self.fire("first")
        wait_until(lambda: network.seen(Api.END_TXN, client), "the end of a transaction is asked for", SETTLE_SECONDS)
        stop(self.asked)
        wait_until(lambda: all(stopped(each) for each in self.replicas), "each has come to its point", SETTLE_SECONDS)
        network.release()
        return keys

    def wait_until_shared(self, members: int) -> None:
        """Return once the group has so many members, and each partition is somebody's."""
        installation = self.scene.installation
        cluster = Cluster(installation.settings(), "test")

        def shared() -> bool:
            found = cluster.members(installation.group_id)
            return len(found) == members and sum(len(each.partitions) for each in found) == installation.partitions

        wait_until(shared, f"{members} members share the partitions", SETTLE_SECONDS)


@pytest.fixture
def make_cast(make_scene: Callable[..., Scene]) -> Callable[..., Cast]:
    def make(action: str, **variables: str) -> Cast:
        return Cast(make_scene(partitions=len(Point) + 1, **variables), action)

    return make


def killed(replica: Replica) -> bool:
    return not replica.runs


def frozen(replica: Replica) -> bool:
    return replica.frozen


def test_what_a_killed_replica_had_begun_is_fired_once(make_cast: Callable[..., Cast]) -> None:
    cast = make_cast("kill")
    keys = cast.stop_in_the_middle(lambda replica: replica.kill(), killed)
    with cast.scene.installation.replica():
        cast.scene.wait_until_fired(*keys)
    assert cast.scene.faults() == []


def test_what_a_zombie_had_begun_is_fired_once(make_cast: Callable[..., Cast]) -> None:
    """Frozen for longer than a session: another has fired by the time that it wakes, and then they share again."""
    cast = make_cast("freeze")
    scene = cast.scene
    keys = cast.stop_in_the_middle(lambda replica: replica.freeze(), frozen)
    with scene.installation.replica():
        scene.wait_until_fired(*keys)
        for replica in cast.replicas:
            replica.thaw()
        cast.wait_until_shared(1 + cast.count)
        scene.wait_until_fired(*cast.fire("second"))
        assert all(replica.runs for replica in cast.replicas)
    assert scene.faults() == []


def test_a_replica_that_slept_through_its_transaction_fires_it_once(make_cast: Callable[..., Cast]) -> None:
    """The broker has aborted it meanwhile, and nobody else has taken the partition over."""
    cast = make_cast("freeze", SESSION_TIMEOUT="30000", TRANSACTION_TIMEOUT="1000")
    scene = cast.scene
    keys = cast.stop_in_the_middle(lambda replica: replica.freeze(), frozen)
    wait_until(lambda: not open_transactions(scene), "the broker has given up what they had begun", SETTLE_SECONDS)
    for replica in cast.replicas:
        replica.thaw()
    scene.wait_until_fired(*keys, *cast.fire("second"))
    assert all(replica.runs for replica in cast.replicas)
    assert scene.faults() == []


def open_transactions(scene: Scene) -> Sequence[TopicPartition]:
    """Partitions that hold records of transactions that are not decided."""
    admin = AdminClient({"bootstrap.servers": scene.installation.broker, "log_level": 0})
    installation = scene.installation
    places = [
        *(TopicPartition(installation.schedules, number) for number in range(installation.partitions)),
        TopicPartition(installation.target, 0),
        TopicPartition(installation.history, 0),
    ]

    def ends(isolation: IsolationLevel) -> list[int]:
        asked = dict.fromkeys(places, OffsetSpec.latest())
        return [
            answer.result(SECONDS).offset for answer in admin.list_offsets(asked, isolation_level=isolation).values()
        ]

    stable, high = ends(IsolationLevel.READ_COMMITTED), ends(IsolationLevel.READ_UNCOMMITTED)
    return [place for place, one, other in zip(places, stable, high, strict=True) if one != other]
