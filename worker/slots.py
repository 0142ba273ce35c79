"""N threads that perform attempts. A slot that is done takes the next at once, whatever the poll loop is doing."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from worker.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.runner import Finished
    from worker.runs import Run


class Slots:
    """Takes runs in, performs them in turn, and hands out how they ended."""

    def __init__(self, count: int, perform: Callable[[Run, threading.Event], Finished]) -> None:
        self._perform = perform
        self._lanes: Lanes[Run] = Lanes()
        self._running: dict[Run, threading.Event] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._ended: queue.SimpleQueue[Finished | BaseException] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, name=f"slot-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def add(self, run: Run) -> None:
        """Let a run wait for its turn."""
        with self._changed:
            self._lanes.add(run.job.id, run)
            self._changed.notify()

    def forget(self, unwanted: Callable[[Run], bool]) -> None:
        """Drop waiting runs; those that run are not touched."""
        with self._changed:
            self._lanes.remove(unwanted)

    def stop(self, unwanted: Callable[[Run], bool]) -> None:
        """Ask running ones to stop; they end a little later, as given back."""
        with self._changed:
            for run, stop in self._running.items():
                if unwanted(run):
                    stop.set()

    def running(self, which: Callable[[Run], bool] = lambda _: True) -> int:
        """How many run now, of those."""
        with self._changed:
            return sum(map(which, self._running))

    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._lanes)

    def ended(self, seconds: float = 0.0) -> list[Finished]:
        """What has ended since the last call; wait for the first one, at most the given time."""
        found: list[Finished] = []
        try:
            while True:
                item = self._ended.get(timeout=0 if found or not seconds else seconds)
                if isinstance(item, BaseException):
                    raise item
                found.append(item)
        except queue.Empty:
            return found

    def close(self) -> None:
        """Take nothing more, forget what waits, and let idle slots end."""
        with self._changed:
            self._closed = True
            self._lanes.remove(lambda _: True)
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            stop = threading.Event()
            with self._changed:
                while (run := self._lanes.take()) is None:
                    if self._closed:
                        return
                    self._changed.wait()
                self._running[run] = stop
            try:
                ended: Finished | BaseException = self._perform(run, stop)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the poll loop, which ends the worker
                ended = error
            # handed out before the run counts as ended: whoever sees no run running will find them all
            self._ended.put(ended)
            with self._changed:
                del self._running[run]
                self._lanes.release(run.job.id)
                self._changed.notify_all()
