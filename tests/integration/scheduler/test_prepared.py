"""What is due in a moment is prepared: the transaction holds it, and nothing of it has left the replica.

So that a test sees what comes between, replicas here prepare seconds ahead.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from scheduler.broker import publisher
from scheduler.broker.failures import Kind
from scheduler.engine.changes import Change, Verb
from scheduler.runtime import kafka
from scheduler.runtime.watchdog import Watchdog
from scheduler.schedule import PAUSE_KEY
from tests.support.records import Put
from tests.support.schedules import SECONDS, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.broker.owner import Owner
    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

AHEAD_MS = 4_000
SOON_MS = 2_500
"""Until what is prepared is due: enough for something to come between."""


@contextmanager
def long_before() -> Iterator[None]:
    """Replicas that are made within the block prepare what is due within seconds."""
    with (
        patch.object(publisher, "AHEAD_MS", AHEAD_MS),
        patch.object(kafka, "TRANSACTION_LINGER_MS", AHEAD_MS + 1_000),
    ):
        yield


@pytest.fixture
def without_doubt(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What is prepared and given up is no failure: nobody has to find out from the log what became of it."""
    yield
    assert "transaction failed" not in caplog.messages


def prepared(replica: Scheduler) -> Owner:
    """The owner of the only partition, once it has prepared something."""
    (owner,) = replica.owners().values()
    wait_until(lambda: owner.ahead.prepared is not None, "something is prepared")
    return owner


@pytest.fixture
def due_ms() -> int:
    """A moment from now."""
    return clock.now_ms() + SOON_MS


@pytest.mark.usefixtures("without_doubt")
def test_nothing_is_in_the_log_before_it_is_due(installation: Installation) -> None:
    """Not even for readers that do not wait for the end of a transaction: the broker's stamp says when it came."""
    with long_before(), installation.replica() as replica:
        start_ms = clock.now_ms() + SOON_MS
        dues = {b"in-a-row-%d" % n: start_ms + 20 * n for n in range(100)}
        installation.write(*(installation.schedule(key, due_ms=due) for key, due in dues.items()))
        prepared(replica)
        messages = installation.fired(*dues)
    told = {record.key: record for record in installation.read(installation.history)}

    assert len(messages) == len(told) == len(dues)
    early = [m for m in messages if m.timestamp_ms < dues[m["scheduler-key"] or b""]]
    assert early == []
    assert [key for key, record in told.items() if record.timestamp_ms < dues[key or b""]] == []


@pytest.mark.usefixtures("without_doubt")
@pytest.mark.parametrize("between", ["a cancel", "an update", "a pause of the partition"])
def test_what_comes_before_the_due_time_counts_though_the_firing_is_prepared(
    installation: Installation, due_ms: int, between: str
) -> None:
    with long_before(), installation.replica() as replica:
        written = installation.write(
            installation.schedule(b"first", b"as it was", due_ms=due_ms),
            installation.schedule(b"second", b"as it was", due_ms=due_ms),
        )
        prepared(replica)
        if between == "a cancel":
            written += installation.write(installation.cancel(b"first"))
        elif between == "an update":
            written += installation.write(installation.schedule(b"first", b"anew", due_ms=due_ms + 500))
        else:
            written += installation.write(Put(installation.schedules, PAUSE_KEY, b"", [], 0))
            wait_until(lambda: clock.now_ms() > due_ms + 500, "it was due")
            assert installation.read(installation.target) == []
            written += installation.write(Put(installation.schedules, PAUSE_KEY, None, [], 0))
        installation.fired(b"second")
        if between != "a cancel":
            installation.fired(b"first")
        installation.wait_for(installation.history, 2)

    fired = {message["scheduler-key"]: message.value for message in installation.read(installation.target)}
    first = {"a cancel": {}, "an update": {b"first": b"anew"}}.get(between, {b"first": b"as it was"})
    assert fired == {b"second": b"as it was", **first}
    installation.judged(written).check()


@pytest.mark.usefixtures("without_doubt")
def test_what_is_due_sooner_does_not_wait_for_what_is_prepared(installation: Installation, due_ms: int) -> None:
    with long_before(), installation.replica() as replica:
        installation.write(installation.schedule(b"prepared", due_ms=due_ms))
        prepared(replica)
        installation.write(installation.schedule(b"sooner", due_ms=clock.now_ms()))
        sooner, later = installation.fired(b"prepared", b"sooner")

    assert (sooner["scheduler-key"], later["scheduler-key"]) == (b"sooner", b"prepared")
    assert sooner.timestamp_ms < due_ms <= later.timestamp_ms


@pytest.mark.usefixtures("without_doubt")
def test_who_asks_is_answered_as_if_nothing_were_prepared(installation: Installation, due_ms: int) -> None:
    with long_before(), installation.replica() as replica:
        installation.write(installation.schedule(b"asked-for", due_ms=due_ms))
        page = prepared(replica).requests.ask(lambda engine: engine.page(-1, 10)).result(SECONDS)
        owner = next(iter(replica.owners().values()))
        settled = owner.requests.change(b"asked-for", Change(Verb.CANCEL)).result(SECONDS)
        installation.write(installation.schedule(b"after-it", due_ms=due_ms))
        messages = installation.fired(b"after-it")

    assert [version.due_ms for version in page] == [due_ms]
    assert settled.outcome == "cancelled"
    assert [message["scheduler-key"] for message in messages] == [b"after-it"]


@pytest.mark.usefixtures("without_doubt")
def test_what_a_replica_has_prepared_when_it_stops_the_next_one_fires_once(
    installation: Installation, due_ms: int
) -> None:
    with long_before(), installation.replica() as replica:
        installation.write(installation.schedule(b"left-behind", due_ms=due_ms))
        prepared(replica)
    with installation.replica():
        installation.fired(b"left-behind")
        installation.write(installation.schedule(b"after-it", due_ms=clock.now_ms()))
        messages = installation.fired(b"after-it")

    assert [message["scheduler-key"] for message in messages] == [b"left-behind", b"after-it"]
    assert messages[0].timestamp_ms >= due_ms


def test_who_is_fenced_with_something_prepared_does_not_fire_it(installation: Installation, due_ms: int) -> None:
    """Whoever owns the partition then does, and nobody fires it twice."""
    name = f"{installation.group_id}-{installation.schedules}-0"
    conf = kafka.transactional_conf(installation.settings(), "intruder", name)
    intruder = publisher.Publisher(conf, installation.schedules, clock, Watchdog(clock))
    with long_before(), installation.replica() as replica:
        installation.write(installation.schedule(b"contended", due_ms=due_ms))
        fenced = prepared(replica)
        intruder.open()
        installation.fired(b"contended")
        installation.write(installation.schedule(b"after-it", due_ms=clock.now_ms()))
        messages = installation.fired(b"after-it")
        intruder.close()

    assert fenced.ended_by is Kind.FENCED
    assert [message["scheduler-key"] for message in messages] == [b"contended", b"after-it"]
    assert messages[0].timestamp_ms >= due_ms
