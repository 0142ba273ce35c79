"""The scenarios: what is asked of a contender, and the figures that come of it."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from bench.installation import OURS, Installation
from bench.load import raw
from scheduler.broker.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

LEAD_SECONDS = 3.0
DAY_MS = 86_400_000


class Figure(NamedTuple):
    """One number of one round."""

    name: str
    value: float
    digits: int = 1


def raw_rate(installation: Installation, count: int) -> float:
    """Schedules per second whose three records the bare client writes, until a reader has them all."""
    reader = installation.reader()
    start = time.time()
    writer = threading.Thread(
        target=raw,
        args=(
            installation.settings,
            installation.topic,
            installation.target,
            installation.history,
            count,
            installation.partitions,
        ),
    )
    writer.start()
    end = reader.count(count)
    writer.join()
    reader.close()
    return count / (end - start)


def burst(installation: Installation, command: tuple[str, ...], count: int) -> tuple[float, float]:
    """All due at one instant: fired per second until a reader has them all, and CPU µs for each."""
    with installation.replica(command) as replica:
        reader = installation.reader()
        due_s = int(time.time() + LEAD_SECONDS + count / 30_000)  # whole seconds: peers may know no others
        installation.schedule([due_s * 1000] * count)
        before = replica.cpu_seconds()
        end = reader.count(count)
        cpu = replica.cpu_seconds() - before
        reader.close()
    return count / (end - due_s), cpu / count * 1e6


def lateness(
    installation: Installation, command: tuple[str, ...], dues_ms: Callable[[int], list[int]], *, warm: int = 1000
) -> tuple[list[float], float, float]:
    """Lateness at a reader in ms, sorted; cores used; CPU µs for each. `dues_ms` makes due times from a start."""
    with installation.replica(command) as replica:
        reader = installation.reader()
        start_ms = (int(time.time() + LEAD_SECONDS)) * 1000
        installation.schedule([start_ms + number for number in range(warm)])
        reader.lateness_ms(warm)
        dues = dues_ms((int(time.time() + LEAD_SECONDS)) * 1000)
        writing = threading.Thread(target=installation.schedule, args=(dues,))
        writing.start()
        time.sleep(max(0.0, dues[0] / 1000 - time.time()))
        before, start = replica.cpu_seconds(), time.time()
        late = sorted(reader.lateness_ms(len(dues)))
        used, seconds = replica.cpu_seconds() - before, time.time() - start
        writing.join()
        reader.close()
    return late, used / seconds, used / len(dues) * 1e6


def percentile(ordered: list[float], share: float) -> float:
    """Of an ordered list."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def bursts(installation: Installation, peer: tuple[str, ...] | None, count: int) -> list[Figure]:
    """One round of raw loop, ours and the peer, in turn."""
    limit = raw_rate(installation, count)
    rate, cpu = burst(installation, OURS, count)
    figures = [
        Figure(f"{count:,} due at one instant: raw loop, per second", limit, 0),
        Figure(f"{count:,} due at one instant: fired per second", rate, 0),
        Figure("  ratio to the raw loop of its round", rate / limit, 2),
        Figure("  CPU for each, µs", cpu, 1),
    ]
    if peer is not None:
        other, other_cpu = burst(installation, peer, count)
        figures += [
            Figure(f"{count:,} due at one instant: peer, fired per second", other, 0),
            Figure("  ours to the peer of its round", rate / other, 2),
            Figure("  CPU of the peer for each, µs", other_cpu, 1),
        ]
    return figures


def whole_seconds(installation: Installation, peer: tuple[str, ...] | None) -> list[Figure]:
    """1,000 due at each of ten whole seconds."""
    figures = []
    for name, command in (("", OURS), (" peer", peer)):
        if command is None:
            continue
        late, _, _ = lateness(installation, command, lambda start: [start + n // 1000 * 1000 for n in range(10_000)])
        figures += [
            Figure(f"1,000 at each whole second:{name} lateness p50, ms", percentile(late, 0.5)),
            Figure(f"1,000 at each whole second:{name} p99, ms", percentile(late, 0.99)),
        ]
    return figures


def spread(installation: Installation, rate: int, seconds: int) -> list[Figure]:
    """So many a second, spread over milliseconds."""
    late, cores, cpu = lateness(
        installation, OURS, lambda start: [start + n * 1000 // rate for n in range(rate * seconds)]
    )
    name = f"{rate:,}/s spread over milliseconds for {seconds} s:"
    return [
        Figure(f"{name} lateness p50, ms", percentile(late, 0.5)),
        Figure(f"{name} p99, ms", percentile(late, 0.99)),
        Figure(f"{name} cores used", cores, 2),
        Figure(f"{name} CPU for each, µs", cpu, 0),
    ]


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
    consumer.assign([TopicPartition(installation.topic, p, 0) for p in ends])
    left, count, start = set(ends), 0, time.time()
    while left:
        for message in consumer.consume(10_000, 0.1):
            if message.error() is None:
                count += 1
            else:
                left.discard(message.partition())
    seconds = time.time() - start
    consumer.close()
    return count / seconds


def restore(installation: Installation, count: int, *, size: int = 100) -> list[Figure]:
    """So many due in a day: how long a restore takes, what it needs, and what it costs to wait for them."""
    with installation.replica() as replica:
        empty = replica.resident_bytes()
    far_ms = int((time.time()) * 1000) + DAY_MS
    installation.schedule([far_ms + n * 7919 % 3_600_000 for n in range(count)], size=size)
    with installation.replica(ready=False) as replica:
        restored = replica.wait_for("restored", installation.partitions)
        seconds = restored - replica.wait_for("assigned", 1)
        time.sleep(2)
        each = (replica.resident_bytes() - empty) / count
        resident = replica.resident_bytes()
        before, start = replica.cpu_seconds(), time.time()
        time.sleep(20)
        idle = (replica.cpu_seconds() - before) / (time.time() - start)
    limit = consume_rate(installation)
    name = f"{count:,} pending of {size:,} bytes:"
    return [
        Figure(f"{name} restored in, s", seconds, 2),
        Figure("  ratio to the raw consumer's rate", count / seconds / limit, 2),
        Figure("  memory for each, bytes", each, 0),
        Figure("  resident, MB", resident / 1e6, 0),
        Figure("  cores used while idle", idle, 4),
    ]


def restore_under_load(installation: Installation, count: int) -> list[Figure]:
    """On time while other partitions restore: due each millisecond from the start of a replica with much to read."""
    far_ms = int(time.time() * 1000) + DAY_MS
    installation.schedule([far_ms + n for n in range(count)])
    with installation.replica(ready=False) as replica:
        reader = installation.reader()
        start_ms = int(time.time() * 1000) + 1000
        dues = [start_ms + n for n in range(10_000)]
        installation.schedule(dues)
        restored_ms = replica.wait_for("restored", installation.partitions) * 1000
        late = reader.lateness_ms(len(dues))
        reader.close()
    after = sorted(late[len(late) // 2 :])
    return [
        Figure(f"due while {count:,} are restored: last fired after the restore, s", max(late) / 1000, 2),
        Figure("  restored after the first was due, s", (restored_ms - start_ms) / 1000, 2),
        Figure("  lateness of the later half, median, ms", statistics.median(after)),
    ]


def firing_while_written(installation: Installation) -> list[Figure]:
    """1,000/s fire on time while 50,000 far schedules a second are written."""
    stop = threading.Event()
    written = [0]

    def write() -> None:
        far_ms = int(time.time() * 1000) + DAY_MS
        start = time.time()
        while not stop.is_set():
            installation.schedule([far_ms + n for n in range(5_000)])
            written[0] += 5_000
            time.sleep(max(0.0, written[0] / 50_000 - (time.time() - start)))

    def dues(start: int) -> list[int]:
        writer.start()
        return [start + n for n in range(10_000)]

    writer = threading.Thread(target=write)
    began = time.time()
    late, cores, _ = lateness(installation, OURS, dues)
    stop.set()
    writer.join()
    return [
        Figure("1,000/s fire while others are written: written per second", written[0] / (time.time() - began), 0),
        Figure("  lateness p50, ms", percentile(late, 0.5)),
        Figure("  p99, ms", percentile(late, 0.99)),
        Figure("  cores used", cores, 2),
    ]


def scale(bootstrap_servers: str, count: int) -> list[Figure]:
    """Bursts from 64 partitions, and by more replicas than one."""
    figures = []
    rates: dict[tuple[int, int], float] = {}
    for partitions, replicas in ((8, 1), (64, 1), (8, 2), (64, 8)):
        installation = Installation(bootstrap_servers, partitions=partitions)
        rates[partitions, replicas] = burst_of_many(installation, replicas, count)
        figures.append(
            Figure(
                f"{count:,} due at one instant, {partitions} partitions, {replicas} replicas: per second",
                rates[partitions, replicas],
                0,
            )
        )
        installation.clear()
    return [
        *figures,
        Figure("  64 partitions to 8, one replica", rates[64, 1] / rates[8, 1], 2),
        Figure("  two replicas to one, 8 partitions", rates[8, 2] / rates[8, 1], 2),
    ]


def millions(installation: Installation, count: int) -> list[Figure]:
    """Ten million far ones on one replica: restore, memory, and firing beside them as beside few."""
    _, _, few = lateness(installation, OURS, _thousand_a_second)
    figures = restore(installation, count)
    late, _, many = lateness(installation, OURS, _thousand_a_second)
    return [
        *figures,
        Figure("  1,000/s beside them: lateness p99, ms", percentile(late, 0.99)),
        Figure("  CPU for each firing, to that beside none", many / few, 2),
    ]


def _thousand_a_second(start: int) -> list[int]:
    return [start + n for n in range(10_000)]


def burst_of_many(installation: Installation, replicas: int, count: int) -> float:
    """A burst drained by several replicas."""
    with ExitStack() as running:
        for number in range(replicas):
            running.enter_context(installation.replica(ready=number == replicas - 1))
        time.sleep(5)  # the group settles
        installation.probe()
        reader = installation.reader()
        due_s = int(time.time() + LEAD_SECONDS + count / 30_000)
        installation.schedule([due_s * 1000] * count)
        end = reader.count(count)
        reader.close()
    return count / (end - due_s)
