"""The promise of the product, under faults: every schedule fires exactly once, and never early."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from scheduler.audit.installation import Case, Source, gather
from scheduler.audit.journal import Journal, read
from scheduler.audit.judge import judge
from scheduler.audit.recorder import Recorder
from scheduler.clock import Deadline, SystemClock
from scheduler.topics import schedules_topic
from tests.support.processes import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from scheduler.audit.records import Header, Record
    from tests.support.broker import Broker, Topics
    from tests.support.processes import Replica

SCHEDULES = 20_000
RATE = 2_000  # a second
PARTITIONS = 8
PAYLOAD_BYTES = 100
SHORTEST_DELAY_MS = 500
USUAL_DELAY_MS = 2_500  # of two in three, so that the rate of firing soon is that of writing
LONGEST_DELAY_MS = 11_000  # of the rest: the last are due when the frozen replica is awake again
STRIDE = 7_919  # a prime: neighbours fall due far apart, and every millisecond gets its share
BUSY_MS = 500  # past a second: every partition is firing
IDLE_MS = 950  # the odd partitions have nothing due from 800 on; 150 are to catch up in
FROZEN_SECONDS = 12.0  # twice the session timeout: the group has given the partitions to others
JOIN_SECONDS = 30.0
FIRED_SECONDS = 90.0
STOP_SECONDS = 20.0

SMALL_FETCHES = """
kafka:
  consumer:
    configuration:
      fetch.message.max.bytes: 65536
"""
"""A restore comes in many pieces, as that of a large log does, and its end in one piece with records."""

clock = SystemClock()
never = threading.Event()


class Load(threading.Thread):
    """Submits schedules at a fixed rate, whatever the scheduler does, and notes what the broker said of each."""

    def __init__(self, bootstrap_servers: str, schedules: str, target: str, journal: Journal) -> None:
        super().__init__(name="load", daemon=True)
        self._bootstrap_servers = bootstrap_servers
        self._schedules = schedules
        self._target = target
        self._written = 0
        self._news = threading.Condition()
        self._journal = journal
        self.seconds = 0.0
        """How long the writing took."""

    def run(self) -> None:
        """Write what is due to be written, on a clock that waits for nobody."""
        producer = Producer(
            {"bootstrap.servers": self._bootstrap_servers, "enable.idempotence": True, "linger.ms": 1, "log_level": 0}
        )
        start = clock.monotonic()
        while self._written < SCHEDULES:
            should = min(SCHEDULES, int((clock.monotonic() - start) * RATE))
            while self._written < should:
                self._write(producer, self._written)
                self._written += 1
            producer.poll(0)
            with self._news:
                self._news.notify_all()
            clock.wait(never, 0.005)  # the pace of an open loop
        self.seconds = clock.monotonic() - start
        producer.flush(30)

    def _write(self, producer: Producer, number: int) -> None:
        key, payload = b"schedule-%d" % number, b"%d" % number + b"." * (PAYLOAD_BYTES - len(str(number)))
        target_key = b"customer-%d" % (number % 100)
        customers: Sequence[Header] = (("trace", b"%d" % number), ("trace", b"\x00\xff"))
        partition = number % PARTITIONS
        at_most_ms = USUAL_DELAY_MS if number % 3 else LONGEST_DELAY_MS
        due_ms = clock.now_ms() + SHORTEST_DELAY_MS + number * STRIDE % (at_most_ms - SHORTEST_DELAY_MS)
        if partition % 2:
            due_ms -= due_ms % 1000 // 5  # nothing is due in the last 200 ms of a second
        headers: list[Header] = [
            *customers,
            ("scheduler-epoch", b"%d.%03d" % divmod(due_ms, 1000)),
            ("scheduler-target-topic", self._target.encode()),
            ("scheduler-target-key", target_key),
        ]
        report = self._journal.report(self._schedules, key, payload, headers)
        producer.produce(self._schedules, payload, key, partition, headers=headers, on_delivery=report)

    def wait_for(self, share: float) -> None:
        """Return once that share of the schedules is written."""
        with self._news:
            assert self._news.wait_for(lambda: self._written >= SCHEDULES * share, SCHEDULES / RATE + 10)


@pytest.mark.timeout(240)
def test_each_schedule_fires_exactly_once_though_replicas_crash_and_freeze(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    """One replica is killed, another frozen until its partitions have moved and then woken, a fourth joins.

    The frozen one has partitions that stand still in the middle of a transaction, and idle ones, which wake
    up with schedules in their memory that others have fired by then.
    """
    configuration = tmp_path / "clients.yaml"
    configuration.write_text(SMALL_FETCHES, encoding="utf-8")
    schedules = topics.create("schedules", partitions=PARTITIONS, config=schedules_topic("").config)
    history, target = topics.create("history", partitions=4), topics.create("target", partitions=4)
    environment = {
        "BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SCHEDULES_TOPICS": schedules,
        "HISTORY_TOPIC": history,
        "DEAD_LETTER_TOPIC": topics.create("dead-letters"),
        "CONFIGURATION_FILE": str(configuration),
        "GROUP_ID": f"group-of-{schedules}",
    }
    with (
        Replicas(environment, tmp_path, clock) as replicas,
        Recorder({"bootstrap.servers": broker.bootstrap_servers}, (schedules, history, target), clock) as recorder,
    ):
        first = replicas.start("first")
        first.wait_for("restored", seconds=JOIN_SECONDS, count=PARTITIONS)
        second, third = (_join(replicas, name) for name in ("second", "third"))
        _wait_until_restored({f"{schedules}/{number}" for number in range(PARTITIONS)}, (first, second, third))
        journal = Journal(tmp_path / "writes.jsonl")
        load = Load(broker.bootstrap_servers, schedules, target, journal)
        load.start()

        load.wait_for(1 / 3)
        _wait_for(BUSY_MS)
        first.kill()
        load.wait_for(1 / 2)
        _wait_for(IDLE_MS)
        second.freeze()
        frozen = Deadline(clock, FROZEN_SECONDS)
        moving = second.partitions()
        assert moving, "the frozen replica had no partitions"
        load.wait_for(2 / 3)
        fourth = replicas.start("fourth")
        _wait_until_restored(moving, (third, fourth))
        clock.wait(never, frozen.remaining())  # the length of the freeze is the test's own choice
        before = len(second.events("restored"))
        second.thaw()
        second.wait_for("restored", seconds=JOIN_SECONDS, count=before + 1)
        load.join()

        journal.close()
        entries = read(tmp_path / "writes.jsonl")

        # what has not fired by then is for the judge
        recorder.wait_until(_has_fired({entry.key for entry in entries}, target, recorder), FIRED_SECONDS)
        survivors = (second, third, fourth)
        for replica in survivors:
            replica.ask_to_stop()
        exit_codes = [replica.exit_code(STOP_SECONDS) for replica in survivors]
        source = Source(
            {"bootstrap.servers": broker.bootstrap_servers},
            [schedules],
            history,
            environment["DEAD_LETTER_TOPIC"],
        )
        evidence = gather(source, clock, Case(entries), recorder=recorder)

    verdict = judge(evidence)
    print(f"{verdict.summary}; written in {load.seconds:.1f} s")  # noqa: T201 - what a run is worth knowing for: pytest -s or -rP shows it
    verdict.check()
    assert verdict.schedules == verdict.messages == verdict.outcomes["fired"] == SCHEDULES
    assert not verdict.unjudged
    assert verdict.requested == verdict.unknown_found == 0
    assert exit_codes == [0, 0, 0]


def _join(replicas: Replicas, name: str) -> Replica:
    """Start a replica and wait until it fires in a partition at least."""
    replica = replicas.start(name)
    replica.wait_for("restored", seconds=JOIN_SECONDS)
    return replica


def _wait_for(ms: int) -> None:
    """Return so many milliseconds past a second of the wall clock: when to do harm is the test's own choice."""
    clock.wait(never, (ms - clock.now_ms()) % 1000 / 1000)


def _wait_until_restored(partitions: set[str], replicas: Sequence[Replica]) -> None:
    """Return once one of the replicas fires in each of the partitions."""
    deadline = Deadline(clock, JOIN_SECONDS)
    while left := partitions.difference(*(replica.partitions() for replica in replicas)):
        assert not deadline.passed, f"nobody fires in {sorted(left)}; {replicas[0].name}: {replicas[0].last_words()}"
        clock.wait(never, 0.1)


def _has_fired(keys: set[bytes], target: str, recorder: Recorder) -> Callable[[], bool]:
    """Whether a message of each schedule was seen; looks at every record once."""
    left = set(keys)
    looked_at = 0

    def check() -> bool:
        nonlocal looked_at
        new: list[Record] = recorder.records(looked_at)
        looked_at += len(new)
        left.difference_update(each.stated("scheduler-key") or b"" for each in new if each.topic == target)
        return not left

    return check
