"""The client library on a real broker: what it writes is what a replica does, and its examples work."""

from __future__ import annotations

import inspect
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING

import pytest

import scheduler
from scheduler import (
    AsyncSchedulerClient,
    HistoryFilter,
    InputError,
    NotFoundError,
    OvertakenError,
    SchedulerClient,
    Settings,
    partitioners,
)
from scheduler.broker.cluster import Cluster
from scheduler.needs import needed_topics
from tests.support.records import Put
from tests.support.schedules import JAVA, clock, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.broker import Broker, Topics
    from tests.support.schedules import Installation

ROOT = Path(__file__).parents[3]
HOUR_MS = 3_600_000


@pytest.fixture
def client(installation: Installation) -> Iterator[SchedulerClient]:
    with SchedulerClient(installation.settings()) as made:
        yield made


def test_what_is_scheduled_fires_with_all_that_was_given(installation: Installation, client: SchedulerClient) -> None:
    receipt = client.schedule(
        "a", "payload", installation.target, delay=timedelta(milliseconds=200), target_key="k", headers={"trace": "7"}
    )
    with installation.replica():
        (fired,) = installation.fired(b"a")

    assert (fired.key, fired.value, fired["trace"]) == (b"k", b"payload", b"7")
    assert fired["scheduler-fire-id"] == b"a@%d" % (receipt.timestamp_ms + 200)
    (event,) = client.history(HistoryFilter(key="a"))
    assert (event.outcome, event.target) == ("fired", installation.target)


@pytest.fixture
def elsewhere(broker: Broker, topics: Topics) -> Settings:
    """Of an installation whose topics do not exist yet."""
    settings = Settings.load(
        bootstrap_servers=broker.bootstrap_servers,
        **{name: f"{name}-{token_bytes(4).hex()}" for name in ("history_topic", "dead_letter_topic", "results_topic")},
        schedules_topics=[f"schedules-{token_bytes(4).hex()}"],
        clusters=[f"cluster-{token_bytes(4).hex()}"],
        partitions=2,
    )
    topics.adopt(*(spec.name for spec in needed_topics(settings)))
    return settings


def test_topics_that_are_missing_are_created_as_they_have_to_be_and_can_be_used_at_once(elsewhere: Settings) -> None:
    (schedules,) = elsewhere.schedules_topics
    with SchedulerClient(elsewhere) as client:
        made = client.create_topics()
        client.schedule("a", b"", elsewhere.clusters[0], delay="1h")

        assert set(made) == {spec.name for spec in needed_topics(elsewhere)}
        assert client.create_topics() == []
    cluster = Cluster(elsewhere, "test")
    assert cluster.topics()[schedules] == 2
    assert cluster.config(schedules)["cleanup.policy"] == "compact"


def test_topics_that_kafka_refuses_are_named_with_the_reason(elsewhere: Settings) -> None:
    too_many = elsewhere.model_copy(update={"replication_factor": 1000})

    with SchedulerClient(too_many) as client, pytest.raises(InputError, match=r"topic .*INVALID_REPLICATION_FACTOR"):
        client.create_topics()


def test_any_thread_may_write_and_each_is_told_where_its_record_stands(
    installation: Installation, client: SchedulerClient
) -> None:
    due_ms = clock.now_ms() + HOUR_MS
    with ThreadPoolExecutor(8) as threads:
        keys = [f"key-{number}" for number in range(200)]
        receipts = list(threads.map(lambda key: client.schedule(key, key, installation.target, at=due_ms), keys))

    stand = {(record.partition, record.offset): record.key for record in installation.read(installation.schedules)}
    assert [stand[receipt.partition, receipt.offset].decode() for receipt in receipts] == keys  # type: ignore[union-attr]


def test_a_change_goes_to_the_partition_where_the_schedule_stands(install: Callable[..., Installation]) -> None:
    """Another client's partitioner chose it: a cancel by Java's hash would stand elsewhere, and the schedule fire."""
    installation = install(partitions=4)
    due_ms = clock.now_ms() + HOUR_MS
    keys = [b"key-%d" % number for number in range(40)]
    keys = [key for key in keys if partitioners.librdkafka(key, 4) != partitioners.java(key, 4)][:3]
    written = installation.write(
        *(installation.schedule(key, due_ms=due_ms) for key in keys), partitioner="consistent_random"
    )
    where = {record.key: record.partition for record in written}
    with installation.replica() as replica, SchedulerClient(installation.settings()) as client:
        wait_until_pending(replica, 3)
        cancelled = client.cancel(keys[0])
        fired = client.fire(keys[1])
        moved = client.reschedule(keys[2], at=clock.now_ms())
        installation.fired(keys[1], keys[2])
        installation.wait_for(installation.history, 3)

    assert [each.partition for each in (cancelled, fired, moved)] == [where[key] for key in keys]
    ended = {record.key: record["scheduler-outcome"] for record in installation.read(installation.history)}
    assert ended == {keys[0]: b"cancelled", keys[1]: b"fired", keys[2]: b"fired"}
    assert len(installation.read(installation.target)) == 2


def test_the_library_hashes_keys_as_java_does(install: Callable[..., Installation]) -> None:
    """What the doctor compares with is what the client's own partitioner does."""
    installation = install(partitions=7)
    keys = [b"k" * (number % 9 + 1) + b"%d" % number for number in range(100)]
    for partitioner, hashed in ((JAVA, partitioners.java), ("consistent_random", partitioners.librdkafka)):
        written = installation.write(
            *(installation.schedule(key, due_ms=clock.now_ms() + HOUR_MS) for key in keys), partitioner=partitioner
        )
        assert [record.partition for record in written] == [hashed(key, 7) for key in keys]


def test_a_paused_schedule_waits_and_a_resumed_one_goes_on(installation: Installation, client: SchedulerClient) -> None:
    now_ms = clock.now_ms()
    client.schedule("a", "", installation.target, at=now_ms + HOUR_MS)
    assert client.pause("a") is not None
    assert client.pause("a") is None
    client.reschedule("a", at=now_ms)  # it stays paused
    with installation.replica():
        client.schedule("b", "", installation.target, at=now_ms)
        installation.fired(b"b")
        assert client.resume("a") is not None
        fired = installation.fired(b"a")
    assert [message["scheduler-key"] for message in fired] == [b"b", b"a"]


def test_everything_pauses_in_one_transaction_and_goes_on(install: Callable[..., Installation]) -> None:
    installation = install(partitions=3)
    puts = [installation.schedule(b"%d" % each, partition=each, epoch=0) for each in range(3)]
    with SchedulerClient(installation.settings()) as client:
        client.pause_all()
        installation.write(*puts)
        with installation.replica():
            assert {each.partition_paused for each in client.schedules(installation.schedules)} == {True}
            with pytest.raises(InputError, match="scheduler resume --all"):
                client.fire("1")
            assert installation.read(installation.target) == []
            client.resume_all()
            installation.fired(b"0", b"1", b"2")
    assert len(installation.read(installation.target)) == 3


def test_what_is_not_there_or_there_twice_is_said(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    put = installation.schedule(b"twice", due_ms=clock.now_ms() + HOUR_MS)
    with SchedulerClient(installation.settings()) as client:
        with pytest.raises(NotFoundError, match="scheduler history --key nowhere"):
            client.cancel("nowhere")
        installation.write(*(Put(put.topic, put.key, put.value, put.headers, each) for each in range(2)))
        with pytest.raises(InputError, match=r"partition 0.*partition 1"):
            client.fire("twice")
        for stored in client.find("twice"):
            client.cancel(stored)
        assert client.find("twice") == []
        with pytest.raises(InputError, match="does not exist"):
            client.schedule("a", "", installation.target, at=0, topic="no-such-topic")
        with pytest.raises(InputError, match="too large"):
            client.schedule("a", token_bytes(1_100_000), installation.target, at=0)


def test_a_change_that_was_overtaken_says_so(installation: Installation, client: SchedulerClient) -> None:
    """Not for a neighbour's record in between."""
    client.schedule("a", "", installation.target, at=clock.now_ms() + HOUR_MS)
    (stored,) = client.find("a")
    client.schedule("b", "", installation.target, at=clock.now_ms() + HOUR_MS)
    client.check_overtaken(stored, client.pause(stored))  # type: ignore[arg-type]
    (stored,) = client.find("a")
    installation.write(installation.cancel(b"a"))
    with pytest.raises(OvertakenError, match="scheduler history --key a"):
        client.check_overtaken(stored, client.fire(stored))


# -- what the documents show ---------------------------------------------------------------------------


def blocks(text: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    return found


@pytest.fixture
def documented(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run a document's code with the topics of this installation."""
    for name, value in installation.environment().items():
        monkeypatch.setenv(name, value)

    def run(code: str) -> None:
        code = code.replace('"online-videos"', repr(installation.target))
        exec(code.replace('"schedules"', repr(installation.schedules)), {})  # noqa: S102 - our own documents

    return run


@pytest.mark.parametrize("kind", [SchedulerClient, AsyncSchedulerClient])
def test_the_example_of_a_class_works(documented: Callable[[str], None], kind: type) -> None:
    for code in blocks(inspect.getdoc(kind) or ""):
        documented(code)


def test_the_examples_of_the_library_page_work(documented: Callable[[str], None]) -> None:
    for code in blocks((ROOT / "docs/library.md").read_text(encoding="utf-8")):
        documented(code)


def test_the_public_names_are_there_and_on_the_page() -> None:
    page = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    errors = [name for name in scheduler.__all__ if name.endswith("Error")]

    assert all(getattr(scheduler, name) is not None for name in scheduler.__all__)
    assert [name for name in errors if f"`{name}" not in page] == []
    undocumented = {"close", "log", "records", "ends", "history_ends", "endings", "check_overtaken"}  # for the commands
    documented = methods(SchedulerClient) - undocumented
    assert {name for name in documented if f"`{name}(" not in page} == set()
    blocking = {"draft", "draft_retry", "draft_cancel", "produce", "writer"}
    assert methods(AsyncSchedulerClient) == documented - blocking | {"close"}


def methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_types_are_in_the_package() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert "scheduler" in packages["wheel"]["packages"]
    assert (ROOT / "scheduler/py.typed").exists()


def test_settings_come_from_the_environment_and_what_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP_ID", "a")
    assert Settings.load(history_topic="b").group_id == "a"
    assert Settings.load(group_id="b").group_id == "b"
