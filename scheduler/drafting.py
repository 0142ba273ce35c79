"""Records of schedules for a producer that the caller owns, and so for the caller's own transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler import drafts, partitioners, retry
from scheduler.broker.writer import produce
from scheduler.engine.targets import TargetPolicy
from scheduler.messages import received
from scheduler.reading import ScheduleReader
from scheduler.records import Receipt, Stored, Write
from scheduler.retry import RetryPolicy

if TYPE_CHECKING:
    from typing import Unpack

    from confluent_kafka import Message, Producer

    from scheduler.drafts import NewSchedule
    from scheduler.retry import NewRetry

COUNT_SECONDS = 30.0
"""How old the number of partitions may be that a key is placed by; the Kafka client's own is as old."""


class Drafting(ScheduleReader):
    """Makes records and checks them; what `draft*` returns has been written nowhere."""

    def draft(
        self,
        key: str | bytes,
        payload: str | bytes,
        target_topic: str,
        *,
        topic: str | None = None,
        **how: Unpack[NewSchedule],
    ) -> Write:
        """The record that `SchedulerClient.schedule` would write, with the partition it belongs to.

        Raises:
            InputError: it is no schedule, may not be fired to that target, or the schedules topic does not exist.
        """
        return self._placed(self._new(key, payload, target_topic, topic, **how))

    def draft_retry(
        self,
        message: Message,
        policy: RetryPolicy | None = None,
        *,
        topic: str | None = None,
        **how: Unpack[NewRetry],
    ) -> Write:
        """The record that `SchedulerClient.schedule_retry` would write, with the partition it belongs to.

        Raises:
            RetriesExhaustedError: the message has had all its attempts.
            InputError: its headers cannot be read, or it may not be fired to that target.
        """
        return self._placed(self._retry(message, policy, topic, **how))

    def draft_cancel(self, which: str | bytes | Stored | Receipt, *, topic: str | None = None) -> Write:
        """The record that `SchedulerClient.cancel` would write.

        Raises:
            NotFoundError: nothing is in force under the id.
            InputError: several are; choose one of `find`.
        """
        if isinstance(which, Receipt):
            return drafts.cancel(which.topic, which.partition, which.key or b"")
        stored = self._one(which, topic)
        return drafts.cancel(stored.topic, stored.partition, stored.schedule.key)

    def produce(self, producer: Producer, *writes: Write) -> None:
        """Hand records to a producer of the caller's; inside its transaction, if it has begun one.

        They stand once the caller has committed that, or flushed the producer; what is aborted never fires. A record
        without a partition goes where Java's hash puts it, whatever partitioner the producer has.

        Raises:
            InputError: the schedules topic does not exist.
            confluent_kafka.KafkaException: the producer does not take it.
        """
        for write in writes:
            produce(producer, self._placed(write))

    # -- inside --------------------------------------------------------------------------------------

    def _new(
        self,
        key: str | bytes,
        payload: str | bytes,
        target_topic: str,
        topic: str | None,
        **how: Unpack[NewSchedule],
    ) -> Write:
        return drafts.new(
            topic or self._settings.schedules_topics[0],
            key,
            payload,
            target_topic,
            self._clock.now_ms(),
            self._targets(),
            **how,
        )

    def _retry(
        self,
        message: Message,
        policy: RetryPolicy | None,
        topic: str | None,
        **how: Unpack[NewRetry],
    ) -> Write:
        return retry.schedule_of(
            received(message),
            topic or self._settings.schedules_topics[0],
            self._clock.now_ms(),
            self._targets(),
            policy or RetryPolicy(),
            **how,
        )

    def _targets(self) -> TargetPolicy:
        return TargetPolicy(
            frozenset(self._settings.schedules_topics),
            self._settings.history_topic,
            frozenset(self._settings.allowed_targets),
        )

    def _placed(self, write: Write) -> Write:
        if write.partition is not None or write.key is None:
            return write
        return replace(write, partition=partitioners.java(write.key, self._partitions(write.topic, COUNT_SECONDS)))
