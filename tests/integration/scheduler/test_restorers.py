"""A restore that other processes share comes to the same as one in the replica alone, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil
import pytest
from confluent_kafka import Consumer

from scheduler.broker import restorers, subscriber
from scheduler.broker.cluster import Cluster
from scheduler.broker.restorer import Restored, Restorer
from scheduler.broker.restorers import Restorers
from scheduler.broker.subscriber import Subscriber
from scheduler.engine.life import State
from scheduler.runtime.kafka import consumer_conf
from scheduler.schedule import PAUSE_KEY
from tests.support.records import Put
from tests.support.replica_process import replica_process
from tests.support.schedules import SECONDS, clock, in_force, starts, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler.broker.restorer import Report
    from scheduler.engine.partition import PartitionEngine
    from scheduler.service import Scheduler
    from tests.support.records import Record
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000
PARTITIONS = 4
MANY = 3_000
"""In each partition: what is passed on of them is more than a pipe takes."""
PENDING = PARTITIONS * (MANY + 2)
SHARED = {"restore_processes": 2, "restore_shared_from": 1}
hear = restorers._Process._hear
NOT_RESTORED = "not restored by another process, read here"


def fill(installation: Installation) -> list[Record]:
    """Something of everything in each partition; `PENDING` are pending once what is due has fired."""
    now_ms = clock.now_ms()
    far_ms = now_ms + HOUR_MS
    puts = []
    for partition in range(PARTITIONS):

        def schedule(key: bytes, *given: bytes, partition: int = partition, **stated: str | int | None) -> Put:
            return installation.schedule(b"%s-%d" % (key, partition), *given, partition=partition, **stated)  # type: ignore[arg-type]

        puts += [
            *(schedule(b"far-%d" % each, due_ms=far_ms + each) for each in range(MANY)),
            schedule(b"large", b"x" * 500_000, due_ms=far_ms),
            schedule(b"large and near", b"x" * 500_000, due_ms=now_ms + 100_000),
            schedule(b"daily", cron="0 4 * * *", timezone="Europe/Riga"),
            schedule(b"paused", due_ms=now_ms, paused="true"),
            schedule(b"malformed", target_topic=None),
            schedule(b"due", due_ms=now_ms),
            schedule(b"far-1", b"newer", due_ms=now_ms + 2 * HOUR_MS),
            installation.cancel(b"far-2-%d" % partition, partition=partition),
            installation.cancel(b"unknown", partition=partition),
            installation.cancel(b"far-4-%d" % partition, partition=partition),
            schedule(b"far-4", b"again", due_ms=far_ms),
            installation.cancel(b"daily-%d" % partition, partition=partition),
        ]
    return installation.write(*puts)


def due(partition: int) -> bytes:
    return b"due-%d" % partition


def state(engine: PartitionEngine) -> tuple[object, ...]:
    """All that an engine that restores knows."""
    return (
        engine.paused,
        engine.accepted,
        engine.pending._near,
        engine.pending._bodies,
        sorted(engine.pending._far),
        engine.pending.far_by_target(),
        engine._unsaid.by_key,
        engine._cancels,
        engine._end,
    )


def awaited(replica: Scheduler) -> set[tuple[str, int]]:
    return set(replica._subscriber._restorers.awaited)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "scheduler.restore"]


def helpers(pid: int | None = None) -> list[psutil.Process]:
    """The processes that help a replica."""
    found = []
    for each in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):  # or what is left of one that has ended
            if "restorer" in " ".join(each.cmdline()):
                found.append(each)
    return found


def ignores(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal is nothing to a process; on Linux."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    (mask,) = (line.split()[1] for line in lines if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def held() -> Iterator[threading.Event]:
    """Nothing of what other processes say is heard before the event is set."""
    go_on = threading.Event()

    def later(process: restorers._Process, reports: restorers._Heard) -> None:
        go_on.wait(SECONDS)
        hear(process, reports)

    with patch.object(restorers._Process, "_hear", later):
        yield go_on
        go_on.set()


@contextmanager
def helped(installation: Installation) -> Iterator[psutil.Process]:
    """The one process that helps a replica, which restores two partitions and is not heard."""
    with held(), installation.replica(restored=False, **SHARED) as replica:
        wait_until(lambda: len(awaited(replica)) == 2 and helpers(), "another process restores two partitions")
        (process,) = helpers()
        yield process


@pytest.fixture
def filled(install: Callable[..., Installation]) -> Iterator[tuple[Installation, list[Record]]]:
    """An installation in which nothing has run yet; afterwards nothing is left that helped."""
    installation = install(partitions=PARTITIONS)
    yield installation, fill(installation)
    wait_until(lambda: not helpers(), "no process is left that helped")


def wait_until_settled(installation: Installation, replica: Scheduler) -> None:
    """Return once what was due has fired, what was hidden is written again, and the rest is pending."""
    installation.fired(*map(due, range(PARTITIONS)))
    installation.wait_until_restored(replica)
    wait_until(
        lambda: all(owner.engine.settled(clock.now_ms()) for owner in replica.owners().values()), "all is settled"
    )
    wait_until_pending(replica, PENDING)


def wait_until_judged(installation: Installation, written: list[Record]) -> None:
    wait_until(lambda: installation.judged(written).clean, "the judge has nothing to say")


def test_another_process_comes_to_what_this_one_comes_to(install: Callable[..., Installation]) -> None:
    """Before any owner has acted on it."""
    installation = install(partitions=PARTITIONS)
    fill(installation)
    installation.write(
        # the largest is the replica's own
        *(installation.schedule(b"more-%d" % each, due_ms=clock.now_ms(), partition=0) for each in range(10)),
        Put(installation.schedules, PAUSE_KEY, b"", [], 1),
        installation.schedule(b"unreadable", due_ms=clock.now_ms(), partition=2, headers=[("ok", b"")]),
        installation.schedule(b"far-9-3", b"goes on", cron="@every 1h", partition=3, continues="true"),
        installation.schedule(b"far-8-3", b"of an owner", partition=3, epoch=4_000_000_000, replaces=8),
        Put(installation.schedules, b"far-7-3", None, [("scheduler-replaces", b"7")], 3),
    )
    keys = [(installation.schedules, partition) for partition in range(PARTITIONS)]
    settings = installation.settings()
    conf = consumer_conf(settings, "test", "test")
    cluster = Cluster(settings, "test")
    shared = Restorers(conf, settings.schedules_topics, cluster, clock, processes=PARTITIONS, least=1)
    shared.begin(keys, clock.now_ms() + 120_000)
    cluster.close()
    jobs = {key: each.job for key, each in shared.awaited.items()}
    found: dict[tuple[str, int], Restored | None] = {}
    wait_until(lambda: found.update(shared.come()) or not shared.awaited, "the other processes have restored all")  # type: ignore[func-returns-value]
    consumer = Consumer(conf)
    here: dict[tuple[str, int], PartitionEngine] = {}

    def report(what: Report) -> None:
        if isinstance(what, Restored):
            here[what.job.key] = what.engine

    alone = Restorer(consumer, settings.schedules_topics, report, clock)
    alone.take(list(jobs.values()))
    while not alone.idle:
        alone.read()
    consumer.close()

    assert set(found) == set(keys[1:])
    assert {key: each and each.read_to for key, each in found.items()} == {key: job.end for key, job in jobs.items()}
    assert {key: each and state(each.engine) for key, each in found.items()} == {
        key: state(each) for key, each in here.items()
    }


def test_a_shared_restore_fires_and_knows_what_one_in_the_replica_alone_does(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    installation, written = filled
    caplog.set_level("INFO")
    with installation.replica(**SHARED) as replica:
        wait_until_settled(installation, replica)
        wait_until_judged(installation, written)
        found = in_force(replica)
        assert starts(replica) == {"cold": PARTITIONS}
    with installation.replica(restore_processes=1) as alone:
        wait_until_settled(installation, alone)
        assert in_force(alone) == found

    assert told(caplog) == ["restore is shared"]


def test_what_comes_once_another_process_has_restored_is_not_lost(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    installation, written = filled
    go_on, come = threading.Event(), Restorers.come
    with (
        patch.object(Restorers, "come", lambda each: come(each) if go_on.is_set() else ()),
        installation.replica(restored=False, **SHARED) as replica,
    ):
        wait_until(lambda: replica._subscriber._restorers._come.qsize() == 2, "another process has restored its share")
        new = [b"new-%d" % partition for partition in range(PARTITIONS)]
        written += installation.write(
            *(installation.schedule(key, due_ms=clock.now_ms(), partition=each) for each, key in enumerate(new)),
            *(installation.cancel(b"far-10-%d" % each, partition=each) for each in range(PARTITIONS)),
        )
        wait_until(
            lambda: [each.state for each in replica.standings().values()].count(State.RUNNING) == 2,
            "the replica has restored its own",
        )
        go_on.set()
        installation.fired(*new, *map(due, range(PARTITIONS)))
        wait_until_pending(replica, PENDING - PARTITIONS)
        wait_until_judged(installation, written)
    assert NOT_RESTORED not in told(caplog)


def test_how_far_it_is_is_told_while_another_process_restores(filled: tuple[Installation, list[Record]]) -> None:
    installation, _ = filled
    with held() as go_on, installation.replica(restored=False, **SHARED) as replica:
        wait_until(lambda: len(awaited(replica)) == 2, "another process restores two partitions")
        where = awaited(replica)
        wait_until(lambda: set(replica.lags()) >= where, "it is known how much is left to be read")
        lags = replica.lags()
        assert all(lags[key] > MANY for key in where)
        assert {replica.standings()[key].state for key in where} == {State.RESTORING}
        go_on.set()
        wait_until_settled(installation, replica)
        wait_until(lambda: not any(replica.lags().values()), "nothing is left to be read")


def test_a_process_that_is_killed_in_the_middle_is_not_missed(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    installation, written = filled
    ended: list[psutil.Process] = []

    def killed(process: restorers._Process, reports: restorers._Heard) -> None:
        wait_until(lambda: process.busy, "it has something to do")
        # it has begun to say something: what it has restored is more than the pipe holds
        assert reports.read(1)
        for each in helpers():
            each.kill()
            ended.append(each)
        hear(process, reports)

    with patch.object(restorers._Process, "_hear", killed), installation.replica(**SHARED) as replica:
        wait_until_settled(installation, replica)
        wait_until_judged(installation, written)

    assert len(ended) == 1
    assert told(caplog).count(NOT_RESTORED) == 1


def test_a_process_that_cannot_be_started_is_not_missed(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    installation, written = filled
    with patch.object(sys, "executable", "/nowhere/python"), installation.replica(**SHARED) as replica:
        wait_until_settled(installation, replica)
        wait_until_judged(installation, written)

    assert NOT_RESTORED in told(caplog)


def test_a_process_that_hangs_is_not_waited_for(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    installation, written = filled

    def hanging(process: restorers._Process, reports: restorers._Heard) -> None:
        wait_until(lambda: process.busy, "it has something to do")
        for each in helpers():
            os.kill(each.pid, signal.SIGSTOP)
        hear(process, reports)

    with (
        patch.object(restorers, "SILENT_SECONDS", 0.5),
        patch.object(restorers._Process, "_hear", hanging),
        installation.replica(**SHARED) as replica,
    ):
        wait_until_settled(installation, replica)
        wait_until_judged(installation, written)

    assert told(caplog).count(NOT_RESTORED) == 1


def test_a_replica_that_stops_in_the_middle_leaves_nothing_behind(filled: tuple[Installation, list[Record]]) -> None:
    installation, _ = filled
    with held(), installation.replica(restored=False, **SHARED) as replica:
        wait_until(lambda: len(awaited(replica)) == 2 and helpers(), "another process restores two partitions")
        replica.close()
        wait_until(lambda: not helpers(), "it has ended")


def test_partitions_are_taken_away_in_the_middle(filled: tuple[Installation, list[Record]]) -> None:
    """The others restore them; what is left comes from another process all the same."""
    installation, written = filled
    with ExitStack() as until_the_end:
        go_on = until_the_end.enter_context(held())
        replica = until_the_end.enter_context(installation.replica(restored=False, **SHARED))
        wait_until(lambda: len(awaited(replica)) == 2, "another process restores two partitions")
        others = [
            until_the_end.enter_context(installation.replica(restored=False, restore_processes=1))
            for _ in range(PARTITIONS - 1)
        ]
        replicas = [replica, *others]
        wait_until(
            lambda: [len(each.owners()) for each in replicas] == [1] * PARTITIONS, "each replica has one partition"
        )
        assert len(awaited(replica)) <= 1
        go_on.set()
        wait_until(
            lambda: all(standing.state is State.RUNNING for each in replicas for standing in each.standings().values()),
            "all is restored",
        )
        installation.fired(*map(due, range(PARTITIONS)))
        wait_until(
            lambda: sum(each.pending for one in replicas for each in one.standings().values()) == PENDING,
            "all is pending",
        )
        wait_until_judged(installation, written)


def test_a_topic_that_is_made_anew_in_the_middle_is_read_afresh(filled: tuple[Installation, list[Record]]) -> None:
    installation, _ = filled
    with held() as go_on, installation.replica(restored=False, **SHARED) as replica:
        wait_until(lambda: len(awaited(replica)) == 2, "another process restores two partitions")
        wait_until(
            lambda: [each.state for each in replica.standings().values()].count(State.RUNNING) == 2,
            "the replica has restored its own",
        )
        where = awaited(replica)
        installation.remake()
        written = installation.write(
            *(installation.schedule(b"new-%d" % each, due_ms=clock.now_ms(), partition=each) for each in range(4))
        )
        go_on.set()
        installation.fired(*(record.key or b"" for record in written if (record.topic, record.partition) in where))
        wait_until(
            lambda: [replica.standings()[key].pending for key in where] == [0, 0], "nothing is left of the old topic"
        )


def test_a_log_that_was_cut_since_is_read_afresh(
    filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends before what another process has read."""
    installation, written = filled
    come = Restorers.come

    def cut(each: Restorers) -> Iterator[tuple[tuple[str, int], Restored | None]]:
        for key, restored in come(each):
            yield key, restored and restored._replace(read_to=restored.read_to + MANY)

    with (
        patch.object(Restorers, "come", cut),
        patch.object(subscriber, "RETAKE_SECONDS", 0.1),
        installation.replica(**SHARED) as replica,
    ):
        wait_until_settled(installation, replica)
        wait_until_judged(installation, written)

    events = [record.getMessage() for record in caplog.records]
    assert events.count("partition failed") + events.count("began with what will not do") == 2


def test_nothing_is_left_of_a_replica_that_is_killed(install: Callable[..., Installation]) -> None:
    """One that is about to restore: the group waits for a member that does not answer."""
    installation = install(partitions=PARTITIONS)
    fill(installation)
    conf = consumer_conf(installation.settings(session_timeout=60_000), "mute", installation.group_id)
    assigned = threading.Event()
    mute = Consumer(conf)
    mute.subscribe([installation.schedules], on_assign=lambda *_: assigned.set())
    wait_until(lambda: mute.poll(0.1) is None and assigned.is_set(), "the group has a member")
    with replica_process(installation, restore_processes="3", restore_shared_from="1") as replica:
        wait_until(lambda: len(helpers(replica.pid)) == 2, "two processes are to help")
        left = helpers(replica.pid)
        os.kill(replica.pid, signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, left)), "they have ended")
    mute.close()


def test_an_interrupt_is_the_replicas_alone(install: Callable[..., Installation]) -> None:
    installation = install(partitions=PARTITIONS)
    fill(installation)
    with helped(installation) as process:
        assert os.getpgid(process.pid) != os.getpgid(0)
        assert os.getsid(process.pid) != os.getsid(0)
        wait_until(lambda: ignores(process, signal.SIGINT) and ignores(process, signal.SIGTERM), "it ignores both")


def test_its_passwords_are_not_shown(install: Callable[..., Installation]) -> None:
    installation = install(partitions=PARTITIONS)
    fill(installation)
    with helped(installation) as process:
        assert installation.broker not in " ".join(process.cmdline())


def test_a_short_log_is_not_shared(filled: tuple[Installation, list[Record]], caplog: pytest.LogCaptureFixture) -> None:
    installation, _ = filled
    caplog.set_level("INFO")
    started: list[object] = []
    with (
        patch.object(Subscriber, "_go_on", lambda *_: started.append(1)),
        installation.replica(restore_processes=2) as replica,
    ):
        wait_until_settled(installation, replica)

    assert (started, told(caplog)) == ([], [])
