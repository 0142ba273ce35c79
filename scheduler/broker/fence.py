"""The fence of a partition: who had it before can write no more, and it is known up to where it may have written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from scheduler.broker.failures import Kind, PublishError
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from scheduler.broker.observer import Observer
    from scheduler.broker.publisher import Publisher
    from scheduler.clock import Clock
    from scheduler.engine.settlement import Place

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logging.getLogger("scheduler.partition")


class Fence:
    """Used by the owner's thread; gives up where that one is told to stop."""

    def __init__(
        self,
        place: Place,
        publisher: Publisher,
        high_watermark: Callable[[], int],
        may_fence: Callable[[], bool],
        clock: Clock,
        observer: Observer,
        stop: threading.Event,
    ) -> None:
        self._place = place
        self._publisher = publisher
        self._high_watermark = high_watermark
        self._may_fence = may_fence
        self._clock = clock
        self._observer = observer
        self._stop = stop

    def put_up(self) -> int | None:
        """Become the only one who can write; the high watermark from then on, None where it was to stop before.

        Raises:
            PublishError: another one has become it meanwhile.
        """
        return self._put_up(lambda: True)

    def put_up_again(self) -> int | None:
        """The same, but each attempt only once the group says that no other owner is fenced by it."""
        return self._put_up(self._may_fence)

    def _put_up(self, may_fence: Callable[[], bool]) -> int | None:
        started = self._clock.monotonic()
        for seconds in self._attempts():
            try:
                if not may_fence():
                    self._wait("cannot recover yet", "the group has given the partition to another", seconds)
                    continue
                self._publisher.open()
                opened = self._clock.monotonic()
                mark = self._high_watermark()
            except PublishError as error:
                if error.kind is Kind.FENCED:
                    raise
                failure = str(error)
            except KafkaException as error:
                failure = error.args[0].str()
            else:
                now = self._clock.monotonic()
                self._observer.fenced(self._place, now - started)
                log.debug(
                    "fenced others", extra=fields(**self._where, seconds=opened - started, mark_seconds=now - opened)
                )
                return mark
            self._observer.not_fenced(self._place)
            self._wait("cannot fence, trying again", failure, seconds)
        return None

    @property
    def _where(self) -> dict[str, object]:
        return {"topic": self._place.topic, "partition": self._place.partition}

    def _attempts(self) -> Iterator[float]:
        """Pauses between attempts, growing, until the partition is to be given up."""
        attempt = 0
        while not self._stop.is_set():
            yield BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
            attempt += 1

    def _wait(self, event: str, failure: str, seconds: float) -> None:
        log.warning(event, extra=fields(**self._where, detail=failure))
        self._clock.wait(self._stop, seconds)
