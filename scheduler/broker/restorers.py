"""Processes beside a replica that restore some of its partitions, where the logs are long: see `restorer`.

They are a shorter way to what a log says, and no more: what none of them restores, whatever the reason, the replica
reads itself.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, cast

from confluent_kafka import KafkaException

from scheduler import __version__
from scheduler.broker.restorer import Failed, Job, Progress, RestoreError
from scheduler.runtime.exhaustion import exhausted
from scheduler.runtime.logs import fields, names
from scheduler.runtime.processors import usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler.broker.cluster import Cluster
    from scheduler.broker.restorer import Report, Restored
    from scheduler.clock import Clock
    from scheduler.runtime.kafka import Conf

    Key = tuple[str, int]

MOST_PROCESSES = 4
"""Where nobody says how many: what one broker sends is soon the bound."""
SILENT_SECONDS = 20.0
"""After which a process that says nothing is ended; it says something twice a second."""
ENDS_SECONDS = 0.5
"""For the brokers to say where logs end: the group waits. It takes milliseconds."""
FEW = 5_000
"""Records that are left to whoever reads them."""
_PROGRAM = "from scheduler.broker.restorer import main; main()"

log = logging.getLogger("scheduler.restore")


@dataclass(eq=False)
class Awaited:
    """A partition that another process restores."""

    job: Job
    process: _Process
    read_to: int = 0
    pending: int = 0

    @property
    def left(self) -> int:
        """Records that are yet to be read, by their offsets."""
        return max(0, self.job.end - self.read_to)


class Restorers:
    """Used by the group's thread; each process has a thread that hears it.

    Args:
        conf: of a consumer.
        topics: of the schedules.
        cluster: knows where logs end.
        clock: for how long nothing was heard.
        processes: that share a restore, this one among them; None: as many as there are processors, or fewer.
        least: records of all logs together, by their offsets, from which on it is shared.
    """

    def __init__(
        self, conf: Conf, topics: Sequence[str], cluster: Cluster, clock: Clock, *, processes: int | None, least: int
    ) -> None:
        self._conf = conf
        self._topics = list(topics)
        self._cluster = cluster
        self._clock = clock
        self._readers = min(MOST_PROCESSES, usable()) if processes is None else max(1, processes)
        self._least = least
        self.awaited: dict[Key, Awaited] = {}
        """For the group's thread alone."""
        self._asked: Awaited | None = None
        self._come: SimpleQueue[tuple[Awaited, Restored | None]] = SimpleQueue()
        self._lock = threading.Lock()
        """For the processes, which are started on two threads."""
        self._processes: list[_Process] = []
        self._begun = False

    def prepare(self) -> None:
        """Start the processes where all the logs are long: it takes as long as it takes to read 100,000 records.

        For a thread of its own: Kafka is asked. They end with the first assignment, where that gives them nothing.
        """
        if self._readers == 1:
            return
        try:
            if self._cluster.embedded:
                return
            keys = [(topic, number) for topic in self._topics for number in range(self._cluster.partitions(topic) or 0)]
            total = sum(self._cluster.ends(keys).values())
        except KafkaException as error:
            log.debug("it is not known how long the logs are", extra=fields(detail=error.args[0].str()))
            return
        with self._lock:
            if total >= self._least and not self._begun:
                self._processes = [self._start() for _ in range(self._readers - 1)]

    def _start(self) -> _Process:
        conf = {name: value for name, value in self._conf.items() if name != "logger"}
        about = {"version": __version__, "topics": self._topics, "conf": conf}
        return _Process(about, self._clock, self._come)

    def begin(self, keys: Sequence[Key], horizon_ms: int) -> None:
        """Have some of these restored, of which nothing is known: they are `awaited` from then on."""
        ends = self._ends(keys)
        shares = share(ends, self._readers) if sum(ends.values()) >= self._least else []
        with self._lock:
            self._begun = True
            self._processes = [process for process in self._processes if not process.over]
            for some in shares:
                jobs = [Job(*key, ends[key], horizon_ms) for key in some]
                self.awaited.update({each.job.key: each for each in self._process().take(jobs)})
            for process in self._processes:
                process.end_if_idle()
        if new := [key for some in shares for key in some]:
            log.info("restore is shared", extra=fields(partitions=names(new)))

    def _ends(self, keys: Sequence[Key]) -> dict[Key, int]:
        if self._readers == 1 or len(keys) < 2:  # noqa: PLR2004 - one is not shared
            return {}
        try:
            return {} if self._cluster.embedded else self._cluster.ends(keys, ENDS_SECONDS)
        except KafkaException as error:
            log.info("restore is not shared", extra=fields(detail=error.args[0].str()))
            return {}

    def _process(self) -> _Process:
        """One that has nothing to do, or a new one, or that which has least to do."""
        fewest = min((each for each in self._processes if not each.over), key=lambda each: each.busy, default=None)
        if fewest is None or (fewest.busy and len(self._processes) < self._readers - 1):
            fewest = self._start()
            self._processes.append(fewest)
        return fewest

    def come(self) -> Iterator[tuple[Key, Restored | None]]:
        """What is not awaited any more, and what it was restored to; None where it is to be read here."""
        for process in self._processes:
            process.end_if_silent()
        while not self._come.empty():
            awaited, restored = self._come.get()
            if self.awaited.get(awaited.job.key) is awaited:
                del self.awaited[awaited.job.key]
                yield awaited.job.key, restored

    def take_back(self) -> None:
        """Have a process that has several yet pass one on as far as it is, the one with most left.

        To be called when nothing is left to be read here.
        """
        if self._asked is not None and self.awaited.get(self._asked.job.key) is self._asked:
            return
        some = [each for each in self.awaited.values() if each.left > FEW and each.process.busy > 1]
        self._asked = max(some, key=lambda each: each.left, default=None)
        if self._asked is not None:
            self._asked.process.ask_for(self._asked)

    def drop(self, keys: Iterable[Key]) -> None:
        """These are not awaited any more."""
        for key in keys:
            awaited = self.awaited.pop(key, None)
            if awaited is not None:
                awaited.process.drop(awaited)
        if self.awaited:
            return
        with self._lock:
            self._begun = True
            for process in self._processes:
                process.end_if_idle()
        while not self._come.empty():
            self._come.get()  # it is large


def share(counts: Mapping[Key, int], readers: int) -> list[list[Key]]:
    """Which are not the first reader's but another's, so that all have about as much to read."""
    loads = [0] * readers
    shares: list[list[Key]] = [[] for _ in loads]
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        least = loads.index(min(loads))
        loads[least] += counts[key]
        shares[least].append(key)
    return [each for each in shares[1:] if each]


class _Process:
    """One process, and a thread that starts and hears it.

    Args:
        about: the first that it is told.
        clock: for how long nothing was heard.
        come: takes what it has restored, and None for what it has not.
    """

    def __init__(self, about: dict[str, Any], clock: Clock, come: SimpleQueue[tuple[Awaited, Restored | None]]) -> None:
        self._clock = clock
        self._come = come
        self._heard_at = clock.monotonic()
        self._lock = threading.Lock()
        self._untold: list[dict[str, Any]] = [about]
        self._orders: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._awaited: dict[Key, Awaited] = {}
        self.over = False
        """Whether it takes nothing more."""
        try:
            threading.Thread(target=self._main, name="restorer", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self.over = True

    @property
    def busy(self) -> int:
        """How many jobs it has."""
        return len(self._awaited)

    def take(self, jobs: Sequence[Job]) -> list[Awaited]:
        """Do these, too."""
        some = [Awaited(job, self) for job in jobs]
        with self._lock:
            if self.over:
                for each in some:
                    self._come.put((each, None))
            else:
                self.heard()
                self._awaited.update({each.job.key: each for each in some})
                self._tell({"take": jobs})
        return some

    def ask_for(self, awaited: Awaited) -> None:
        """Pass it on as far as it is."""
        with self._lock:
            if self._awaited.get(awaited.job.key) is awaited:
                self._tell({"give": awaited.job.key})

    def drop(self, awaited: Awaited) -> None:
        """Nobody wants it any more; nor the process, where that was all."""
        self.ask_for(awaited)  # it is not to be read on; what comes is not looked at
        with self._lock:
            self._awaited.pop(awaited.job.key, None)
        self.end_if_idle()

    def end_if_idle(self) -> None:
        """End it where it has nothing to do."""
        with self._lock:
            if not self._awaited:
                self._end()

    def end_if_silent(self) -> None:
        """End it where it hangs."""
        with self._lock:
            if self._awaited and self._clock.monotonic() - self._heard_at > SILENT_SECONDS:
                self._end()

    def heard(self) -> None:
        """It has said something."""
        self._heard_at = self._clock.monotonic()

    def _end(self) -> None:
        self.over = True
        if self._process is not None:
            self._process.kill()

    def _tell(self, *orders: dict[str, Any]) -> None:
        self._untold.extend(orders)
        if self._orders is not None:
            with suppress(OSError):  # it has ended, which is noticed where it is heard
                for each in self._untold:
                    self._orders.write(json.dumps(each).encode() + b"\n")
                self._orders.flush()
            self._untold.clear()

    def _main(self) -> None:
        reason = "it has ended, or has said nothing for long"
        try:
            self._run()
        except MemoryError:
            exhausted()
            reason = "there is no memory for what it has restored"
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it was: its partitions are read here
            reason = str(error) or type(error).__name__
        with self._lock:
            self.over = True
            left = list(self._awaited.values())
            self._awaited.clear()
        if left:
            about = fields(partitions=names(each.job.key for each in left), detail=reason)
            log.warning("not restored by another process, read here", extra=about)
            for each in left:
                self._come.put((each, None))

    def _run(self) -> None:
        """Hear one process until it has nothing more to do."""
        with subprocess.Popen(  # noqa: S603 - this very program
            # -P: what lies in the current directory is no module of ours; the path says where ours are
            [sys.executable, "-P", "-c", _PROGRAM],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the replica
        ) as process:
            try:
                with self._lock:
                    if self.over:
                        return
                    self._process, self._orders = process, cast("IO[bytes]", process.stdin)
                    # not among the arguments, which everybody can read: it has passwords
                    self._tell()
                self._hear(_Heard(cast("IO[bytes]", process.stdout), self))
            finally:
                with self._lock:
                    self._process = self._orders = None
                process.kill()

    def _hear(self, reports: _Heard) -> None:
        while not self.over:
            report: Report = pickle.load(reports)  # noqa: S301 - from this very program
            if isinstance(report, Failed):
                raise RestoreError(report.reason)
            with self._lock:
                if isinstance(report, Progress):
                    for key, read_to, pending in report.jobs:
                        if key in self._awaited:
                            self._awaited[key].read_to, self._awaited[key].pending = read_to, pending
                elif (awaited := self._awaited.get(report.job.key)) is not None and awaited.job == report.job:
                    del self._awaited[report.job.key]
                    self._come.put((awaited, report))
                    self.over = not self._awaited


class _Heard:
    """What a process says, piece by piece; between two of them other threads run."""

    def __init__(self, source: IO[bytes], process: _Process) -> None:
        self._source = source
        self._process = process

    def read(self, count: int) -> bytes:
        """So many bytes."""
        self._process.heard()
        return self._source.read(count)

    def readline(self) -> bytes:
        """One line."""
        self._process.heard()
        return self._source.readline()
