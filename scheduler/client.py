"""The client library: what is in force on a schedules topic, and changes to it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException, Producer

from scheduler import drafts
from scheduler.broker.creation import create_topics
from scheduler.broker.reader import read
from scheduler.broker.sender import Sender
from scheduler.broker.writer import Writer
from scheduler.drafting import Drafting
from scheduler.errors import OvertakenError
from scheduler.records import Receipt, Stored, Write
from scheduler.runtime.kafka import transactional_conf, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.retry import RetryPolicy
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings
    from scheduler.schedule import Header, Misfire

__all__ = ["SchedulerClient", "Writer"]

FENCE_SECONDS = 10.0


class SchedulerClient(Drafting):
    """Reads, writes and changes schedules, through Kafka alone; any thread may use it.

    A write returns when Kafka has acknowledged it, so what it wrote is not lost. Whether a replica runs at
    that moment makes no difference. Reading goes through the whole topic (some seconds for a million
    records): a program that changes many schedules asks once and passes on the `Stored` it was given.

    ```python
    from datetime import UTC, datetime, timedelta

    from scheduler import SchedulerClient, Settings

    with SchedulerClient(Settings.load()) as client:
        due = datetime.now(UTC) + timedelta(hours=1)
        client.schedule("vid1-online", b"video 1", "online-videos", at=due, headers={"trace": "7"})
        client.reschedule("vid1-online", at=due + timedelta(hours=1))
        (stored,) = client.find("vid1-online")
        print(stored.schedule.due_ms, stored.schedule.target_topic)
        client.cancel("vid1-online")
    ```

    Every method raises `BrokerUnavailableError` where Kafka does not answer or refuses, and
    `ConfigurationError` where the client's configuration is wrong.

    A change to a schedule (fire, reschedule, pause, resume) is a record that replaces it. Reading it and
    writing that record are two steps: what a customer changes, or a replica fires, in between is overwritten
    by the record, so a schedule that fires in that moment may fire once more. Given a key, the client looks
    again afterwards and raises `OvertakenError`. The HTTP API's changes have no such gap.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, client_id: str = "scheduler-client"
    ) -> None:
        super().__init__(settings, clock=clock, client_id=client_id)
        self._lock = threading.Lock()
        self._sender: Sender | None = None

    def schedule(
        self,
        key: str | bytes,
        payload: str | bytes,
        target_topic: str,
        *,
        at: datetime | int | None = None,
        delay: str | timedelta | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        target_key: str | bytes | None = None,
        target_partition: int | None = None,
        target_tombstone: bool = False,
        misfire: Misfire | None = None,
        misfire_grace: str | None = None,
        paused: bool = False,
        headers: Mapping[str, str | bytes] | Sequence[Header] = (),
        topic: str | None = None,
        partition: int | None = None,
    ) -> Receipt:
        """Write a schedule; the same key again replaces it.

        Args:
            key: the schedule id.
            payload: delivered byte for byte; empty is a payload.
            target_topic: where to.
            at: when: a datetime with an offset, or Unix milliseconds. One of `at`, `delay` and `cron` is needed.
            delay: `15m`, `PT15M` or a timedelta, counted from the record's Kafka timestamp.
            cron: a recurring schedule: five fields, `@hourly` and the like, or `@every 90s`.
            timezone: IANA name for `cron`; UTC without it.
            target_key: the key at the target; null without it.
            target_partition: the partition at the target; without it the key decides.
            target_tombstone: the target gets a null instead of the payload.
            misfire: what to do when late; see docs/contract.md.
            misfire_grace: how late is still on time, as `5m`.
            paused: write it, and let it wait until it is resumed.
            headers: the customer's; they travel with the message.
            topic: which schedules topic; the first one of the settings without it.
            partition: where the key stands already, if another client's partitioner chose it; Java's hash
                without it. One key in two partitions is two schedules.

        Returns:
            Where the record stands.

        Raises:
            InputError: it is no schedule, may not be fired to that target, is too large, or the topic does not exist.
        """
        draft = self._new(
            key,
            payload,
            target_topic,
            topic,
            at=at,
            delay=delay,
            target_key=target_key,
            target_partition=target_partition,
            target_tombstone=target_tombstone,
            cron=cron,
            timezone=timezone,
            misfire=misfire,
            misfire_grace=misfire_grace,
            paused=paused,
            headers=headers,
            partition=partition,
        )
        return self.write([draft])[0]

    def schedule_retry(
        self,
        message: Message,
        policy: RetryPolicy | None = None,
        *,
        delay: str | timedelta | None = None,
        key: str | bytes | None = None,
        target_topic: str | None = None,
        headers: Mapping[str, str | bytes] | Sequence[Header] = (),
        topic: str | None = None,
    ) -> Receipt:
        """Let a message that could not be handled come back later, as it was, with one more attempt counted.

        Its key, its payload and its headers stay, but for those that the scheduler adds. `retry-attempt` counts, and
        `retry-original-timestamp` says when the first message was written (Unix seconds).

        Args:
            message: as it was consumed.
            policy: how often, and after how long; `RetryPolicy()` without it.
            delay: this long instead: what a server asks for, say.
            key: the schedule id. Without it, the same message that fails twice replaces its own retry.
            target_topic: where to; the topic that it came from without it. All groups that read that one get it.
            headers: added, or put in the place of those of the same name: what went wrong, say.
            topic: which schedules topic; the first one of the settings without it.

        Returns:
            Where the schedule stands.

        Raises:
            RetriesExhaustedError: it has had all its attempts.
            InputError: its headers cannot be read, or it may not be fired to that target.
        """
        draft = self._retry(message, policy, topic, delay=delay, key=key, target_topic=target_topic, headers=headers)
        return self.write([draft])[0]

    def cancel(self, which: str | bytes | Stored | Receipt, *, topic: str | None = None) -> Receipt:
        """End a schedule. One that is being fired at this moment may still fire.

        Args:
            which: its id, or what `find`, `schedules` or `schedule` returned, which needs no reading.
            topic: where to look for the id; all schedules topics without it.

        Returns:
            Where the record stands.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are; choose one of `find`.
        """
        return self.write([self.draft_cancel(which, topic=topic)])[0]

    def fire(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt:
        """Let a schedule fire now, with all its headers; a recurring one goes on from there.

        Args:
            which: its id, or a `Stored`, which needs no reading.
            topic: where to look for the id; all schedules topics without it.

        Returns:
            Where the record stands that makes it due.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are, its partition is paused, or it is recurring and paused.
            OvertakenError: it changed or fired at the same moment.
        """
        return self._change(which, topic, drafts.fire)

    def reschedule(
        self,
        which: str | bytes | Stored,
        *,
        at: datetime | int | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        topic: str | None = None,
    ) -> Receipt:
        """Give a schedule another time, another rule, or both; everything else of it stays.

        Args:
            which: its id, or a `Stored`, which needs no reading.
            at: a datetime with an offset, or Unix milliseconds.
            cron: another rule; without `at` it begins with its next occurrence.
            timezone: IANA name for `cron`; UTC without it.
            topic: where to look for the id; all schedules topics without it.

        Returns:
            Where the new version stands.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are, or the time or the rule cannot be read.
            OvertakenError: it changed or fired at the same moment.
        """
        return self._change(
            which, topic, lambda stored, now_ms: drafts.reschedule(stored, now_ms, at=at, cron=cron, timezone=timezone)
        )

    def pause(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt | None:
        """Let a schedule wait, whatever its time, until it is resumed.

        Returns:
            Where the record stands; None where it is paused already, and nothing was written.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are.
            OvertakenError: it changed or fired at the same moment.
        """
        stored = self._one(which, topic)
        return None if stored.schedule.paused else self._change(which, topic, drafts.pause, stored)

    def resume(self, which: str | bytes | Stored, *, topic: str | None = None) -> Receipt | None:
        """Let a paused schedule go on: a one-shot whose time has passed fires at once, by its misfire policy.

        A recurring one goes on with its next occurrence.

        Returns:
            Where the record stands; None where it is not paused, and nothing was written.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are.
            OvertakenError: it changed at the same moment.
        """
        stored = self._one(which, topic)
        return self._change(which, topic, drafts.resume, stored) if stored.schedule.paused else None

    def pause_all(self, topic: str | None = None) -> None:
        """Pause every partition of the topic, or of all schedules topics, in one transaction.

        Raises:
            InputError: a topic does not exist.
        """
        self._hold(topic, on=True)

    def resume_all(self, topic: str | None = None) -> None:
        """Take `pause_all` back, in one transaction. What is paused by itself stays so.

        Raises:
            InputError: a topic does not exist.
        """
        self._hold(topic, on=False)

    def create_topics(self) -> list[str]:
        """Create the topics of the installation that are missing, with the settings that they need.

        Returns:
            Their names. All of them can be used, those that were there too; what is there is not changed.

        Raises:
            InputError: Kafka refuses one; the others may have been created.
        """
        return create_topics(self._settings, self._client_id, self._clock)

    def write(self, writes: Sequence[Write]) -> list[Receipt]:
        """Write records, each of them acknowledged when this returns; not all or none, as `writer` does.

        Returns:
            Where they stand, in the given order.

        Raises:
            InputError: a topic does not exist, or a record is refused; the others may stand.
        """
        for topic in {write.topic for write in writes}:
            self._partitions(topic)
        with self._lock:
            if self._sender is None:
                self._sender = Sender(self._settings, self._client_id)
            sender = self._sender
        return sender.send(writes)

    def records(self, topic: str, *, progress: Progress | None = None) -> Iterator[Message]:
        """Every committed record of a topic, to its end as it is now.

        Args:
            topic: any.
            progress: is told how far the reading is.

        Raises:
            InputError: the topic does not exist.
            BrokerUnavailableError: the brokers do not answer.
        """
        return read(self._settings, topic, self._clock, progress=progress)

    @contextmanager
    def writer(self, transactional_id: str) -> Iterator[Writer]:
        """Be the only one who writes under this id until the block ends; whoever did so before is fenced.

        What is read inside the block can no longer be changed under the same id by another.

        Raises:
            BrokerUnavailableError: the brokers do not answer, or another writer takes over meanwhile.
        """
        producer = Producer(transactional_conf(self._settings, self._client_id, transactional_id))
        try:
            producer.init_transactions(FENCE_SECONDS)
            yield Writer(producer)
        except KafkaException as error:
            raise unavailable(self._settings, error) from error

    def close(self) -> None:
        """Drop the connection that writing has made; the client may be used again afterwards."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------

    def _change(
        self,
        which: str | bytes | Stored,
        topic: str | None,
        draft: Callable[[Stored, int], Write],
        found: Stored | None = None,
    ) -> Receipt:
        stored = found or self._one(which, topic)
        (receipt,) = self.write([draft(stored, self._clock.now_ms())])
        if not isinstance(which, Stored):
            self.check_overtaken(stored, receipt)
        return receipt

    def check_overtaken(self, stored: Stored, receipt: Receipt) -> None:
        """Make sure that nothing happened to a schedule between its being found and the record that changed it.

        Raises:
            OvertakenError: something did.
        """
        begin, end = stored.read_to, receipt.offset
        if begin == end:
            return
        between = read(
            self._settings, stored.topic, self._clock, start={stored.partition: begin}, ends={stored.partition: end}
        )
        if any(message.key() == stored.schedule.key and message.offset() < end for message in between):
            name = stored.schedule.schedule_id
            raise OvertakenError(
                f"{name}: it changed or fired while this was written, and the change stands behind that: it may fire "
                f"once more. Look at scheduler get and scheduler history --key {name}"
            )

    def _hold(self, topic: str | None, *, on: bool) -> None:
        self._known = {}  # partitions may have been added
        writes = [write for each in self._topics(topic) for write in drafts.hold(each, self._partitions(each), on=on)]
        # one id for a group: of two who pause and resume at once, one wins whole
        with self.writer(f"scheduler-hold-{self._settings.group_id}") as writer:
            writer.apply(writes)
