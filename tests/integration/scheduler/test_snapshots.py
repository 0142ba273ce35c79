"""A replica that starts again goes on from what it has kept, and from the log wherever that is not surely the same."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.schedules import SECONDS, clock, in_force, starts, wait_until, wait_until_pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler.service import Scheduler
    from tests.support.schedules import Installation

HOUR_MS = 3_600_000
COMPACTS_AT_ONCE = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
}


def remove(installation: Installation, before: int) -> None:
    """The log of the first partition begins there from now on."""
    admin = AdminClient({"bootstrap.servers": installation.broker})
    (removed,) = admin.delete_records([TopicPartition(installation.schedules, 0, before)]).values()
    removed.result(SECONDS)


def fill(installation: Installation, replica: Scheduler) -> None:
    """Far ones, a near one, and others that have to be kept in full."""
    now_ms = clock.now_ms()
    installation.write(
        *(installation.schedule(b"far-%d" % each, due_ms=now_ms + HOUR_MS + each) for each in range(50)),
        installation.schedule(b"near", b"of near", due_ms=now_ms + 60_000),
        installation.schedule(b"daily", cron="0 4 * * *", timezone="Europe/Riga"),
        installation.schedule(b"paused", due_ms=now_ms + 1_000, paused="true"),
        installation.schedule(b"fired", epoch=0),
    )
    installation.fired(b"fired")
    wait_until_pending(replica, 53)


def test_a_restart_goes_on_from_the_snapshot_and_reads_what_came_since(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    """What it has not read again it knows all the same, and what was changed meanwhile is as it was changed."""
    installation = install()
    folder = tmp_path / "snapshots"
    with installation.replica(snapshot_dir=folder) as replica:
        fill(installation, replica)
        assert starts(replica) == {"cold": 1}
    installation.write(
        installation.cancel(b"far-3"),
        installation.schedule(b"far-4", b"newer", due_ms=clock.now_ms() + 2 * HOUR_MS),
        installation.schedule(b"near", b"of now", due_ms=clock.now_ms()),
        installation.schedule(b"new", due_ms=clock.now_ms() + HOUR_MS),
        installation.cancel(b"paused"),
    )
    with installation.replica(snapshot_dir=folder) as warm:
        fired = installation.fired(b"near")
        wait_until_pending(warm, 51)
        told = installation.wait_for(installation.history, 4)
        found = in_force(warm)
        assert starts(warm) == {"warm": 1}
    with installation.replica() as cold:
        wait_until_pending(cold, 51)
        assert in_force(cold) == found

    assert [message.value for message in fired] == [b"payload", b"of now"]
    outcomes = sorted((record.key, record["scheduler-outcome"]) for record in told)
    assert outcomes == [(b"far-3", b"cancelled"), (b"fired", b"fired"), (b"near", b"fired"), (b"paused", b"cancelled")]
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_replica_that_was_killed_goes_on_from_the_last_snapshot(installation: Installation, tmp_path: Path) -> None:
    """One is written while it runs, again and again."""
    settings = {"snapshot_dir": tmp_path, "snapshot_interval": 1000}
    with installation.replica(**settings) as replica:
        fill(installation, replica)
        wait_until(lambda: list(tmp_path.glob("*.snapshot")), "a snapshot is written")
        (file,) = tmp_path.glob("*.snapshot")
        wait_until(lambda: b'"daily"' in file.read_bytes() or len(file.read_bytes()) > 2000, "with what is pending")
        kept = file.read_bytes()
        installation.write(installation.schedule(b"later", due_ms=clock.now_ms() + HOUR_MS))
        wait_until_pending(replica, 54)
    file.write_bytes(kept)  # as if it had not come to write another
    with installation.replica(snapshot_dir=tmp_path) as warm:
        wait_until_pending(warm, 54)
        assert starts(warm) == {"warm": 1}


@pytest.mark.parametrize("harm", ["damaged", "truncated", "another-version", "no-snapshot", "writable"])
def test_a_snapshot_that_is_not_as_it_was_written_is_noticed(
    installation: Installation, tmp_path: Path, harm: str
) -> None:
    with installation.replica(snapshot_dir=tmp_path) as replica:
        fill(installation, replica)
        found = in_force(replica)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    if harm == "damaged":
        data[-100] ^= 1
    elif harm == "truncated":
        del data[-100:]
    elif harm == "another-version":
        data = data.replace(b"snapshot 2\n", b"snapshot 1\n", 1)
    elif harm == "no-snapshot":
        data = bytearray()
    file.write_bytes(data)
    file.chmod(0o606 if harm == "writable" else 0o600)

    with installation.replica(snapshot_dir=tmp_path) as again:
        wait_until_pending(again, 53)
        assert (starts(again), in_force(again)) == ({"rejected": 1}, found)
    with installation.replica(snapshot_dir=tmp_path) as third:
        wait_until(lambda: starts(third) == {"warm": 1}, "what was written anew is good")


def test_a_topic_that_was_made_anew_under_its_name_is_another(installation: Installation, tmp_path: Path) -> None:
    with installation.replica(snapshot_dir=tmp_path) as replica:
        fill(installation, replica)
    installation.remake()
    # as many records as there were before, so that offsets alone tell nothing
    installation.write(*(installation.schedule(b"k", due_ms=clock.now_ms() + HOUR_MS) for _ in range(60)))
    with installation.replica(snapshot_dir=tmp_path) as again:
        wait_until_pending(again, 1)
        assert starts(again) == {"rejected": 1}


def test_a_snapshot_behind_which_the_log_was_cut_is_noticed(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    """What stood between its end and the log's beginning is not known."""
    installation = install(config={"cleanup.policy": "delete"})
    with installation.replica(snapshot_dir=tmp_path) as replica:
        fill(installation, replica)
    installation.write(*(installation.cancel(b"far-%d" % each) for each in range(50)))
    end = installation.write(installation.schedule(b"last", due_ms=clock.now_ms() + HOUR_MS))[0].offset
    remove(installation, end)
    with installation.replica(snapshot_dir=tmp_path) as again:
        wait_until_pending(again, 1)
        assert starts(again) == {"rejected": 1}


def test_a_cancel_of_which_compaction_has_left_nothing_holds(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    """Neither the version nor its tombstone is in the log by then: the snapshot alone would have it fire."""
    installation = install(config=COMPACTS_AT_ONCE | {"delete.retention.ms": "1000"})
    with installation.replica(snapshot_dir=tmp_path) as replica:
        installation.write(
            installation.schedule(b"cancelled", due_ms=clock.now_ms() + HOUR_MS),
            installation.schedule(b"stays", due_ms=clock.now_ms() + HOUR_MS),
        )
        wait_until_pending(replica, 2)
    installation.write(installation.cancel(b"cancelled"))

    def forgotten() -> bool:
        installation.write(installation.cancel(b"unknown"))  # the newest segment is never compacted
        return b"cancelled" not in {record.key for record in installation.read(installation.schedules)}

    wait_until(forgotten, "compaction has removed the tombstone", 3 * SECONDS)
    with installation.replica(snapshot_dir=tmp_path) as again:
        wait_until_pending(again, 1)
        assert starts(again) == {"rejected": 1}


def test_what_replicas_have_left_unfinished_is_removed_and_what_they_still_write_is_not(
    installation: Installation, tmp_path: Path
) -> None:
    """They may share a folder."""
    left, under_way = tmp_path / "schedules-0.gone-1.new", tmp_path / "schedules-0.another-1.new"
    for each in (left, under_way):
        each.write_bytes(b"half of it")
    long_ago = clock.now_ms() / 1000 - 2 * HOUR_MS / 1000
    os.utime(left, (long_ago, long_ago))
    with installation.replica(snapshot_dir=tmp_path):
        wait_until(lambda: not left.exists(), "it is removed")
    assert under_way.read_bytes() == b"half of it"


def test_a_folder_that_cannot_be_written_to_stops_nothing(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with installation.replica(snapshot_dir=tmp_path / "file" / "folder") as replica:
        installation.write(installation.schedule(b"k", epoch=0))
        installation.fired(b"k")
        assert sum(starts(replica).values()) == 1
