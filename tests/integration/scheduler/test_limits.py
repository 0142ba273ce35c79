"""Replicas that run out of what the machine gives them: they say so, and what they cannot do others do."""

from __future__ import annotations

import gc
import resource
from typing import TYPE_CHECKING

import psutil

from tests.support.replica_process import replica_process
from tests.support.schedules import clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.records import Record
    from tests.support.schedules import Installation

PARTITIONS = 12
TOO_FEW = 48
"""Descriptors: enough to join the group and for some of the partitions' producers."""
ENOUGH = 1024
SHORTAGE = "no file descriptor is left: some partitions cannot fire; raise the limit, as with ulimit -n 65536"
ROOM = 12 << 20
"""Bytes that a replica gets beyond what it has once it fires; more come in below."""
LARGE = b"x" * 20_000
AT_ONCE = 100


def written_in_each_partition(installation: Installation) -> list[Record]:
    return installation.write(
        *(installation.schedule(b"%d" % number, delay="1s", partition=number) for number in range(PARTITIONS))
    )


def test_a_replica_without_descriptors_says_so_and_another_fires_what_it_could_not(
    install: Callable[..., Installation],
) -> None:
    installation = install(partitions=PARTITIONS)
    written = written_in_each_partition(installation)
    with replica_process(installation) as poor:
        resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (TOO_FEW, TOO_FEW))
        told = poor.event(SHORTAGE)
        assert (told["level"], told["limit"]) == ("error", TOO_FEW)
        assert poor.runs
    with replica_process(installation):
        installation.fired(*(record.key or b"" for record in written))
        assert installation.judged(written).clean


def test_a_replica_opens_as_many_files_as_it_may(install: Callable[..., Installation]) -> None:
    """The soft limit, 1,024 on most machines, is for programs that use select()."""
    installation = install(partitions=PARTITIONS)
    written = written_in_each_partition(installation)
    with replica_process(installation) as replica:
        # before Python has come to the product: it is what a shell with `ulimit -S -n 48` would have given it
        resource.prlimit(replica.pid, resource.RLIMIT_NOFILE, (TOO_FEW, ENOUGH))
        installation.fired(*(record.key or b"" for record in written))
        assert resource.prlimit(replica.pid, resource.RLIMIT_NOFILE) == (ENOUGH, ENOUGH)
        assert replica.terminate() == 0


def test_a_replica_that_runs_out_of_memory_ends_and_another_goes_on(install: Callable[..., Installation]) -> None:
    """What is due soon is held with its payload; what was under way is taken up as after a crash."""
    installation = install(partitions=2)
    due_ms = clock.now_ms() + 15_000
    written: list[Record] = []
    # one arena: of those that glibc has beside it, 64 MiB each are taken from the limit before they are used
    with replica_process(installation, malloc_arena_max="1") as poor:
        poor.wait_until_ready(2)
        room = psutil.Process(poor.pid).memory_info().vms + ROOM
        resource.prlimit(poor.pid, resource.RLIMIT_AS, (room, room))
        while poor.runs and clock.now_ms() < due_ms:
            keys = [b"%d" % number for number in range(len(written), len(written) + AT_ONCE)]
            written += installation.write(*(installation.schedule(key, LARGE, due_ms=due_ms) for key in keys))
        assert not poor.runs, f"{len(written)} schedules have room in {ROOM} bytes: {poor.lines[-5:]}"
    with replica_process(installation):
        installation.fired(*(record.key or b"" for record in written))
    verdict = installation.judged(written)
    assert verdict.clean, verdict


def test_a_replica_in_the_process_of_another_leaves_no_thread_behind(install: Callable[..., Installation]) -> None:
    """Its clients end with it, not when the interpreter happens to look for what nothing refers to any more."""
    installation = install(partitions=2)
    gc.collect()
    gc.disable()
    try:
        before = psutil.Process().num_threads()
        with installation.replica():
            installation.write(installation.schedule(b"a", delay="0s"))
            installation.fired(b"a")
        wait_until(lambda: psutil.Process().num_threads() <= before, "the last of them has ended")
    finally:
        gc.enable()
