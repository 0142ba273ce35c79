"""How the doctor asks: answers within a deadline, and patience with a cluster that is about to know."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.cluster import REQUEST_SECONDS
from scheduler.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from scheduler.clock import Clock

CLIENT_ID = "scheduler-doctor"
TICK_SECONDS = 0.1

FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_PASSING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}

T = TypeVar("T")


def patiently(clock: Clock, ask: Callable[[], T]) -> T:
    """Ask again, for some seconds, while leaders and coordinators are being chosen: after a creation, say."""
    deadline, never = Deadline(clock, REQUEST_SECONDS), threading.Event()
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or deadline.passed:
                raise
        clock.wait(never, TICK_SECONDS)


def said(error: KafkaException) -> str:
    """What Kafka said, and the name of the error."""
    fault = error.args[0]
    return f"{fault.str()} ({fault.name()})"


def result(future: Future[Any]) -> Any:
    """What the future holds, waited for a bounded time."""
    try:
        return future.result(REQUEST_SECONDS + 1)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - librdkafka's public code
