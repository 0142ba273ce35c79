"""`worker` that comes to harm at a named point of a bookkeeping transaction, by its own hand.

The points are in the producer that its ledger is given; nothing of the product knows of them.
Started as `python -m tests.support.failing_worker`, told what to do by the environment:

    FAILPOINT=<point>:<kill|freeze|fail>:<n>     at the n-th transaction that writes a record
"""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer


class Point(StrEnum):
    """Where in a transaction."""

    OFFSETS = "offsets"  # the offsets are part of it, no record is
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
        """A transaction has its first record."""
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
    """Put the points into the ledger's producers of this process."""

    class Failing(Producer):
        _records = 0

        def begin_transaction(self) -> None:
            super().begin_transaction()
            self._records = 0

        def produce(self, *arguments: Any, **more: Any) -> None:
            self._records += 1
            if self._records == 1:
                failure.next()
                failure.at(Point.OFFSETS)
            else:
                self.flush(10)
                failure.at(Point.HALFWAY)
            super().produce(*arguments, **more)

        def commit_transaction(self, *arguments: Any) -> None:
            if self._records:
                self.flush(10)
                failure.at(Point.WRITTEN)
            super().commit_transaction(*arguments)
            if self._records:
                failure.at(Point.COMMITTED)

    from worker import connections  # noqa: PLC0415 - patched before it makes one

    connections.Producer = Failing  # type: ignore[misc]


if __name__ == "__main__":
    if what := os.environ.get("FAILPOINT"):
        install(Failure(what))
    from worker.cli import main

    sys.argv[0] = "worker"
    main()
