"""The end of a partition, up to which a new owner restores: told by its leader or not at all, whatever breaks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import pytest
from confluent_kafka import KafkaException

from dev.proxy import Api
from scheduler.broker.cluster import Cluster
from tests.support.schedules import SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.support.scene import Scene

T = TypeVar("T")

ASKS = "asks"


@pytest.mark.parametrize("to_broker", [True, False], ids=["question", "answer"])
def test_an_end_is_never_told_too_low(scene: Scene, *, to_broker: bool) -> None:
    """The client's own answer to a question whose connection breaks is -1001, and no error."""
    installation, network = scene.installation, scene.network
    scene.write(*(scene.put(b"%d" % number) for number in range(5)))
    cluster = Cluster(installation.settings(), ASKS)
    assert cluster.high_watermark(installation.schedules, 0) == 5

    with ThreadPoolExecutor(1) as asking:
        for _ in range(3):
            asked = network.heard(Api.LIST_OFFSETS, ASKS)
            network.hold(client=ASKS, apis=(Api.LIST_OFFSETS,), to_broker=to_broker, to_client=not to_broker)
            told = asking.submit(cluster.high_watermark, installation.schedules, 0)
            wait_until(lambda asked=asked: network.heard(Api.LIST_OFFSETS, ASKS) > asked, "it is asked")
            network.cut(client=ASKS)
            network.release()
            with suppress(KafkaException):
                assert told.result(SECONDS) == 5
    assert cluster.high_watermark(installation.schedules, 0) == 5


def test_who_waits_for_an_answer_gets_it_though_another_replaces_the_client(scene: Scene) -> None:
    """All owners of a replica ask by one client, and after a broker's loss all of them ask at once."""
    topic, network = scene.installation.schedules, scene.network
    cluster = Cluster(scene.installation.settings(), ASKS)
    extent = cluster.extent(topic, 0)

    with unanswered(scene, lambda: cluster.extent(topic, 0)) as (asked, told):
        wait_until(lambda: network.heard(Api.LIST_OFFSETS, ASKS) > asked, "it is asked")
        cluster.close()
    assert told.result(SECONDS) == extent


def test_a_leader_that_does_not_answer_is_not_waited_for_long(scene: Scene) -> None:
    """It may be dead, and another one elected: a client that has asked the dead one goes on to wait for that."""
    topic, network = scene.installation.schedules, scene.network
    cluster = Cluster(scene.installation.settings(), ASKS)
    end = cluster.high_watermark(topic, 0)

    with unanswered(scene, lambda: cluster.high_watermark(topic, 0)) as (asked, told):
        wait_until(lambda: network.heard(Api.LIST_OFFSETS, ASKS) >= asked + 2, "it is asked again")
    assert told.result(SECONDS) == end


@contextmanager
def unanswered(scene: Scene, question: Callable[[], T]) -> Iterator[tuple[int, Future[T]]]:
    """A question that is not answered before the block ends: how many were heard before it, and its answer."""
    network = scene.network
    with ThreadPoolExecutor(1) as asking:
        asked = network.heard(Api.LIST_OFFSETS, ASKS)
        network.hold(client=ASKS, apis=(Api.LIST_OFFSETS,), to_broker=False, to_client=True)
        try:
            yield asked, asking.submit(question)
        finally:
            network.release()
