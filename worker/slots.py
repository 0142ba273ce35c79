"""N slots for attempts. A slot whose attempt has ended takes the next at once, whatever the poll loop is doing.

A run that is to be noted before it begins (`Run.careful`, `Run.suspicion`) holds its slot until `go`. What has ended
is handed out to the poll loop in the order of its end. Attempts are begun outside the lock: a slot whose attempt ends
at once must not wait for another one's beginning.

A run that was lost with its worker may have killed it, or have only been beside the one that did. Such runs begin one
by one, each as soon as the one before has ended or has run for a while without harm: the next loss has one suspect.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from worker.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from worker.runner import Finished, Runner, Running
    from worker.runs import Run

NOTE_SECONDS = 0.05
"""An attempt that has run for so long is noted as begun. Shorter ones would pay more for the note than for the run."""
HARMLESS_SECONDS = 10.0
"""After this a run that was lost before does not keep the next such run waiting any more."""


class Slots:
    """Takes runs in, begins them in turn, and hands out how they ended. Safe to use from any thread."""

    def __init__(self, count: int, runner: Runner) -> None:
        self._free = count
        self._runner = runner
        self._lanes: Lanes[Run] = Lanes()
        self._held: dict[Run, bool] = {}  # and whether the poll loop was told so
        self._running: dict[Run, Running] = {}
        self._aside: deque[Run] = deque()  # lost before, and waiting for the one on probation
        self._on_probation: Run | None = None
        self._unaccounted: deque[Finished] = deque()  # attempts that have ended, until somebody takes the lock
        self._lock = threading.RLock()
        self._closed = self._on_hold = False
        self._ended: queue.SimpleQueue[Finished | BaseException] = queue.SimpleQueue()

    def add(self, runs: Iterable[Run]) -> None:
        """Let runs wait for their turn, or end them at once where they must not be made."""
        with self._locked() as begun:
            for run in runs:
                self._add(run)
            begun.extend(self._fill())

    def _add(self, run: Run) -> None:
        finished = self._runner.refused(run)
        if finished is None and self._lanes.occupied(run.lane):
            if run.job.overlap == "forbid":
                finished = self._runner.skipped(run, "an earlier run has not ended")
            elif run.job.overlap == "replace":
                self._make_way_for(run)
        if finished is not None:
            self._ended.put(finished)
            return
        self._lanes.add(run.lane, run, beside=run.job.overlap == "allow")

    def forget(self, unwanted: Callable[[Run], bool]) -> None:
        """Drop waiting runs; those that run are not touched."""
        with self._locked() as begun:
            self._lanes.remove(unwanted)
            for run in [aside for aside in self._aside if unwanted(aside)]:
                self._aside.remove(run)
                self._lanes.release(run.lane)
            begun.extend(self._fill())

    def stop(self, unwanted: Callable[[Run], bool]) -> None:
        """Ask running ones to stop; they end a little later, as given back."""
        with self._locked() as begun:
            for run in [held for held in self._held if unwanted(held)]:
                del self._held[run]
                self._ended.put(self._runner.given_back(run))
                self._free_slot_of(run)
            begun.extend(self._fill())
            for run, running in self._running.items():
                if unwanted(run):
                    running.stop()

    def running(self, which: Callable[[Run], bool] = lambda _: True) -> int:
        """How many have a slot now, of those."""
        with self._locked():
            return sum(map(which, (*self._running, *self._held)))

    def waiting(self) -> int:
        """How many wait."""
        with self._locked():
            return len(self._lanes) + len(self._aside)

    def oldest_due_ms(self) -> int | None:
        """When the first of those that wait was due; None where nothing waits."""
        with self._locked():
            return min((run.due_ms for run in (*self._lanes.heads(), *self._aside)), default=None)

    def to_note(self) -> list[Run]:
        """Runs to be noted as begun, each once: those that wait for it, and those that have run for a while."""
        with self._locked() as begun:
            if not self._held and not self._running:
                return []
            found = [run for run, told in self._held.items() if not told]
            self._held.update(dict.fromkeys(found, True))
            now = self._runner.clock.monotonic()
            for run, running in self._running.items():
                if not running.noted and running.began <= now - NOTE_SECONDS:
                    running.noted = True
                    found.append(run)
            tried = self._on_probation and self._running.get(self._on_probation)
            if tried and tried.began <= now - HARMLESS_SECONDS:
                self._on_probation = None
                begun.extend(self._fill())
        return found

    def go(self, runs: Iterable[Run]) -> None:
        """Those are noted: begin the ones that waited for it."""
        with self._locked() as begun:
            begun.extend(self._begun(run, noted=True) for run in runs if self._held.pop(run, None) is not None)

    def ended(self, seconds: float = 0.0) -> list[Finished]:
        """What has ended since the last call; wait for the first one, at most the given time."""
        found: list[Finished] = []
        with suppress(queue.Empty):
            if seconds:
                found.append(self._checked(self._ended.get(timeout=seconds)))
            found += [self._checked(self._ended.get_nowait()) for _ in range(self._ended.qsize())]
        return found

    @staticmethod
    def _checked(item: Finished | BaseException) -> Finished:
        if isinstance(item, BaseException):
            raise item
        return item

    def fail(self, error: BaseException) -> None:
        """Nothing can be run any more: `ended` raises this."""
        self._ended.put(error)

    def close(self) -> None:
        """Begin nothing more, and forget what waits."""
        with self._locked():
            self._closed = True
            self._lanes.remove(lambda _: True)

    def hold(self, on: bool) -> None:  # noqa: FBT001 - it is all that is said
        """Begin nothing until this is taken back; what runs goes on."""
        if on == self._on_hold:
            return
        with self._locked() as begun:
            self._on_hold = on
            begun.extend(self._fill())

    def _make_way_for(self, run: Run) -> None:
        why = f"replaced by {run.run_id}"
        for waiting in self._lanes.remove(lambda other: other.lane == run.lane):
            self._ended.put(self._runner.skipped(waiting, why))
        for aside in [aside for aside in self._aside if aside.lane == run.lane]:
            self._aside.remove(aside)
            self._ended.put(self._runner.skipped(aside, why))
            self._lanes.release(aside.lane)
        for held in [held for held in self._held if held.lane == run.lane]:
            del self._held[held]
            self._ended.put(self._runner.skipped(held, why))
            self._free_slot_of(held)
        for other, running in self._running.items():
            if other.lane == run.lane:
                running.stop(replaced_by=run.run_id)

    def _fill(self) -> list[Running]:
        """Give free slots away; what is to be started, once the lock is free."""
        begun: list[Running] = []
        while self._free and not (self._closed or self._on_hold) and (run := self._next()) is not None:
            self._free -= 1
            if run.careful or (run.suspicion is not None and run.suspicion.spend()):
                self._held[run] = False
            else:
                begun.append(self._begun(run, noted=False))
        return begun

    def _next(self) -> Run | None:
        if self._aside and self._on_probation is None:
            self._on_probation = self._aside.popleft()
            return self._on_probation
        while (run := self._lanes.take()) is not None and run.lost:
            if self._on_probation is None:
                self._on_probation = run
                break
            self._aside.append(run)
        return run

    def _begun(self, run: Run, *, noted: bool) -> Running:
        running = self._running[run] = self._runner.begin(run, self._done, noted=noted)
        return running

    def _start(self, begun: Iterable[Running]) -> None:
        for running in begun:
            try:
                running.start()
            except BaseException as error:  # noqa: BLE001 - it is raised again in the poll loop, which ends the worker
                self.fail(error)

    def _done(self, finished: Finished) -> None:
        self._unaccounted.append(finished)
        self._account()

    def _account(self) -> None:
        """Let what has ended count as ended. Whoever has the lock does that, also for those that come meanwhile.

        If each attempt's thread waited for the lock, it would be handed on for every attempt, and the interpreter with
        it: of handlers that do nothing that took a sixth of the time.
        """
        while self._unaccounted and self._lock.acquire(blocking=False):
            try:
                while self._unaccounted:
                    finished = self._unaccounted.popleft()
                    # handed out before the run counts as ended: whoever sees no run running will find them all
                    self._ended.put(finished)
                    del self._running[finished.run]
                    self._free_slot_of(finished.run)
                begun = self._fill()
            finally:
                self._lock.release()
            self._start(begun)

    @contextmanager
    def _locked(self) -> Iterator[list[Running]]:
        """The lock. What is added to the list is started behind it; what has ended meanwhile is accounted for."""
        begun: list[Running] = []
        with self._lock:
            yield begun
        self._start(begun)
        self._account()

    def _free_slot_of(self, run: Run) -> None:
        if run is self._on_probation:
            self._on_probation = None
        self._lanes.release(run.lane)
        self._free += 1
