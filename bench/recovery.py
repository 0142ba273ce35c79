"""`make bench-recovery`: how long nothing fires after a fault, with many schedules pending; medians against bounds.

Schedules fall due all the time in every partition. Two replicas share them; one is killed, or asked to stop, or the
broker that leads a partition is killed. Measured by a read_committed reader: how late the latest message is that was
due from the fault on, in any partition. So it is the gap of the partition that was worst off.

Beside it stands what the replica that is left says in its log: how long after the fault the partitions were assigned to
it, and how long after it the first and the last of them were restored, and fired.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from bench.installation import READY_SECONDS, Installation, Replica, unix
from bench.load import PAYLOAD
from bench.scenarios import warm
from dev.local_kafka import LocalKafka
from scheduler import wire
from scheduler.runtime.cli import echo_table
from scheduler.runtime.kafka import producer_conf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

RATE = 25  # a second and partition
LEAD_SECONDS = 6.0
"""From the writing of the schedules to when the first is due."""
BEFORE_SECONDS = 2.0
"""Firing before the fault."""


class Bound(NamedTuple):
    """A fault, how long the firing goes on after it, and what is promised."""

    name: str
    seconds: float
    promised: float


class Gap(NamedTuple):
    """What a fault has cost, in seconds."""

    fired: float
    assigned: float | None
    """After the fault; None where nothing was assigned anew."""
    first_restored: float | None
    restored: float | None
    """The last of them."""


KILL = Bound("kill -9 of a replica (session timeout 6 s)", 12.0, 7.5)
STOP = Bound("planned stop of a replica", 6.0, 1.0)
JOIN = Bound("a third replica joins", 8.0, 1.0)
LEADER = Bound("kill -9 of the broker that leads a partition", 18.0, 15.0)


class Recovery:
    """Topics with so many schedules pending, on a cluster; the replicas follow each other's partitions, or do not."""

    def __init__(self, bootstrap_servers: str, pending: int, replication: int = 1, *, standby: bool = False) -> None:
        self.installation = Installation(bootstrap_servers, replication=replication)
        self._standby = standby
        self._serial = 0
        far_ms = int((time.time() + 86_400) * 1000)
        self.installation.schedule([far_ms + number for number in range(pending)])

    @contextmanager
    def pair(self) -> Iterator[tuple[Replica, Replica]]:
        """Two replicas that share the partitions and are restored."""
        count = self.installation.partitions
        with ExitStack() as replicas:
            first = replicas.enter_context(self.replica())
            _wait_until(lambda: len(first.partitions()) == count, "the first replica is restored")
            second = replicas.enter_context(self.replica())
            _wait_until(
                lambda: len(first.partitions()) == len(second.partitions()) == count // 2, "two replicas share them"
            )
            if self._standby:
                _wait_until(
                    lambda: all(_stands_by(each, count // 2) for each in (first, second)), "they follow each other"
                )
            yield first, second

    def replica(self) -> AbstractContextManager[Replica]:
        """One more."""
        return self.installation.replica(ready=False, STANDBY=str(self._standby).lower())

    def measure(self, bound: Bound, fault: Callable[[], object], left: Replica) -> Gap:
        """Let it happen while schedules fall due; what it costs."""
        self._serial += 1
        count = int((BEFORE_SECONDS + bound.seconds) * RATE)
        reader = self.installation.reader()
        start = time.time() + LEAD_SECONDS
        self._write([int((start + number / RATE) * 1000) for number in range(count)])
        time.sleep(max(0.0, start + BEFORE_SECONDS - time.time()))
        struck = time.time()
        fault()
        fired = reader.lateness_by_due(count * self.installation.partitions)
        reader.close()
        gap = max(late_ms for due, late_ms in fired if due >= struck - 1 / RATE) / 1000
        assigned, restored = _after(left, "assigned", struck), _after(left, "restored", struck)
        return Gap(gap, max(assigned, default=None), min(restored, default=None), max(restored, default=None))

    def _write(self, dues_ms: list[int]) -> None:
        producer = Producer({**producer_conf(self.installation.settings, "bench-load"), "log_level": 0})
        for due_ms in dues_ms:
            headers = wire.schedule_headers(self.installation.target, due_ms=due_ms)
            for partition in range(self.installation.partitions):
                key = b"tick-%d-%d-%d" % (self._serial, partition, due_ms)
                producer.produce(self.installation.topic, PAYLOAD, key, partition, headers=headers)
        producer.flush()


def _stands_by(replica: Replica, partitions: int) -> bool:
    """Whether it has caught up with so many partitions of others."""
    return any(each["partitions"] == partitions for each in replica.events("stands by"))


def _after(replica: Replica, event: str, struck: float) -> list[float]:
    """How long after the fault it logged that, each time."""
    times = [unix(str(each["time"])) - struck for each in replica.events(event)]
    return [seconds for seconds in times if seconds > 0]


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {READY_SECONDS:g} s: {what}")
        time.sleep(0.05)


def _replicas(rounds: int, pending: int, warm_seconds: int, *, standby: bool) -> Iterator[tuple[Bound, Gap]]:
    with LocalKafka() as kafka:
        warm(kafka.bootstrap_servers, warm_seconds)
        recovery = Recovery(kafka.bootstrap_servers, pending, standby=standby)
        for number in range(rounds):
            click.echo(f"replicas, round {number + 1} of {rounds}", err=True)
            with recovery.pair() as (first, second):
                yield KILL, recovery.measure(KILL, first.process.kill, second)
            with recovery.pair() as (first, second):
                yield STOP, recovery.measure(STOP, first.process.terminate, second)
            with ExitStack() as third, recovery.pair() as (first, _):
                joining = recovery.replica()
                yield JOIN, recovery.measure(JOIN, lambda: third.enter_context(joining), first)  # noqa: B023


def _brokers(rounds: int, pending: int, *, standby: bool) -> Iterator[tuple[Bound, Gap]]:
    with LocalKafka(brokers=3, heap="512m") as kafka:
        recovery = Recovery(kafka.bootstrap_servers, pending, replication=3, standby=standby)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        topic = recovery.installation.topic
        for number in range(rounds):
            click.echo(f"brokers, round {number + 1} of {rounds}", err=True)
            leader = admin.list_topics(topic, timeout=10).topics[topic].partitions[0].leader
            with recovery.pair() as (_, second):
                yield LEADER, recovery.measure(LEADER, lambda leader=leader: kafka.kill(leader), second)  # type: ignore[misc]
            kafka.restart(leader)


def _shown(seconds: list[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.2f}" if known else ""


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Of each fault; the median counts.")
@click.option("--pending", default=1_000_000, show_default=True, help="Schedules far in the future.")
@click.option("--only", type=click.Choice(["replicas", "brokers"]), help="One half of it.")
@click.option("--standby", is_flag=True, help="The replicas run with STANDBY, and have caught up before the fault.")
@click.option(
    "--warm-seconds", default=60, show_default=True, help="A broker that stays ends transactions for so long."
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, pending: int, only: str | None, standby: bool, warm_seconds: int, as_json: bool) -> None:
    """Measure recovery times; exit code 1 where a median is not within what is promised."""
    found: dict[Bound, list[Gap]] = {}
    # a broker's loss is not about the restore: fewer are pending
    halves = {
        "replicas": _replicas(rounds, pending, warm_seconds, standby=standby),
        "brokers": _brokers(rounds, pending // 10, standby=standby),
    }
    for bound, gap in chain(*(gaps for half, gaps in halves.items() if only in (None, half))):
        found.setdefault(bound, []).append(gap)
        click.echo(f"  {bound.name}: {' '.join(f'{n} {s:.2f} s' for n, s in gap._asdict().items() if s)}", err=True)
    medians = {bound: statistics.median(gap.fired for gap in gaps) for bound, gaps in found.items()}
    if as_json:
        click.echo(json.dumps({bound.name: [gap._asdict() for gap in gaps] for bound, gaps in found.items()}, indent=2))
    else:
        rows = [
            (
                bound.name,
                f"{medians[bound]:.2f}",
                f"{min(gaps).fired:.2f} to {max(gaps).fired:.2f}",
                f"{bound.promised:g}",
                _shown([gap.assigned for gap in gaps]),
                _shown([gap.first_restored for gap in gaps]),
                _shown([gap.restored for gap in gaps]),
            )
            for bound, gaps in found.items()
        ]
        heads = (
            "fault",
            "nothing fires for, s, median",
            "range",
            "promised",
            "assigned after",
            "first restored after",
            "last restored after",
        )
        echo_table(heads, rows)
    if any(median > bound.promised for bound, median in medians.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
