"""An installation whose replicas and network fail on demand, and the judge of what came of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.support.processes import Replica, Replicas
from tests.support.schedules import Installation, clock, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from dev.local_kafka import LocalKafka
    from dev.proxy import Proxy
    from scheduler.service import Scheduler
    from tests.support.broker import Topics
    from tests.support.records import Put, Record

SETTLE_SECONDS = 60.0
"""From a fault to the end of what it brings about: sessions, transactions and pauses end one after the other."""


def failures(replica: Scheduler) -> float:
    """How many transactions of a replica in this process did not end well."""
    return sum(
        sample.value
        for family in replica.registry.collect()
        for sample in family.samples
        if sample.name == "scheduler_transaction_failures_total"
    )


class Scene:
    """One broker behind a proxy, topics of its own, replicas as processes.

    Args:
        kafka: proxied, of one broker.
        topics: creates and deletes them.
        folder: for the logs of replicas.
        partitions: of the schedules topic.
        variables: settings of every replica that is a process.
    """

    def __init__(
        self, kafka: LocalKafka, topics: Topics, folder: Path, *, partitions: int = 1, **variables: str
    ) -> None:
        (self.network,) = kafka.proxies.values()
        self._kafka, self._topics = kafka, topics
        self.installation = Installation.make(kafka.bootstrap_servers, topics, partitions=partitions)
        own = {"METRICS_HTTP_ADDR": "off", "SERVER_ADDR": "off", "SESSION_TIMEOUT": "2000"}
        self._replicas = Replicas({**self.installation.environment(), **own, **variables}, folder, clock)
        self._written: list[Record] = []
        self._serial = 0
        self._until_the_end = ExitStack()

    network: Proxy

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        self._until_the_end.enter_context(self._replicas)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what runs, and mend the network."""
        self.network.release()
        self.network.weather.delay_by_api = {}
        self._until_the_end.close()

    def widen(self, partitions: int) -> None:
        """Take other topics, of so many partitions, for what is still to come in this process."""
        self.installation = Installation.make(self._kafka.bootstrap_servers, self._topics, partitions=partitions)

    def start(self, name: str, **variables: str) -> Replica:
        """Start a replica as a process; see `Replicas.start`."""
        return self._replicas.start(name, **variables)

    def write(self, *puts: Put) -> list[Record]:
        """Write records of customers, and keep them for the judge."""
        written = self.installation.write(*puts)
        self._written += written
        return written

    def put(self, key: bytes, due_ms: int | None = None, *, partition: int | None = 0) -> Put:
        """A schedule, due now unless told otherwise; each is a version of its own."""
        self._serial += 1
        version = b"%s-%d" % (key, self._serial)
        due_ms = clock.now_ms() if due_ms is None else due_ms
        return self.installation.schedule(
            key, b"of " + version, due_ms=due_ms, partition=partition, headers=[("version", version)]
        )

    def wait_until_fired(self, *keys: bytes) -> None:
        """Return once there is a message of each."""
        self.installation.fired(*keys)

    def wait_until_frozen(self, replica: Replica) -> None:
        """Return once the replica has stopped itself."""
        wait_until(lambda: replica.frozen, f"{replica.name} stands still: {replica.last_words()}", SETTLE_SECONDS)

    def faults(self) -> Sequence[str]:
        """What the judge finds."""
        verdict = self.installation.judged(self._written)
        return [] if verdict.clean else verdict.lines()
