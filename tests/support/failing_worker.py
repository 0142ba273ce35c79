"""`worker` that comes to harm at a named point of a bookkeeping transaction, by its own hand.

The points are in its ledger and in the producer of that; nothing of the product knows of them.
Started as `python -m tests.support.failing_worker`, told what to do by the environment:

    FAILPOINT=<point>:<kill|freeze|fail>:<n>     at the n-th transaction that has the end of an attempt
"""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer

from worker import connections
from worker.cli import main
from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger import Booking
    from worker.runner import Finished
    from worker.runs import Poison


class Point(StrEnum):
    """Where in a transaction."""

    BEFORE = "before"  # it is about to begin
    HALFWAY = "halfway"  # its first record is acknowledged, the others are not handed over
    WRITTEN = "written"  # all is acknowledged, nothing is decided
    COMMITTED = "committed"  # the broker has decided, the worker has not taken note


class Failure:
    """Counts transactions and does harm in the chosen one."""

    def __init__(self, text: str) -> None:
        point, self._action, number = text.split(":")
        self._point = Point(point)
        self._left = int(number)

    def next(self) -> None:
        """Another transaction is about to begin."""
        self._left -= 1

    def at(self, point: Point) -> None:
        """The transaction under way has come to a point."""
        if point is not self._point or self._left:
            return
        self._left = -1  # not again
        if self._action == "fail":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "on purpose"))
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[self._action])


def install(failure: Failure) -> None:
    """Put the points into the ledgers of this process, and into their producers."""

    class FailingLedger(Ledger):
        def _transact(self, producer: Producer, entries: Sequence[Finished | Poison], booking: Booking) -> None:
            if entries:
                failure.next()
                failure.at(Point.BEFORE)
            super()._transact(producer, entries, booking)

    class FailingProducer(Producer):
        _records = 0

        def begin_transaction(self) -> None:
            super().begin_transaction()
            self._records = 0

        def produce(self, *arguments: Any, **more: Any) -> None:
            if self._records == 1:
                self.flush(10)
                failure.at(Point.HALFWAY)
            super().produce(*arguments, **more)
            self._records += 1

        def commit_transaction(self, *arguments: Any) -> None:
            self.flush(10)
            failure.at(Point.WRITTEN)
            super().commit_transaction(*arguments)
            failure.at(Point.COMMITTED)

    connections.Ledger = FailingLedger  # type: ignore[misc]
    connections.Producer = FailingProducer  # type: ignore[misc]


if __name__ == "__main__":
    if what := os.environ.get("FAILPOINT"):
        install(Failure(what))
    sys.argv[0] = "worker"
    main()
