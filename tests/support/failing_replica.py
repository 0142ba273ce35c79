"""`scheduler run` that stops at a named point of a firing transaction, by its own hand: killed there, or frozen.

The points are in the publisher, between its calls of the client; nothing of the product knows of them.
Started as `python -m tests.support.failing_replica`, told what to do by the environment:

    FAILPOINT=<point>:<kill|freeze>:<n>     at the n-th transaction of the process, counted over its partitions
"""

from __future__ import annotations

import os
import signal
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler.broker import publisher
from scheduler.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Producer

    from scheduler.engine.settlement import Out


class Point(StrEnum):
    """Where in a transaction."""

    BEGUN = "begun"  # nothing of it is written
    HALFWAY = "halfway"  # half of its records are on their way
    WRITTEN = "written"  # all records are acknowledged, nothing is decided
    COMMITTED = "committed"  # the broker has decided, the replica has not taken note


class Failure:
    """Counts transactions and stops the process at the chosen one."""

    def __init__(self, text: str) -> None:
        point, action, number = text.split(":")
        self._point = Point(point)
        self._signal = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[action]
        self._number = int(number)
        self._lock = threading.Lock()
        self._begun = 0

    def begins(self) -> bool:
        """A transaction begins; tell whether it is the chosen one."""
        with self._lock:
            self._begun += 1
            return self._begun == self._number

    def at(self, point: Point) -> None:
        """The chosen transaction has come to a point."""
        if point is self._point:
            os.kill(os.getpid(), self._signal)


def install(failure: Failure) -> None:
    """Put the points into the publisher of this process."""

    class Failing(publisher.Publisher):
        def publish(self, outs: Iterable[Out]) -> None:
            chosen = failure.begins()
            super().publish(_marked(failure, list(outs)) if chosen else outs)
            if chosen:
                failure.at(Point.COMMITTED)

        @staticmethod
        def _produce(producer: Producer, outs: Iterable[Out]) -> None:
            publisher.Publisher._produce(producer, outs)
            if isinstance(outs, _Marked):
                producer.flush(10)
                failure.at(Point.WRITTEN)

    from scheduler import service  # noqa: PLC0415 - patched before it makes one

    service.Publisher = Failing  # type: ignore[misc]


class _Marked(list):  # type: ignore[type-arg]
    """The records of the chosen transaction."""

    failure: Failure

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.failure.at(Point.BEGUN)
        half = len(self) // 2
        for number, out in enumerate(super().__iter__()):
            if number == half:
                self.failure.at(Point.HALFWAY)
            yield out


def _marked(failure: Failure, outs: list[Out]) -> _Marked:
    marked = _Marked(outs)
    marked.failure = failure
    return marked


if __name__ == "__main__":
    if what := os.environ.get("FAILPOINT"):
        install(Failure(what))
    import sys

    sys.argv = ["scheduler", "run"]
    main()
