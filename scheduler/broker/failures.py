"""The kinds of failure of a Kafka call, named once; the rest of the code matches on these."""

from __future__ import annotations

from enum import StrEnum

from confluent_kafka import KafkaError, KafkaException

from scheduler.schedule import Reason


class Kind(StrEnum):
    """What a failure means for whoever made the call."""

    RETRIABLE = "retriable"  # it passes: try again
    ABORTABLE = "abortable"  # this transaction is over: a new producer, then again
    FENCED = "fenced"  # another owner has taken over: stop
    FATAL = "fatal"  # this producer is of no more use: a new one


FATAL = KafkaError._FATAL  # noqa: SLF001 - librdkafka's own codes begin with an underscore, they are public
"""What a producer says once it has failed for good; the cause is told by a call that ends the transaction."""

PASSING = {
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
}
"""After these a consumer tries on by itself, and the client's log has them."""

_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}

# A topic or a partition that a producer does not know is no poison: it may be newer than what the producer
# has heard. The next attempt has a new producer, and `Targets` looks before it.
_POISON = {
    KafkaError.MSG_SIZE_TOO_LARGE: Reason.TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: Reason.TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Reason.NOT_AUTHORIZED,
    KafkaError.TOPIC_EXCEPTION: Reason.BAD_TARGET,
    KafkaError.INVALID_RECORD: Reason.REFUSED,
    KafkaError.POLICY_VIOLATION: Reason.REFUSED,
}


def kind(error: KafkaError) -> Kind:
    """What the error means."""
    if error.code() in _FENCED:
        return Kind.FENCED
    if error.fatal() or error.code() == FATAL:
        return Kind.FATAL
    return Kind.ABORTABLE if error.txn_requires_abort() else Kind.RETRIABLE


def poison(error: KafkaError) -> Reason | None:
    """Why a record can never be delivered as it is; None where the record is not at fault."""
    return _POISON.get(error.code())


CLIENT_ERRORS = (KafkaException, SystemError)
"""What a call of a producer may raise that serves callbacks. The client raises its fatal error out of such a call, and
where a delivery report is served with it, that report's callback ends in a SystemError of which it is the cause."""


LOST = KafkaError(KafkaError._FAIL, "the client has lost its error")  # noqa: SLF001 - librdkafka's public code
"""Of such a SystemError without a cause: the client failed, and nobody knows why, or what has become of the call."""


def fault_of(error: BaseException) -> KafkaError:
    """What the client says in one of `CLIENT_ERRORS`; a SystemError that something else has caused is raised again."""
    told = error if isinstance(error, KafkaException) else error.__cause__
    if told is None:
        return LOST
    if not isinstance(told, KafkaException):
        raise error
    fault: KafkaError = told.args[0]
    return fault


class PublishError(Exception):
    """A transaction did not end well.

    `reason` is set where a record is at fault that will not be taken the next time either.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        reason: Reason | None = None,
        unanswered: frozenset[str] = frozenset(),
        refused: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.reason = reason
        self.unanswered = unanswered
        """Topics of which records were not acknowledged in time; empty where something else went wrong."""
        self.refused = refused
        """Topics that refused a record, where they say so themselves."""
