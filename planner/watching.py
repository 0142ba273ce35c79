"""Keeps Kafka at what a crontab states, for as long as it runs.

The newest good version of the crontab is in force: one with errors changes nothing, and a Kafka that does not
answer is tried again. Each sync has a thread of its own, so that a signal is answered while one waits for Kafka.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from planner.changes import Follower, fingerprint
from planner.files import read_source
from planner.reconcile import Reconciler, Wanted
from planner.report import counts
from scheduler.errors import InputError, SchedulerError
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

    from planner.watch_metrics import WatchMetrics
    from scheduler.clock import Clock
    from scheduler.runtime.settings import Settings

log = logging.getLogger("planner")

LOOK_SECONDS = 5.0
"""How often the file is looked at where the system tells of no change, as on a network's file system."""
SETTLE_SECONDS = 0.5
"""A file is read once it has stayed the same for so long: a writer may be half-way."""
STOP_SECONDS = 5.0
"""How long a sync may go on after SIGTERM; it is a transaction, so that cutting it short does no harm."""
SIGNAL_SECONDS = 0.2
"""No wait is longer: one that begins in the instant in which a signal comes is not cut short by it."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 30.0
HORIZON_PART = 4
"""With a horizon, occurrences are planned again so many times within it."""


class Event(Enum):
    """What wakes the watch."""

    CHANGED = auto()  # perhaps
    ASKED = auto()  # SIGHUP
    STOP = auto()
    SYNCED = auto()  # the sync has ended


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and how it is read."""

    path: Path
    source: str
    system: bool = False
    horizon_ms: int | None = None
    certain: bool = False


class Watch:
    """Syncs on change; `tell` is for signal handlers and any thread."""

    def __init__(
        self, watched: Watched, reconciler: Reconciler, settings: Settings, clock: Clock, metrics: WatchMetrics
    ) -> None:
        self._watched = watched
        self._reconciler = reconciler
        self._clusters = settings.clusters
        self._clock = clock
        self._metrics = metrics
        # its put may interrupt itself: a lock's holder, interrupted by a signal, would wait for itself
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._seen = ""
        self._good: Wanted | None = None
        """The last version of the crontab without errors."""
        self._trouble: tuple[str, ...] = ()
        """What is wrong with the newest version, as it was told."""
        self._complaint = ""
        """Why the last sync did not succeed, as it was told."""
        self._failure: BaseException | None = None
        self._retry_seconds: float | None = None
        self._failures = 0
        self.unready = "not synced yet"
        """Why it is not ready; empty once a good version was in force."""

    def tell(self, event: Event) -> None:
        """Wake it."""
        self._events.put(event)

    def run(self) -> None:
        """Watch until told to stop."""
        watched = self._watched
        log.info("watching", extra=fields(path=str(watched.path), source=watched.source))
        follower = Follower(watched.path, lambda: self.tell(Event.CHANGED))
        try:
            self._run()
        finally:
            follower.close()
        if self._failure is not None:
            raise self._failure
        log.info("stopped", extra=fields(source=watched.source))

    def _run(self) -> None:
        clock = self._clock
        self._seen = fingerprint(self._watched.path)
        sync_at: float | None = clock.monotonic()
        syncing = False
        while True:
            now = clock.monotonic()
            if not syncing and sync_at is not None and now >= sync_at:
                sync_at, syncing = None, True
                threading.Thread(target=self._sync, name="sync", daemon=True).start()
            wait = LOOK_SECONDS if sync_at is None or syncing else min(LOOK_SECONDS, max(0.0, sync_at - now))
            event = self._next(wait)
            now = clock.monotonic()
            if event is Event.STOP:
                break
            if event is Event.ASKED:
                sync_at = now
            elif event is Event.SYNCED:
                syncing = False
                if self._retry_seconds is not None:
                    sync_at = now + self._retry_seconds if sync_at is None else sync_at
            if self._changed():
                sync_at = now + SETTLE_SECONDS
        if syncing:
            self._await_sync()

    def _next(self, seconds: float) -> Event | None:
        end = self._clock.monotonic() + seconds
        while True:
            left = end - self._clock.monotonic()
            try:
                return self._events.get(timeout=min(SIGNAL_SECONDS, max(0.0, left)))
            except Empty:
                if left <= SIGNAL_SECONDS:
                    return None

    def _changed(self) -> bool:
        seen, self._seen = self._seen, fingerprint(self._watched.path)
        return seen != self._seen

    def _await_sync(self) -> None:
        end = self._clock.monotonic() + STOP_SECONDS
        while (left := end - self._clock.monotonic()) > 0:
            if self._next(left) is Event.SYNCED:
                return
        log.warning("stopped before Kafka answered", extra=fields(source=self._watched.source))

    # -- on a thread of its own ----------------------------------------------------------------------

    def _sync(self) -> None:
        self._retry_seconds = None
        try:
            self._read()
            if self._good is not None:
                self._reconcile(self._good)
        except BaseException as error:  # noqa: BLE001 - it is raised where the watch runs
            self._failure = error
            self.tell(Event.STOP)
        finally:
            self.tell(Event.SYNCED)

    def _read(self) -> None:
        """Take the crontab as it is now, if it is good."""
        watched = self._watched
        try:
            reading = read_source(watched.path, clusters=self._clusters, system=watched.system)
        except InputError as error:
            self._broken(str(error), [])
            return
        if reading.errors:
            self._broken(reading.trouble, [str(fault) for fault in reading.errors])
            return
        if self._trouble:
            log.info("the crontab is good again", extra=fields(path=str(watched.path)))
            self._trouble = ()
        self._metrics.valid.set(1)
        self._metrics.entries.set(len(reading.entries))
        self._good = Wanted(watched.source, reading.entries, watched.horizon_ms)

    def _broken(self, what: str, faults: list[str]) -> None:
        """The newest version is no good; the last good one, if there is one, is what is to be in force."""
        self._metrics.valid.set(0)
        self._metrics.ended("refused")
        if self._trouble == (trouble := (what, *faults)):
            return
        self._trouble = trouble
        for fault in faults:
            log.error("the crontab has an error", extra=fields(at=fault))
        then = "the last good version stays in force" if self._good else "what is in force stays as it is"
        log.error("the crontab is refused", extra=fields(why=what, then=then))
        if self._good is None:
            self.unready = f"{what}, and no version before it was good"

    def _reconcile(self, wanted: Wanted) -> None:
        started = self._clock.monotonic()
        try:
            plan = self._reconciler.sync(wanted, confirm=_refuse, certain=self._watched.certain)
        except (SchedulerError, KafkaException) as error:
            self._failed(error)
            return
        self._metrics.sync_seconds.observe(self._clock.monotonic() - started)
        self._metrics.wrote(plan)
        self._metrics.ended("waiting" if plan.waits else "written" if plan.changes else "unchanged")
        told = {name: count for name, count in counts(plan).items() if count}
        if plan.changes:
            log.info("synced", extra=fields(source=wanted.source, **told))
        elif self._complaint:
            log.info("in force again", extra=fields(source=wanted.source))
        self._complaint, self._failures = "", 0
        if plan.waits:
            self._retry_seconds = FIRST_RETRY_SECONDS
            return
        self._metrics.in_force.set(1)
        self._metrics.last_sync.set(self._clock.now_ms() / 1000)
        self.unready = ""
        if wanted.horizon_ms is not None:
            self._retry_seconds = wanted.horizon_ms / 1000 / HORIZON_PART

    def _failed(self, error: SchedulerError | KafkaException) -> None:
        refused = isinstance(error, InputError)
        self._metrics.in_force.set(0)
        self._metrics.ended("refused" if refused else "failed")
        self._retry_seconds = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**self._failures)
        self._failures += 1
        if self.unready:
            self.unready = str(error)
        if str(error) != self._complaint:
            self._complaint = str(error)
            level = logging.ERROR if refused else logging.WARNING
            log.log(level, "not synced", extra=fields(why=str(error), retry_seconds=self._retry_seconds))


def _refuse(doubt: str) -> NoReturn:
    raise InputError(f"{doubt}; nothing was changed; if that is meant, run `planner sync --yes` once")
