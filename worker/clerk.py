"""One thread for calls to Kafka that block, so that the poll loop never does; a call that hangs is left behind."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Clerk:
    """Does one task after the other. The thread is a daemon: a hung one does not keep the process alive."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="bookkeeping", daemon=True).start()

    def give(self, task: Callable[[], T]) -> Future[T]:
        """Have the task done; its result or its exception is in the future."""
        future: Future[T] = Future()
        self._tasks.put((future, task))
        return future

    def dismiss(self) -> None:
        """End the thread after what it has in hand."""
        self._tasks.put(None)

    def _serve(self) -> None:
        while (given := self._tasks.get()) is not None:
            future, task = given
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - whoever reads the future gets it
                future.set_exception(error)
