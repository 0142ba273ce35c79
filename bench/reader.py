"""A read_committed reader of one topic, from now on: what a consumer really sees, and when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from bench.load import DUE
from scheduler.broker.cluster import Cluster
from scheduler.runtime.polling import poll_batch

if TYPE_CHECKING:
    from scheduler.runtime.settings import Settings

BATCH = 10_000
SILENCE_SECONDS = 60.0
KNOWN_SECONDS = 30.0


class Reader:
    """Stands at the end of the topic from its construction on."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": "bench-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 2,
                "log_level": 0,  # brokers are killed on purpose
            }
        )
        cluster = Cluster(settings, "bench-reader")
        count = _partitions(cluster, topic)
        ends = [TopicPartition(topic, number, cluster.high_watermark(topic, number)) for number in range(count)]
        self._consumer.assign(ends)

    def count(self, wanted: int, seconds: float = SILENCE_SECONDS) -> float:
        """Read that many records, none longer in coming than that; the Unix time at which the last one was here."""
        seen = 0
        while seen < wanted:
            seen += len(self._some(seconds))
        return time.time()

    def values(self, wanted: int) -> list[bytes]:
        """Read that many records at least: what they hold."""
        found: list[bytes] = []
        while len(found) < wanted:
            found += [message.value() or b"" for message in self._some()]
        return found

    def arrivals(self, wanted: int) -> list[tuple[float, int]]:
        """Read that many records at least: when some were here, and how many there were until then."""
        found: list[tuple[float, int]] = []
        seen = 0
        while seen < wanted:
            seen += len(self._some())
            found.append((time.time(), seen))
        return found

    def lateness_ms(self, wanted: int, *, all_of_them: bool = True) -> list[float]:
        """Read that many fired messages; for each, the milliseconds from its due time to its arrival here.

        The due time is that of `bench.load`, whoever has fired it.

        Args:
            wanted: how many.
            all_of_them: whether no more are to come.

        Raises:
            SystemExit: some came twice, or more than these came.
        """
        late: list[float] = []
        keys: set[bytes] = set()
        while len(late) < wanted:
            messages = self._some()
            now_ms = time.time() * 1000
            for message in messages:
                late.append(now_ms - int(dict(message.headers())[DUE]))
                keys.add(message.key())
        if len(keys) != len(late) or (all_of_them and len(late) != wanted):
            raise SystemExit(f"{wanted} were to be fired, and {len(late)} came, {len(keys)} of them different")
        return late

    def lateness_by_due(self, wanted: int) -> list[tuple[float, float]]:
        """Read that many fired messages; for each, when it was due (Unix time) and how many ms later it was here."""
        found: list[tuple[float, float]] = []
        while len(found) < wanted:
            messages = self._some()
            now = time.time()
            dues = [float(dict(message.headers())["scheduler-epoch"]) for message in messages]
            found += [(due, (now - due) * 1000) for due in dues]
        return found

    def nothing_more(self, seconds: float) -> None:
        """Make sure of it for so long.

        Raises:
            SystemExit: something came.
        """
        if self._consumer.poll(seconds) is not None:
            raise SystemExit("more has fired than was scheduled")

    def _some(self, seconds: float = SILENCE_SECONDS) -> list[Message]:
        messages = poll_batch(self._consumer, seconds, BATCH)
        if not messages:
            raise SystemExit(f"nothing came for {seconds:g} s")
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        return messages

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def _partitions(cluster: Cluster, topic: str) -> int:
    # a topic that was created just now is not known to every broker yet
    end = time.time() + KNOWN_SECONDS
    while not (count := cluster.partitions(topic)):
        if time.time() > end:
            raise SystemExit(f"the topic {topic} is not there")
        time.sleep(0.05)
    return count
