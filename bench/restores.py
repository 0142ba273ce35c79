"""The scenarios about what is pending: how soon it is known again, what it takes, and firing beside it."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bench.figures import Figure
from bench.installation import OURS
from bench.reader import BATCH
from bench.scenarios import WRITTEN_PER_SECOND, Bench, Lateness, lateness
from bench.usage import cpu_seconds, ended_cpu_seconds
from scheduler.broker.cluster import Cluster
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.installation import Installation, Replica

DAY_MS = 86_400_000
SETTLE_SECONDS = 2.0
"""After a restore, until memory and CPU are looked at."""
DUE_SECONDS = 10
RESTORED_PER_SECOND = 200_000
"""At least: what falls due during a restore is to end after it."""


def far(count: int) -> Iterator[int]:
    """So many due times a day ahead, spread over an hour."""
    start_ms = int(time.time() * 1000) + DAY_MS
    return (start_ms + n * 7919 % 3_600_000 for n in range(count))


def consume_rate(installation: Installation) -> float:
    """Records per second of the schedules topic that a bare consumer is given."""
    cluster = Cluster(installation.settings, "bench-consumer")
    ends = {p: cluster.high_watermark(installation.topic, p) for p in range(installation.partitions)}
    consumer = Consumer(
        {
            "bootstrap.servers": installation.settings.bootstrap_servers,
            "group.id": "bench-consumer",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 2,
            "queued.min.messages": 100_000,
            "enable.partition.eof": True,
        }
    )
    left, count, start = set(ends), 0, time.time()
    consumer.assign([TopicPartition(installation.topic, p, 0) for p in ends])
    while left:
        for message in poll_batch(consumer, 0.1, BATCH):
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
                raise KafkaException(error)
            count += error is None
            # its end is told up to half a second after its last record
            if error is not None or message.offset() >= ends[message.partition()] - 1:
                left.discard(message.partition())
    seconds = time.time() - start
    consumer.close()
    return count / seconds


AHEAD_SECONDS = 140
"""More than a replica looks ahead: what is due then is far when it is written."""
REREAD_FIRINGS = 30_000


class Empty(NamedTuple):
    """What a replica takes that has nothing pending and has fired once in each partition."""

    resident: int
    cpu: float


def empty(installation: Installation) -> Empty:
    """Measure it."""
    with installation.replica() as replica:
        return Empty(replica.resident_bytes(), cpu_seconds([replica.pid]))


def restored_seconds(installation: Installation, replica: Replica) -> float:
    """From the first partition that the group gives it until the last one is restored."""
    restored = replica.wait_for("restored", installation.partitions)
    return restored - replica.wait_for("assigned", 1)


def restore(bench: Bench, rounds: int) -> Iterator[list[Figure]]:
    """A million due in a day: how long a restore takes, what it needs, and what it costs to wait for them."""
    installation, count = bench.installation(), bench.sizes.pending
    before = empty(installation)
    installation.schedule(far(count))
    for _ in range(rounds):
        yield restored_once(bench, installation, f"{count:,} pending of 100 bytes", count, before)
    installation.clear()


def restored_once(bench: Bench, installation: Installation, group: str, count: int, before: Empty) -> list[Figure]:
    """One round of it: a bare consumer, and a replica."""
    limit = consume_rate(installation)
    with installation.replica(ready=False) as replica:
        seconds = restored_seconds(installation, replica)
        used = cpu_seconds([replica.pid]) + ended_cpu_seconds(replica.pid)
        time.sleep(SETTLE_SECONDS)
        resident = replica.resident_bytes()
        meter = installation.meter(replica=[replica.pid])
        time.sleep(bench.sizes.idle_seconds)
        meter.stop()
    return [
        Figure(group, "raw consumer, per second", limit),
        Figure(group, "restored in, s", seconds),
        Figure(group, "ratio to the raw consumer of its round", count / seconds / limit),
        Figure(group, "CPU of the replica for each, µs", (used - before.cpu) / count * 1e6),
        Figure(group, "memory for each, bytes", (resident - before.resident) / count),
        Figure(group, "resident, MB", resident / 1e6),
        Figure(group, "resident while empty, MB", before.resident / 1e6),
        Figure(group, "cores used while idle", meter.cores()["replica"]),
    ]


def warm(bench: Bench) -> list[Figure]:
    """A million due in a day: a start that finds snapshots, and one that finds none."""
    installation, count = bench.installation(), bench.sizes.pending
    installation.schedule(far(count))
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for start in ("cold", "warm"):
            with installation.replica(ready=False, SNAPSHOT_DIR=folder) as replica:
                seconds[start] = restored_seconds(installation, replica)
                if {event["start"] for event in replica.events("restored")} != {start}:
                    raise SystemExit(f"a {start} start was none; see {replica.log}")
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    installation.clear()
    group = f"{count:,} pending: a start with a snapshot"
    return [
        Figure(group, "restored without one in, s", seconds["cold"]),
        Figure(group, "restored with one in, s", seconds["warm"]),
        Figure(group, "ratio to the cold start of its round", seconds["warm"] / seconds["cold"]),
        Figure(group, "snapshot, bytes for each", size / count),
    ]


def payloads(bench: Bench) -> list[Figure]:
    """As many of 100 bytes and of 10 kB: the memory for each is to be the same."""
    count = bench.sizes.pending // 4
    group = f"{count:,} pending: payloads of 100 bytes and of 10 kB"
    figures, found = [], []
    for name, size in (("100 bytes", 100), ("10 kB", 10_000)):
        installation = bench.installation()
        before = empty(installation)
        installation.schedule(far(count), size=size)
        with installation.replica(ready=False) as replica:
            seconds = restored_seconds(installation, replica)
            time.sleep(SETTLE_SECONDS)
            found.append((replica.resident_bytes() - before.resident) / count)
        installation.clear()
        figures += [
            Figure(group, f"{name}: memory for each, bytes", found[-1]),
            Figure(group, f"{name}: restored in, s", seconds),
        ]
    return [*figures, Figure(group, "10 kB to 100 bytes, memory", found[1] / found[0])]


def restoring(bench: Bench) -> list[Figure]:
    """On time while other partitions restore: due each millisecond from the start of a replica with much to read."""
    installation, count = bench.installation(), bench.sizes.pending
    installation.schedule(far(count))
    figures = due_while_restored(installation, f"due while {count:,} are restored", count)
    installation.clear()
    return figures


def due_while_restored(installation: Installation, group: str, count: int) -> list[Figure]:
    """1,000/s that fall due during the restore of `count`, and after it."""
    due = 1_000 * max(DUE_SECONDS, count // RESTORED_PER_SECOND)
    with installation.replica(ready=False) as replica:
        reader = installation.reader()
        start_ms = int(time.time() * 1000) + 1000
        installation.schedule([start_ms + n for n in range(due)])
        restored_ms = replica.wait_for("restored", installation.partitions) * 1000
        late = reader.lateness_ms(due)
        reader.nothing_more(1.0)
        reader.close()
    after = sorted(late[-due // 10 :])
    return [
        Figure(group, "restored after the first was due, s", max(0.0, restored_ms - start_ms) / 1000),
        Figure(group, "latest, s", max(late) / 1000),
        Figure(group, "latest beyond the end of the restore, s", _beyond(late, start_ms, restored_ms)),
        Figure(group, "lateness of the last tenth, median, ms", statistics.median(after)),
    ]


def _beyond(late: list[float], start_ms: int, restored_ms: float) -> float:
    # the first that was due was to fire when its partition was restored, at the latest when the last one was
    return max(0.0, max(late) - max(0.0, restored_ms - start_ms)) / 1000


def reread(bench: Bench) -> list[Figure]:
    """1,000/s of a million that were written long before, in no order of their due times: each is read again."""
    installation, count = bench.installation(), bench.sizes.pending
    with installation.replica() as replica:
        reader = installation.reader()
        lead_ms = int((AHEAD_SECONDS + count / WRITTEN_PER_SECOND) * 1000)
        start_ms = int(time.time() * 1000) + lead_ms
        dues = [start_ms + n for n in range(count)]
        Random(1).shuffle(dues)
        installation.schedule(dues)
        time.sleep(max(0.0, start_ms / 1000 - time.time()))
        meter = installation.meter(replica=[replica.pid])
        fired = min(REREAD_FIRINGS, count // 2)
        late = sorted(reader.lateness_ms(fired, all_of_them=False))
        meter.stop()
        reader.close()
    installation.clear()
    course = Lateness(late, meter.cores(), meter.used["replica"] / len(late) * 1e6)
    return course.figures(f"1,000/s of {count:,} written in no order")


def millions(bench: Bench) -> list[Figure]:
    """Ten million far ones on one replica: restore, memory, and firing beside them as beside ten thousand."""
    installation, count = bench.installation(), bench.sizes.many
    before = empty(installation)
    installation.schedule(far(count))
    group = f"{count:,} pending on one replica"
    figures = restored_once(bench, installation, group, count, before)
    figures += due_while_restored(installation, group, count)
    fired = 1_000 * bench.sizes.seconds
    few = min(10_000, count // 4)
    beside_few: list[Lateness] = []
    beside_many: list[Lateness] = []
    alone = bench.installation()
    alone.schedule(far(few))
    # in turn, twice: what the broker has compiled by then makes more of a difference than what is pending
    for _ in range(2):
        for where, found in ((installation, beside_many), (alone, beside_few)):
            found.append(lateness(where, OURS, fired, lambda start_ms: [start_ms + n for n in range(fired)]))
    installation.clear()
    alone.clear()
    cost_many, cost_few = (min(each.cpu_us for each in found) for found in (beside_many, beside_few))
    return [
        *figures,
        *(Figure(group, f"1,000/s beside them: {name}", value) for _, name, value in beside_many[-1].figures(group)),
        *(Figure(group, f"1,000/s beside {few:,}: {name}", value) for _, name, value in beside_few[-1].figures(group)),
        Figure(group, f"CPU for each firing, to that beside {few:,}", cost_many / cost_few),
    ]


def planned(bench: Bench) -> list[Figure]:
    """`planner sync` of a crontab that is new, and again of the same."""
    installation, count = bench.installation(), bench.sizes.entries
    lines = (f"{n % 60} {n // 60 % 24} * * * run-{n}\n" for n in range(count))
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        crontab = Path(folder, "crontab")
        crontab.write_text("".join(lines), encoding="utf-8")
        for name in ("all new", "nothing new"):
            seconds, cpu = _synced(installation, crontab)
            figures += [
                Figure(f"planner sync of {count:,} entries", f"{name}, s", seconds),
                Figure(f"planner sync of {count:,} entries", f"{name}: CPU of the planner, s", cpu),
            ]
    installation.clear()
    return figures


def _synced(installation: Installation, crontab: Path) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run(
        [sys.executable, "-m", "planner", "sync", str(crontab)],
        env={
            **os.environ,
            "BOOTSTRAP_SERVERS": installation.settings.bootstrap_servers,
            "SCHEDULES_TOPICS": installation.topic,
            "CLUSTERS": installation.target,
        },
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
