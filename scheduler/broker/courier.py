"""Delivers to another cluster than the schedules': message by message, for no transaction spans two clusters.

What is acknowledged is there. What is not may be there nevertheless, now or later: a request that was sent
cannot be called back. Whoever uses it delivers again, with the same fire id, rather than lose a message.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scheduler.broker.failures import Kind, PublishError, kind, poison
from scheduler.clock import Deadline
from scheduler.runtime.kafka import DELIVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.clock import Clock
    from scheduler.engine.settlement import Out
    from scheduler.runtime.kafka import Conf

Verdicts = list[PublishError | None]

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
        if not outs:
            return []
        try:
            producer = self._producer = self._producer or Producer(self._conf)
        except KafkaException as error:
            return [_failure(error.args[0])] * len(outs)
        deadline = Deadline(self._clock, DELIVERY_SECONDS + REPORT_SECONDS)
        silence = PublishError(Kind.RETRIABLE, f"not acknowledged within {DELIVERY_SECONDS:g} s")
        verdicts: Verdicts = [silence] * len(outs)
        self._doubtful = False
        for number, out in enumerate(outs):
            self._hand_over(producer, out, verdicts, number, deadline)
        if producer.flush(deadline.remaining()) or self._doubtful:
            # requests that nobody answers hold back whatever the same client sends next
            del producer
            self.close()
        return verdicts

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


def _failure(error: KafkaError) -> PublishError:
    return PublishError(kind(error), error.str(), poison(error))
