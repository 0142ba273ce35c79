"""A network that delays, loses and separates: what is due is fired exactly once, as soon as that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.proxy import Api
from scheduler.broker import publisher
from scheduler.broker.cluster import Cluster
from tests.support.scene import SETTLE_SECONDS, failures
from tests.support.schedules import clock, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.support.scene import Scene

GROUP = (Api.HEARTBEAT, Api.JOIN_GROUP)
TRANSACTIONS = (Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN, Api.END_TXN)
WHILE_IT_STAYS_MS = 12_000
COMMIT_SECONDS = 1.5
"""In place of the product's 5, so that a delay longer than a commit may take need not be as long."""


def test_ends_of_transactions_that_come_late_tear_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later than a commit may take; and on connections that break meanwhile, so that the client asks again."""
    monkeypatch.setattr(publisher, "COMMIT_SECONDS", COMMIT_SECONDS)
    network = scene.network
    with scene.installation.replica() as replica:
        network.weather.delay_by_api = {Api.END_TXN: COMMIT_SECONDS + 1}
        start_ms = clock.now_ms()
        keys = [b"late-%d" % number for number in range(40)]
        scene.write(*(scene.put(key, start_ms + 50 * number) for number, key in enumerate(keys)))
        wait_until(lambda: failures(replica) >= 2, "transactions were given up")
        network.weather.delay_by_api = {Api.END_TXN: 0.3}
        scene.wait_until_fired(*keys)
        for number in range(3):
            ends = network.heard(Api.END_TXN, replica.client_id)
            keys.append(b"cut-%d" % number)
            scene.write(scene.put(keys[-1]))
            wait_until(lambda ends=ends: network.heard(Api.END_TXN, replica.client_id) > ends, "its end is on the way")
            network.cut(client=replica.client_id, to_broker=False)
            scene.wait_until_fired(keys[-1])
        network.weather.delay_by_api = {}
        scene.wait_until_fired(*keys)
        scene.installation.wait_for(scene.installation.history, len(keys))
    assert scene.faults() == []


def test_a_replica_that_is_cut_off_is_replaced_or_waits(make_scene: Callable[..., Scene]) -> None:
    """From all of Kafka, one way, from its group or from its transactions; each ends, and the replica goes on."""
    scene = make_scene(partitions=2)
    network, installation = scene.network, scene.installation
    cut_off = scene.start("cut-off")
    cut_off.wait_for("restored", seconds=SETTLE_SECONDS, count=2)
    serial = iter(range(1_000_000))

    def due_now() -> list[bytes]:
        """One schedule in each partition."""
        keys = [b"key-%d" % next(serial) for _ in range(2)]
        scene.write(*(scene.put(key, partition=at) for at, key in enumerate(keys)))
        return keys

    with installation.replica(restored=False, session_timeout=2000):
        wait_until_shared(scene)
        for held in (
            {"to_client": False},  # requests do not get there
            {"to_broker": False},  # answers do not come back
            {"apis": GROUP},
        ):
            network.hold(client=cut_off.client, **held)  # type: ignore[arg-type]
            scene.wait_until_fired(*due_now())  # by the other, when the group has missed it
            network.release()
            wait_until_shared(scene)
            scene.wait_until_fired(*due_now())
        before = len(cut_off.events("transaction failed"))
        network.hold(client=cut_off.client, apis=TRANSACTIONS)
        keys = due_now()
        # a member of the group as before: nobody may take its partition, and its schedule waits
        cut_off.wait_for("transaction failed", seconds=SETTLE_SECONDS, count=before + 1)
        network.release()
        scene.wait_until_fired(*keys, *due_now())
        assert cut_off.runs
    assert scene.faults() == []


def wait_until_shared(scene: Scene) -> None:
    """Return once the two replicas have a partition each."""
    cluster = Cluster(scene.installation.settings(), "test")
    wait_until(
        lambda: [len(each.partitions) for each in cluster.members(scene.installation.group_id)] == [1, 1],
        "the two share the partitions",
        SETTLE_SECONDS,
    )


def test_who_cannot_reach_the_group_goes_on_while_nobody_takes_over(scene: Scene) -> None:
    """As where the broker that coordinates the group is lost: its members take themselves for expelled."""
    with scene.installation.replica(session_timeout=1000) as replica:
        scene.write(scene.put(b"soon", clock.now_ms() + WHILE_IT_STAYS_MS))
        wait_until_pending(replica, 1)
        for api in GROUP:
            scene.network.hold(client=replica.client_id, apis=[api])
        wait_until(lambda: not replica.owners(), "the replica has lost its partition")
        scene.write(scene.put(b"now"))
        scene.wait_until_fired(b"now")
        lost = not replica.owners()
        scene.network.release()
        scene.installation.wait_until_restored(replica)
        scene.wait_until_fired(b"soon")
        scene.installation.wait_for(scene.installation.history, 2)
    assert lost
    assert scene.faults() == []
