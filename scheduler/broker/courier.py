"""Delivers to another cluster than the schedules': message by message, for no transaction spans two clusters.

What is acknowledged is there. What is not may be there nevertheless, now or later: a request that was sent
cannot be called back. Whoever uses it delivers again, with the same fire id, rather than lose a message.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scheduler.broker.failures import CLIENT_ERRORS, Kind, PublishError, fault_of, kind, poison
from scheduler.clock import Deadline
from scheduler.runtime.kafka import DELIVERY_SECONDS
from scheduler.schedule import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.clock import Clock
    from scheduler.engine.settlement import Out
    from scheduler.runtime.kafka import Conf

Verdicts = list[PublishError | None]

_OF_ONE = {Reason.TOO_LARGE, Reason.REFUSED}
"""What a topic says of a message; anything else it says of every message."""

FULL_SECONDS = 0.05
"""Between two tries to hand a message to a client whose queue is full."""
REPORT_SECONDS = 1.0
"""For the client to say by itself that a message's time is over."""


class Courier:
    """Opened with the first delivery; one thread at a time."""

    def __init__(self, conf: Conf, clock: Clock) -> None:
        self._conf = conf
        self._clock = clock
        self._producer: Producer | None = None
        self._doubtful = False

    def deliver(self, outs: Sequence[Out]) -> Verdicts:
        """Deliver each message and wait until it is acknowledged or has failed; for each, what went wrong.

        An error with a `reason` will not pass; one without may, and its message may arrive yet. Takes
        `DELIVERY_SECONDS` and little more.
        """
        silence = PublishError(Kind.RETRIABLE, f"not acknowledged within {DELIVERY_SECONDS:g} s")
        verdicts: Verdicts = [silence] * len(outs)
        deadline = Deadline(self._clock, DELIVERY_SECONDS + REPORT_SECONDS)
        self._doubtful = False
        groups: list[Sequence[int]] = [range(len(outs))]
        while groups and not deadline.passed and not self._doubtful:
            group = groups.pop(0)
            self._deliver(outs, group, verdicts, deadline)
            groups += _halves(outs, group, verdicts)
        for number in (number for group in groups for number in group):
            verdicts[number] = silence
        if self._doubtful:
            # requests that nobody answers hold back whatever the same client sends next
            self.close()
        return verdicts

    def _deliver(self, outs: Sequence[Out], group: Sequence[int], verdicts: Verdicts, deadline: Deadline) -> None:
        if not group:
            return
        try:
            producer = self._producer = self._producer or Producer(self._conf)
            for number in group:
                self._hand_over(producer, outs[number], verdicts, number, deadline)
            if producer.flush(deadline.remaining()):
                self._doubtful = True
        except CLIENT_ERRORS as error:
            # the client has failed for good, or was never made: what it has not reported stays unanswered
            failure = self._judged(fault_of(error))
            for number in group:
                verdicts[number] = verdicts[number] and failure

    def _hand_over(self, producer: Producer, out: Out, verdicts: Verdicts, number: int, deadline: Deadline) -> None:
        place = {} if out.partition is None else {"partition": out.partition}
        reported = partial(self._reported, verdicts, number)
        while not deadline.passed:
            try:
                producer.produce(out.topic, out.value, out.key, headers=out.headers, on_delivery=reported, **place)
            except BufferError:
                producer.poll(FULL_SECONDS)  # the local queue is full: let some of it go out
            except KafkaException as error:
                verdicts[number] = self._judged(error.args[0])
                return
            else:
                return

    def _reported(self, verdicts: Verdicts, number: int, error: KafkaError | None, _message: Message) -> None:
        verdicts[number] = None if error is None else self._judged(error)

    def _judged(self, error: KafkaError) -> PublishError:
        failure = _failure(error)
        if failure.reason is None:
            self._doubtful = True
        return failure

    def close(self) -> None:
        """Drop the client with whatever it still holds; never waits for the brokers."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


def _halves(outs: Sequence[Out], group: Sequence[int], verdicts: Verdicts) -> list[Sequence[int]]:
    """What has to be tried again: a topic refuses messages together, and one of them may be to blame for it."""
    refused: dict[str, list[int]] = {}
    for number in group:
        verdict = verdicts[number]
        if verdict is not None and verdict.reason in _OF_ONE:
            refused.setdefault(outs[number].topic, []).append(number)
    halves: list[Sequence[int]] = []
    for numbers in refused.values():
        if len(numbers) > 1:
            middle = len(numbers) // 2
            halves += [numbers[:middle], numbers[middle:]]
    return halves


def _failure(error: KafkaError) -> PublishError:
    return PublishError(kind(error), error.str(), poison(error))
