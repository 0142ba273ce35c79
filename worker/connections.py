"""The Kafka clients that the ledger works with."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from scheduler.runtime.kafka import common_conf, consumer_conf, meet, transactional_conf
from worker.ledger import CALL_SECONDS, RETRY_BACKOFF_MS, UNDECIDED_SECONDS, Ledger
from worker.records import Books
from worker.recovery import booked_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings
    from worker.options import Options
    from worker.partitions import Key


def ledger_opener(settings: Settings, options: Options, worker: str, clock: Clock) -> Callable[[bool], Ledger]:
    """Make what opens a worker's ledgers, the next one where one had to be given up; all have one transactional id.

    The function takes whether the ledger before it was given up in the middle.
    """
    books = Books.of(settings, cluster=options.cluster, worker=worker)
    conf = {
        **transactional_conf(settings, f"worker-{worker}", f"worker-{options.topic}-{worker}-{uuid.uuid4().hex[:8]}"),
        # a worker adds offsets to each transaction, and is told to come back while the last one is being marked: with
        # the scheduler's long pause, each of two bookings in a row would wait for it. See ledger.RESENT_SECONDS
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": 2 * RETRY_BACKOFF_MS,
    }

    group = options.group

    def committed(partitions: list[TopicPartition], *, stable: bool) -> list[TopicPartition]:
        # not by the consumer: its committed() hangs, whatever its timeout, while another thread polls; and by a
        # client of its own: one that has lived through an outage was seen to time out for minutes afterwards
        admin = AdminClient(common_conf(settings, f"worker-{worker}"))
        asked = ConsumerGroupTopicPartitions(group, partitions)
        answers = admin.list_consumer_group_offsets([asked], require_stable=stable, request_timeout=CALL_SECONDS)
        return list(answers[group].result().topic_partitions)

    reading = consumer_conf(settings, f"worker-{worker}", group)

    def booked(keys: Sequence[Key]) -> dict[Key, set[int]]:
        return booked_offsets(reading, settings.results_topic, keys, clock)

    patience = settings.transaction_timeout / 1000 + UNDECIDED_SECONDS
    return lambda uncertain: Ledger(
        books,
        # a callback for each of many records would cost as much as handing them over
        lambda delivered: meet(
            Producer({**conf, "on_delivery": delivered, "delivery.report.only.error": True}), settings.results_topic
        ),
        committed,
        booked,
        clock,
        patience_seconds=patience,
        uncertain=uncertain,
    )
