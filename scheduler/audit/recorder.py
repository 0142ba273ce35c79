"""A reader that runs all the time: what it was given, and when, cannot be unsaid afterwards.

Brokers may come and go meanwhile. It reads every topic from its beginning, so it may start late.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaException

from scheduler.audit.client import from_beginning, make_consumer, partitions_of, record_of, take
from scheduler.audit.contract import TARGET_TOPIC
from scheduler.audit.recording import Recording, as_line
from scheduler.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType

    from confluent_kafka import Consumer, Message

    from scheduler.audit.records import Record
    from scheduler.clock import Clock

FILE = "records.jsonl"
LOOK_SECONDS = 0.5
"""Between two questions whether a topic is there by now."""
GROWN_SECONDS = 30.0
"""Between two questions whether topics have got more partitions."""
STOP_SECONDS = 30.0


class Recorder:
    """Reads on a thread of its own until it is closed.

    Args:
        conf: properties of the client: `bootstrap.servers` at least.
        topics: what to read; those that are not there yet are waited for.
        clock: when a record was received.
        folder: where to write what was read; None keeps it in memory alone.
        keep: in memory too. A recording of days had better not.
        schedules: schedules topics among them; the targets that their records name are read as well.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        topics: Collection[str],
        clock: Clock,
        folder: Path | str | None = None,
        *,
        keep: bool = True,
        schedules: Collection[str] = (),
    ) -> None:
        self._conf = dict(conf)
        self._wanted = list(dict.fromkeys(topics))
        self._schedules = frozenset(schedules)
        self._clock = clock
        self._keep = keep
        self._file = None
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._file = (Path(folder) / FILE).open("a", encoding="utf-8")
        self._records: list[Record] = []
        self._counts: Counter[str] = Counter()
        self._reached: dict[tuple[str, int], int] = {}
        self._reading: dict[str, int] = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._main, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self.close()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a recording on disk is complete then."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        if self._file is not None and not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    # -- what was seen so far ------------------------------------------------------------------------

    def count(self, topic: str) -> int:
        """How many records of a topic were received."""
        with self._news:
            return self._counts[topic]

    @property
    def topics(self) -> list[str]:
        """What is read."""
        with self._news:
            return list(self._reading)

    def records(self, start: int = 0) -> list[Record]:
        """What was received, in that order, without the first so many; empty where it is not kept."""
        with self._news:
            return self._records[start:]

    def recording(self) -> Recording:
        """All that was received, for the judge."""
        with self._news:
            return Recording({record.place: record for record in reversed(self._records)}, dict(self._reached))

    def wait_until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until a condition holds, which is looked at after each batch; tell whether it does.

        It must not ask the recorder anything but by `count` and `records`.

        Raises:
            KafkaException: the reader has failed, by an error that does not pass.
        """
        deadline = Deadline(self._clock, seconds)
        while True:
            self.check()
            if condition():
                return True
            if deadline.passed:
                return False
            with self._news:
                self._news.wait(min(deadline.remaining(), 0.1))

    def read_to(self, ends: Mapping[tuple[str, int], int], seconds: float = 60.0) -> bool:
        """Wait until it has come to these offsets of topics and partitions; tell whether it has."""

        def there() -> bool:
            with self._news:
                return all(self._reached.get(place, 0) >= end for place, end in ends.items())

        return self.wait_until(there, seconds)

    def check(self) -> None:
        """Return if it reads.

        Raises:
            KafkaException: it has failed, by an error that does not pass.
        """
        if self._failure is not None:
            raise self._failure

    # -- its thread ----------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            consumer = make_consumer(self._conf)
            try:
                self._read(consumer)
            finally:
                consumer.close()
        except Exception as error:  # noqa: BLE001 - raised to whoever asks
            with self._news:
                self._failure = error
                self._news.notify_all()

    def _read(self, consumer: Consumer) -> None:
        look = Deadline(self._clock, 0)
        while not self._stop.is_set():
            if look.passed:
                self._look(consumer)
                missing = len(self._reading) < len(self._wanted)
                look = Deadline(self._clock, LOOK_SECONDS if missing else GROWN_SECONDS)
            if not self._reading:
                self._clock.wait(self._stop, LOOK_SECONDS)
                continue
            if self._received(take(consumer)):
                look = Deadline(self._clock, 0)

    def _look(self, consumer: Consumer) -> None:
        """Begin to read what is there by now."""
        try:
            found = partitions_of(consumer, self._wanted, seconds=LOOK_SECONDS)
        except KafkaException:
            return  # no broker answers; asked again
        for topic, partitions in found.items():
            first = self._reading.get(topic, 0)
            if partitions > first:
                consumer.incremental_assign(from_beginning(topic, partitions, first))
                with self._news:
                    self._reading[topic] = partitions

    def _received(self, messages: list[Message]) -> bool:
        """Keep them; tell whether they name a topic that is not read yet."""
        now_ms = self._clock.now_ms()
        records = [record_of(each, now_ms) for each in messages if each.error() is None]
        if self._file is not None:
            self._file.writelines(map(as_line, records))
            self._file.flush()
        with self._news:
            if self._keep:
                self._records += records
            self._counts.update(record.topic for record in records)
            for message in messages:
                after = message.offset() + (message.error() is None)
                place = message.topic(), message.partition()
                self._reached[place] = max(after, self._reached.get(place, 0))
            self._news.notify_all()
        named = {
            (record.stated(TARGET_TOPIC) or b"").decode("utf-8", "replace")
            for record in records
            if record.topic in self._schedules
        }
        new = named.difference(self._wanted, {""})
        self._wanted += sorted(new)
        return bool(new)
