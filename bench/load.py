"""What is measured: schedules for a replica, and the raw loop that writes the same records without one.

As a program it is a process of its own beside the reader, so that neither waits for the other's interpreter: it says
`ready`, begins when it is told to, and says what it has done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from confluent_kafka import Producer

from scheduler import wire
from scheduler.broker.publisher import ANY
from scheduler.runtime.kafka import producer_conf, transactional_conf
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAYLOAD = b"x" * 100
TRANSACTION = 5000
WARM = 100
"""Schedules of the raw loop before it counts: connections, metadata, the coordinator."""
TRANSACTIONS_WARM = 20
"""Of each producer, before it counts."""
DUE = "customer-header"
"""When it is due in ms, in a header that any contender passes on as it is."""
PIECE = 1_000
"""Schedules between two looks at the clock, where they are written at a rate."""
END_SECONDS = 120.0


def schedule(
    settings: Settings,
    topic: str,
    target: str,
    dues_ms: Iterable[int],
    run: str,
    *,
    size: int = 100,
    partitions: Sequence[int] | None = None,
) -> None:
    """Write one schedule for each due time; return when all are acknowledged.

    Args:
        settings: where the broker is.
        topic: the schedules topic.
        target: where they fire to.
        dues_ms: when they are due, Unix ms.
        run: begins their ids.
        size: bytes of each payload.
        partitions: of each in turn; by the key without it.
    """
    producer = Producer({**producer_conf(settings, "bench-load"), "linger.ms": 20})
    payload = b"x" * size
    for number, due_ms in enumerate(dues_ms):
        headers = [*wire.schedule_headers(target, due_ms=due_ms, target_key=b"key-%d" % number), (DUE, b"%d" % due_ms)]
        partition = ANY if partitions is None else partitions[number % len(partitions)]
        while True:
            try:
                producer.produce(topic, payload, b"%b-%d" % (run.encode(), number), partition, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


class Bare:
    """The bare client: the same three records for each schedule, and nothing else."""

    def __init__(self, settings: Settings, topic: str, target: str, history: str, transactional_id: str) -> None:
        self._topic, self._target, self._history = topic, target, history
        example = Schedule(
            b"run-123456",
            PAYLOAD,
            1_893_456_000_000,
            target,
            b"key",
            None,
            [],
            [
                (wire.TARGET_TOPIC, target.encode()),
                (wire.TARGET_KEY, b"key-1234"),
            ],
            1_893_456_000_000,
            1,
        )
        said = wire.said_of(example, topic.encode(), example.due_ms)
        self._fired = wire.fired_headers(example, said)
        self._told = wire.history_headers(example, said, Outcome.FIRED, lateness_ms=3)
        self._ended = wire.tombstone_headers(123_456, Outcome.FIRED)
        self._producer = Producer(transactional_conf(settings, "bench-raw", transactional_id))
        self._producer.init_transactions(30)

    def write(self, schedules: Iterable[tuple[bytes, int, int]]) -> None:
        """One transaction: key, due time and schedules partition of each."""
        produce, fired, told, ended = self._producer.produce, self._fired, self._told, self._ended
        self._producer.begin_transaction()
        for key, due_ms, partition in schedules:
            due = (DUE, b"%d" % due_ms)
            # by position, as the scheduler does: a fifth less for each call
            produce(self._target, PAYLOAD, key, ANY, None, None, 0, [*fired, due])
            produce(self._history, PAYLOAD, key, ANY, None, None, 0, [*told, due])
            produce(self._topic, None, key, partition, None, None, 0, ended)
        self._producer.commit_transaction(30)


def raw(settings: Settings, topic: str, target: str, history: str, count: int, partitions: int) -> None:
    """`count` schedules in transactions of 5,000, one after the other."""
    bare = Bare(settings, topic, target, history, "bench-raw")
    bare.write((b"warm-%d" % number, 0, number % partitions) for number in range(WARM))
    _say("ready")
    _wait()
    now_ms = int(time.time() * 1000)
    for start in range(0, count, TRANSACTION):
        some = range(start, min(start + TRANSACTION, count))
        bare.write((b"raw-%d" % each, now_ms, each % partitions) for each in some)


def due_times(start_ms: int, count: int, rate: int, at_once: int) -> list[int]:
    """So many due times, `rate` in a second, of which some are the same."""
    return [start_ms + n // at_once * at_once * 1000 // rate for n in range(count)]


def in_time(
    settings: Settings,
    names: tuple[str, str, str],
    partitions: int,
    count: int,
    rate: int,
    at_once: int,
    run: str,
) -> None:
    """`count` schedules as they fall due, with a producer and a thread for each partition, as a replica has them.

    A thread writes whatever is due in one transaction, and then whatever has become due meanwhile.
    """
    bares = [Bare(settings, *names, f"bench-raw-{partition}") for partition in range(partitions)]
    for partition, bare in enumerate(bares):
        for number in range(TRANSACTIONS_WARM):
            bare.write([(b"warm-%d" % number, 0, partition)])
    _say("ready")
    _wait()
    dues = due_times(int(time.time() * 1000) + 1000, count, rate, at_once)

    def serve(partition: int) -> None:
        left = deque((f"{run}-{n}".encode(), dues[n], partition) for n in range(partition, count, partitions))
        while left:
            time.sleep(max(0.0, left[0][1] / 1000 - time.time()))
            now_ms = time.time() * 1000
            due = []
            while left and left[0][1] <= now_ms:
                due.append(left.popleft())
            if due:
                bares[partition].write(due)

    with ThreadPoolExecutor(partitions) as pool:
        for served in [pool.submit(serve, partition) for partition in range(partitions)]:
            served.result()


def at_rate(settings: Settings, topic: str, target: str, rate: int, seconds: float) -> None:
    """So many schedules a second that are due in a day; fewer where the machine cannot."""
    producer = Producer({**producer_conf(settings, "bench-load"), "linger.ms": 20})
    _say("ready")
    _wait()
    start = time.time()
    far_ms = int(start * 1000) + 86_400_000
    count = 0
    while (elapsed := time.time() - start) < seconds:
        if count > elapsed * rate:
            time.sleep(count / rate - elapsed)
        for number in range(count, count + PIECE):
            headers = [*wire.schedule_headers(target, due_ms=far_ms + number), (DUE, b"%d" % (far_ms + number))]
            while True:
                try:
                    producer.produce(topic, PAYLOAD, b"written-%d" % number, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        count += PIECE
        producer.poll(0)
    producer.flush()
    _say(json.dumps({"count": count, "seconds": time.time() - start}))


class Beside:
    """Such a process, ready to begin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def begin(self) -> None:
        """Now."""
        cast("IO[str]", self._process.stdin).write("\n")
        cast("IO[str]", self._process.stdin).flush()

    def said(self) -> Any:
        """What it has done, as soon as it has."""
        return json.loads(cast("IO[str]", self._process.stdout).readline())


@contextmanager
def beside(what: str, *arguments: str | float) -> Iterator[Beside]:
    """Start `raw`, `in_time` or `at_rate` in a process of its own; it is over when the block is."""
    command = [sys.executable, "-m", "bench.load", what, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if cast("IO[str]", process.stdout).readline() != "ready\n":
                raise SystemExit(f"bench.load {what} did not get ready; what it says is above")
            yield Beside(process)
            process.wait(END_SECONDS)
        finally:
            process.kill()


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _wait() -> None:
    if not sys.stdin.readline():
        raise SystemExit("nobody said when to begin")


def main(what: str, servers: str, *arguments: str) -> None:
    """Be that process."""
    settings = Settings.load(bootstrap_servers=servers)
    if what == "raw":
        topic, target, history, count, partitions = arguments
        raw(settings, topic, target, history, int(count), int(partitions))
    elif what == "in_time":
        topic, target, history, partitions, count, rate, at_once, run = arguments
        in_time(settings, (topic, target, history), int(partitions), int(count), int(rate), int(at_once), run)
    else:
        topic, target, rate, seconds = arguments
        at_rate(settings, topic, target, int(rate), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
