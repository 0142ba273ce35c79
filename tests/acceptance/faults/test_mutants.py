"""The harness can fail: a replica with one defect of the protocol is found out, and one without is not.

Each scenario is the smallest that shows its defect, made certain by failpoints and by a network that obeys. The
judge is told nothing of the defect.
"""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from dev.proxy import Api
from scheduler.broker import publisher
from tests.support.hand_over import hand_over
from tests.support.mutants import Mutation, installed
from tests.support.raw_produce import produce_raw
from tests.support.records import Put
from tests.support.scene import SETTLE_SECONDS, failures
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from scheduler.service import Scheduler
    from tests.support.scene import Scene

LATER_MS = 3_600_000
IMPATIENT_SECONDS = 1.5
"""For a commit, in place of the product's 5: less waiting for the same doubt."""
MORE_THAN_ONE_BATCH = 25_000
"""Records that an owner does not get in one piece, and of which it leaves the last 20,000 for after the fence."""


def variables(mutation: Mutation | None) -> dict[str, str]:
    """For a replica that is a process."""
    return {} if mutation is None else {"MUTATION": mutation.value}


def wait_until_asked(scene: Scene, api: Api, client: str) -> Callable[[], None]:
    """Note how often the client has asked for that so far; what is returned waits until it does again."""
    before = scene.network.heard(api, client)
    return lambda: wait_until(lambda: scene.network.heard(api, client) > before, f"{client} has asked for {api.name}")


def hold_its_transaction(scene: Scene, replica: Scheduler) -> Callable[[], None]:
    """Let no record of its next transaction reach the log until the network is released."""
    begun = wait_until_asked(scene, Api.ADD_PARTITIONS_TO_TXN, replica.client_id)
    scene.network.hold(client=replica.client_id, apis=[Api.ADD_PARTITIONS_TO_TXN])
    return begun


def impatient() -> AbstractContextManager[object]:
    """Give replicas in this process less time for a commit."""
    return patch.object(publisher, "COMMIT_SECONDS", IMPATIENT_SECONDS)


# ---------------------------------------------------------------- scenarios


def a_zombie_goes_on(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Frozen before it has written anything; it wakes when another has fired."""
    zombie = scene.start("zombie", FAILPOINT="begun:freeze:1", **variables(mutation))
    zombie.wait_for("restored", seconds=SETTLE_SECONDS)
    scene.write(scene.put(b"a"))
    scene.wait_until_frozen(zombie)
    with installed(mutation), scene.installation.replica():
        scene.wait_until_fired(b"a")
        zombie.thaw()
        fired_again = 2
        wait_until(
            lambda: (
                zombie.events("fenced", "transaction failed")
                or len(scene.installation.read(scene.installation.target)) == fired_again
            ),
            "the zombie has ended its transaction",
        )
    return scene.faults()


def a_stranger_holds_the_log_back(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """A tombstone stands behind another client's open transaction while a new owner restores."""
    installation = scene.installation
    elsewhere = Put(installation.dead_letters, None, None, [])  # so that it is open before it matters
    stranger = installation.transaction(installation.group_id + "-stranger", elsewhere)
    with installation.replica() as former:
        begun = hold_its_transaction(scene, former)
        scene.write(scene.put(b"a"))
        begun()
        scene.put(b"of the stranger", clock.now_ms() + LATER_MS).to(stranger)
        assert stranger.flush(SECONDS) == 0
        scene.network.release()
        scene.wait_until_fired(b"a")
        scene.installation.wait_for(scene.installation.history)
    with installed(mutation), scene.installation.replica(restored=False) as replica:
        wait_until(
            lambda: any(
                owner.reading and not owner.reads_ahead and owner.engine._end >= 1
                for owner in replica.owners().values()
            ),
            "the new owner has fenced and has read all that it can",
        )
        scene.write(scene.put(b"b"))
        stranger.abort_transaction(SECONDS)
        scene.wait_until_fired(b"b")
    return scene.faults()


def a_long_restore(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """The reader is at the end before the owner has applied the beginning."""
    far_ms = clock.now_ms() + LATER_MS
    scene.write(scene.put(b"a"), *(scene.put(b"filler-%d" % each, far_ms) for each in range(MORE_THAN_ONE_BATCH)))
    with scene.installation.replica():
        scene.wait_until_fired(b"a")
        scene.installation.wait_for(scene.installation.schedules, MORE_THAN_ONE_BATCH + 2)
    scene.network.weather.delay_by_api = {Api.INIT_PRODUCER_ID: 2.0}
    with installed(mutation), scene.installation.replica():
        scene.write(scene.put(b"b"))
        scene.wait_until_fired(b"b")
    return scene.faults()


def a_hand_over(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """What the next owner has read ahead is fired by the last one before the next one's fence is up."""
    with hand_over(scene.installation, mutation) as (following, make_due, let_go):
        make_due()
        scene.installation.fired(b"soon", b"later")
        let_go()
        scene.installation.wait_until_restored(following)
        scene.write(scene.put(b"b"))
        keys = [message["scheduler-key"] for message in scene.installation.fired(b"b")]
    return [f"{key!r} has fired {count} times" for key, count in Counter(keys).items() if count > 1]


def a_transaction_is_cut_short(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Its owner dies when all of it is written and nothing is decided."""
    dying = scene.start("dying", FAILPOINT="written:kill:1")
    dying.wait_for("restored", seconds=SETTLE_SECONDS)
    scene.write(scene.put(b"a"))
    assert dying.exit_code(SETTLE_SECONDS) == -signal.SIGKILL
    with installed(mutation), scene.installation.replica():
        scene.write(scene.put(b"b"))
        scene.wait_until_fired(b"b")
        scene.installation.wait_for(scene.installation.history)
    return scene.faults()


def a_death_after_the_commit(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Its owner dies when a transaction is decided, before it has taken note."""
    dying = scene.start("dying", FAILPOINT="committed:kill:1", **variables(mutation))
    dying.wait_for("restored", seconds=SETTLE_SECONDS)
    scene.write(scene.put(b"a"))
    assert dying.exit_code(SETTLE_SECONDS) == -signal.SIGKILL
    with scene.installation.replica():
        scene.write(scene.put(b"b"))
        scene.wait_until_fired(b"b")
    return scene.faults()


def a_key_in_an_unusual_partition(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Written by a client whose partitioner is another one."""
    scene.widen(partitions=2)
    with installed(mutation), scene.installation.replica():
        scene.write(*(scene.put(key, partition=partition) for partition in (0, 1) for key in (b"a", b"b")))
        scene.installation.wait_for(scene.installation.target, 4)
        scene.installation.wait_for(scene.installation.history, 4)
    return scene.faults()


def an_update_that_meets_a_firing(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """It is acknowledged when the firing of its predecessor is decided on, and not written yet."""
    with installed(mutation), scene.installation.replica() as replica:
        begun = hold_its_transaction(scene, replica)
        scene.write(scene.put(b"a"))
        begun()
        due_ms = clock.now_ms() + 1500  # by then the tombstone is read, if all goes well
        scene.write(scene.put(b"a", due_ms), scene.put(b"b", due_ms + 1))
        scene.network.release()
        scene.wait_until_fired(b"a", b"b")
        scene.installation.wait_for(scene.installation.history, 2)
    return scene.faults()


def a_second_end_of_a_transaction(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """The network loses a connection with an EndTxn on its way; it arrives in the middle of the next transaction.

    The client has asked again on a new connection by then, and was answered. The owner dies in the middle of that
    next transaction, so that what stands of it does so by the late EndTxn alone.
    """
    dying = scene.start("dying", FAILPOINT="halfway:freeze:2", **variables(mutation))
    dying.wait_for("restored", seconds=SETTLE_SECONDS)
    network, client = scene.network, dying.client
    # the producer connects with its first request; one that is open is held
    asked = wait_until_asked(scene, Api.END_TXN, client)
    network.hold(client=client, apis=[Api.END_TXN], to_client=False, only_open=True)
    scene.write(scene.put(b"a"))
    asked()
    network.cut(client=client, to_broker=False)
    scene.wait_until_fired(b"a")
    scene.write(scene.put(b"b"))
    scene.wait_until_frozen(dying)
    ends = network.seen(Api.END_TXN, client)
    network.release()
    wait_until(lambda: network.seen(Api.END_TXN, client) > ends, "the late EndTxn has arrived")
    scene.write(scene.put(b"c"))
    dying.kill()
    with scene.installation.replica():
        scene.wait_until_fired(b"b", b"c")
        scene.installation.wait_for(scene.installation.history, 3)
    return scene.faults()


def an_answer_that_is_lost(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """The transaction is committed, and its owner never hears of it."""
    with impatient(), installed(mutation), scene.installation.replica() as replica:
        scene.network.hold(client=replica.client_id, apis=[Api.END_TXN], to_broker=False)
        scene.write(scene.put(b"a"))
        scene.wait_until_fired(b"a")
        before = failures(replica)
        wait_until(lambda: failures(replica) > before, "the owner has given up waiting")
        scene.network.release()
        scene.write(scene.put(b"b"))
        scene.wait_until_fired(b"b")
    return scene.faults()


def a_request_that_is_lost(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """The end of the transaction never reaches the broker, which aborts it for the next producer."""
    with impatient(), installed(mutation), scene.installation.replica() as replica:
        scene.network.hold(client=replica.client_id, apis=[Api.END_TXN], to_client=False)
        scene.write(scene.put(b"a"))
        twice = 2
        wait_until(
            lambda: replica.registry.get_sample_value("scheduler_fence_seconds_count") >= twice,
            "the owner has given up waiting, and has fenced what it had begun",
        )
        scene.network.release()
        scene.write(scene.put(b"b"))
        scene.wait_until_fired(b"b")
        scene.installation.wait_for(scene.installation.history)
    return scene.faults()


def a_header_name_that_is_not_text(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Bytes that no client library lets one write."""
    installation = scene.installation
    replica = scene.start("replica", **variables(mutation))
    replica.wait_for("restored", seconds=SETTLE_SECONDS)
    produce_raw(installation.broker, installation.schedules, 0, b"bad", b"", [(b"\xff", b"")] * 2, timestamp_ms=0)
    installation.write(scene.put(b"a"))
    wait_until(
        lambda: (
            not replica.runs or replica.events("partition failed") or len(installation.read(installation.target)) == 1
        ),
        "the replica goes on, or does not",
    )
    if not replica.runs:
        return [f"the replica has ended: {replica.exit_code(SECONDS)}"]
    return [str(event) for event in replica.events("partition failed")]


def a_schedule_in_a_moment(scene: Scene, mutation: Mutation | None) -> Sequence[str]:
    """Nothing happens to it."""
    with installed(mutation), scene.installation.replica():
        scene.write(scene.put(b"a", clock.now_ms() + 1000))
        scene.wait_until_fired(b"a")
        scene.installation.wait_for(scene.installation.history)
    return scene.faults()


SHOWN_BY: dict[Mutation, Callable[[Scene, Mutation | None], Sequence[str]]] = {
    Mutation.NO_FENCE: a_zombie_goes_on,
    Mutation.STABLE_OFFSET: a_stranger_holds_the_log_back,
    Mutation.NO_MARK: a_stranger_holds_the_log_back,
    Mutation.READ_AHEAD: a_hand_over,
    Mutation.END_FIRST: a_long_restore,
    Mutation.READ_UNCOMMITTED: a_transaction_is_cut_short,
    Mutation.BY_PARTITIONER: a_key_in_an_unusual_partition,
    Mutation.BLIND_TOMBSTONE: an_update_that_meets_a_firing,
    Mutation.TWO_TRANSACTIONS: a_death_after_the_commit,
    Mutation.KEPT_PRODUCER: a_second_end_of_a_transaction,
    Mutation.DOUBT_IS_FAILURE: an_answer_that_is_lost,
    Mutation.DOUBT_IS_SUCCESS: a_request_that_is_lost,
    Mutation.HEADERS_TWICE: a_header_name_that_is_not_text,
    Mutation.EARLY: a_schedule_in_a_moment,
}


def test_every_defect_has_a_scenario() -> None:
    assert SHOWN_BY.keys() == set(Mutation)


@pytest.mark.parametrize("scenario", dict.fromkeys(SHOWN_BY.values()), ids=lambda each: each.__name__)
def test_nothing_is_found_where_nothing_is_broken(scene: Scene, scenario: Callable[..., Sequence[str]]) -> None:
    assert scenario(scene, None) == []


@pytest.mark.parametrize("mutation", Mutation)
def test_a_defect_is_found(scene: Scene, mutation: Mutation) -> None:
    assert SHOWN_BY[mutation](scene, mutation) != []
