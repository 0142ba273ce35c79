"""Offsets as brokers tell them, and not as the client tells them where it has lost the broker.

Where its connection breaks while it asks, librdkafka's `list_offsets` (2.16) answers with offset -1001 and no error.
Taken for the end of a partition that is less than any: whoever restores up to there restores nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

if TYPE_CHECKING:
    from confluent_kafka.admin import ListOffsetsResultInfo


def told(info: ListOffsetsResultInfo) -> int:
    """The offset.

    Raises:
        KafkaException: no broker has told one.
    """
    if info.offset < 0:
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, "the broker went away while it was asked"))
    return int(info.offset)
