"""What is measured: schedules for a replica, and the raw loop that writes the same records without one.

As a program it is a process of its own beside the reader, so that neither waits for the other's interpreter: it says
`ready`, begins when it is told to, and says what it has done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from confluent_kafka import Producer

from scheduler import wire
from scheduler.runtime.kafka import producer_conf, transactional_conf
from scheduler.runtime.settings import Settings
from scheduler.schedule import Outcome, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAYLOAD = b"x" * 100
TRANSACTION = 5000
WARM = 100
"""Schedules of the raw loop before it counts: connections, metadata, the coordinator."""
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
        partition = -1 if partitions is None else partitions[number % len(partitions)]
        while True:
            try:
                producer.produce(topic, payload, b"%b-%d" % (run.encode(), number), partition, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def raw(settings: Settings, topic: str, target: str, history: str, count: int, partitions: int) -> None:
    """The same three records for each of `count` schedules, in transactions of 5,000, and nothing else."""
    producer = Producer(transactional_conf(settings, "bench-raw", "bench-raw"))
    producer.init_transactions(30)
    now_ms = int(time.time() * 1000)
    example = Schedule(
        b"run-123456",
        PAYLOAD,
        now_ms,
        target,
        b"key",
        None,
        [(DUE, b"%d" % now_ms)],
        [
            (wire.TARGET_TOPIC, target.encode()),
            (wire.TARGET_KEY, b"key-1234"),
        ],
        1_893_456_000_000,
        1,
    )
    said = wire.said_of(example, topic.encode(), example.due_ms)
    fired = wire.fired_headers(example, said)
    told = wire.history_headers(example, said, Outcome.FIRED, lateness_ms=3)
    ended = wire.tombstone_headers(123_456, Outcome.FIRED)
    produce = producer.produce

    def write(first: int, end: int) -> None:
        for start in range(first, end, TRANSACTION):
            producer.begin_transaction()
            for number in range(start, min(start + TRANSACTION, end)):
                key = b"raw-%d" % number
                produce(target, PAYLOAD, key, headers=fired)
                produce(history, PAYLOAD, key, headers=told)
                produce(topic, None, key, number % partitions, headers=ended)
            producer.commit_transaction(30)

    write(0, WARM)
    _say("ready")
    _wait()
    write(WARM, WARM + count)


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
    """Start `raw` or `at_rate` in a process of its own; it is over when the block is."""
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
    else:
        topic, target, rate, seconds = arguments
        at_rate(settings, topic, target, int(rate), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
