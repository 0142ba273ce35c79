"""`scheduler run` that stops at a named point of a firing transaction, by its own hand, or has a defect built in.

The points are in the publisher, between its calls of the client; nothing of the product knows of them.
Started as `python -m tests.support.failing_replica`, told what to do by the environment:

    FAILPOINT=<point>:<kill|freeze>:<n>     once, at the n-th transaction of the process, counted over its partitions,
                                            or at the next that comes so far
    MUTATION=<name>                         see tests/support/mutants.py
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler import service
from scheduler.broker.publisher import NOW
from scheduler.cli import main
from tests.support.mutants import Mutation, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Producer

    from scheduler.engine.settlement import Out

FLUSH_SECONDS = 10


class Point(StrEnum):
    """Where in a transaction."""

    PREPARED = "prepared"  # it is not due yet; all of it is in the client, nothing is written
    BEGUN = "begun"  # nothing of it is written
    HALFWAY = "halfway"  # the first half of its records is acknowledged
    WRITTEN = "written"  # all records are acknowledged, nothing is decided
    COMMITTED = "committed"  # the broker has decided, the replica has not taken note


class Failure:
    """Counts transactions and stops the process at the chosen one."""

    def __init__(self, text: str) -> None:
        point, action, number = text.split(":")
        self.point = Point(point)
        self._signal = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[action]
        self._number = int(number)
        self._lock = threading.Lock()
        self._begun = 0
        self._over = False

    def begins(self) -> bool:
        """A transaction begins; tell whether it may be the chosen one."""
        with self._lock:
            self._begun += 1
            return self._begun >= self._number

    @property
    def lets_prepare(self) -> bool:
        """Whether anything may be prepared: the other points are passed where records are written when they are due."""
        return self.point is Point.PREPARED

    def at(self, point: Point) -> None:
        """Such a transaction has come to a point."""
        with self._lock:
            stops = point is self.point and not self._over
            self._over |= stops
        if stops:
            os.kill(os.getpid(), self._signal)


def fail(failure: Failure) -> None:
    """Put the points into the publisher of this process, whichever class that is."""
    sound = service.Publisher

    class Failing(sound):  # type: ignore[misc,valid-type]
        chosen = False

        @property
        def ahead_ms(self) -> int:
            return super().ahead_ms if failure.lets_prepare else 0

        def prepare(self, outs: Iterable[Out], timestamp_ms: int) -> None:
            super().prepare(outs, timestamp_ms)
            if failure.begins():
                failure.at(Point.PREPARED)

        def publish(self, outs: Iterable[Out], ailing: Callable[[], bool] = lambda: False) -> None:
            self.chosen = failure.begins()
            super().publish(outs, ailing)
            if self.chosen:
                failure.at(Point.COMMITTED)

        def _produce(self, producer: Producer, outs: Iterable[Out], timestamp_ms: int = NOW) -> None:
            if not self.chosen or timestamp_ms != NOW:  # what is prepared is not to be written yet
                super()._produce(producer, outs, timestamp_ms)
                return
            failure.at(Point.BEGUN)
            records = list(outs)
            half = len(records) // 2
            super()._produce(producer, records[:half])
            producer.flush(FLUSH_SECONDS)
            failure.at(Point.HALFWAY)
            super()._produce(producer, records[half:])
            producer.flush(FLUSH_SECONDS)
            failure.at(Point.WRITTEN)

    service.Publisher = Failing  # type: ignore[misc]


if __name__ == "__main__":
    if what := os.environ.get("FAILPOINT"):
        fail(Failure(what))
    if name := os.environ.get("MUTATION"):  # the second, so that it may have more transactions than one of a batch
        install(Mutation(name))
    sys.argv = ["scheduler", "run"]
    main()
