"""What a client says when it fails, whichever way it says it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from scheduler.broker.failures import Kind, fault_of, kind


def told_by(cause: Exception | None) -> SystemError:
    error = SystemError("returned NULL without setting an exception")
    error.__cause__ = cause
    return error


def test_the_fault_is_that_of_the_exception_or_of_its_cause() -> None:
    fenced = KafkaException(KafkaError(KafkaError._FENCED))

    assert kind(fault_of(fenced)) is Kind.FENCED
    assert kind(fault_of(told_by(fenced))) is Kind.FENCED


def test_an_error_that_the_client_has_lost_leaves_doubt() -> None:
    assert kind(fault_of(told_by(None))) is Kind.RETRIABLE


def test_what_a_callback_of_ours_has_done_is_no_fault_of_the_client() -> None:
    with pytest.raises(SystemError):
        fault_of(told_by(TypeError("a defect")))
