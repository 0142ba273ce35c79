"""One run: customers write, a reader reads, faults happen one after the other; then the judge is asked."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded, so that any run can be repeated
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from dev.kafka_distribution import LocalKafkaError
from scheduler.audit.journal import Journal
from scheduler.audit.recorder import Recorder
from scheduler.clock import Deadline, rfc3339
from tests.support.chaos.cluster import NotInTimeError, clock, never, wait_until
from tests.support.chaos.faults import NotStruckError
from tests.support.chaos.replica_faults import REPLICAS
from tests.support.chaos.verdict import judged
from tests.support.chaos.watch import Watch
from tests.support.chaos.workload import LAST_DUE_MS, Writer, timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scheduler.audit.verdict import Verdict
    from tests.support.chaos.cluster import Cluster
    from tests.support.chaos.faults import Fault

RATE = 50.0
"""One-shots a second: light, for the faults are what is tried, and enough for each partition to fire all the time."""
RECOVERY_SECONDS = 150.0
"""Then something is broken for good. Brokers that are frozen for long, on a busy machine, have taken a third of it."""
WARM_SECONDS = 2.0
PAUSE_SECONDS = (0.2, 1.5)
END_SECONDS = 120.0


@dataclass
class Happened:
    """A fault, as it stands in the log."""

    seed: int
    name: str
    target: str
    began: str
    lasted_seconds: float
    recovery_ms: int | None
    """Until every partition had fired something that was due after it; None where that has not happened in time."""


@dataclass
class Report:
    """What a run has come to."""

    seed: int
    faults: list[Happened] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What is wrong beside the judge's: not recovered, a replica that ended by itself."""
    verdict: Verdict | None = None
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings and self.verdict is not None and self.verdict.clean

    def check(self) -> None:
        """Return if nothing is wrong.

        Raises:
            AssertionError: something is; all of it.
        """
        if not self.clean:
            said = [self.verdict.summary, *self.verdict.lines()] if self.verdict else ["it was never judged"]
            raise AssertionError("\n".join([f"seed {self.seed}:", *self.findings, *said]))


@dataclass(frozen=True)
class Size:
    """When a run is over: so many schedules at least, and so many seconds."""

    schedules: int
    seconds: float = 0.0
    rate: float = RATE


class Run:
    """Made for one run, on a cluster with topics that are still empty; replicas may run already."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        seed: int,
        faults: Iterator[Fault],
        size: Size,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._faults = faults
        self._size = size
        self._tell = tell
        self._dice = random.Random(f"pauses of {seed}")
        self._steps = timetable(random.Random(f"customers of {seed}"), size.rate)
        self._report = Report(seed)
        self._watch: Watch
        self.figures = "the replicas start"
        """How it stands, in words, for who looks on."""

    def play(self) -> Report:
        """All of it."""
        started = clock.monotonic()
        ends = Deadline(clock, self._size.seconds)
        cluster, names = self._cluster, self._cluster.names
        conf = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
        journal_path = self._folder / "journal.jsonl"
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(journal_path))
            recorder = stack.enter_context(Recorder(conf, names.topics, clock, self._folder / "recording"))
            log = stack.enter_context((self._folder / "faults.jsonl").open("a", encoding="utf-8"))
            self._watch = Watch(recorder, names)
            while len(cluster.fleet.running) < REPLICAS:
                cluster.fleet.start()
            cluster.wait_until_owned()
            writer = Writer(cluster, self._steps, journal)
            writer.start()
            stack.callback(writer.stop)
            clock.wait(never, WARM_SECONDS)  # the first schedules fall due
            for fault in self._faults:
                writer.check()
                happened = self._strike(fault)
                if happened is not None:
                    self._report.faults.append(happened)
                    log.write(json.dumps(asdict(happened)) + "\n")
                    log.flush()
                if self._size.seconds and ends.passed:
                    break
            wait_until(
                lambda: len(writer.keys) >= self._size.schedules,
                lambda: f"{self._size.schedules} schedules are written, {len(writer.keys)} so far",
                self._size.schedules / self._size.rate + RECOVERY_SECONDS,
            )
            self._tell(f"{len(writer.keys)} schedules are written")
            writer.stop()
            self._quiesce()
            cluster.fleet.stop()
            self._hear("at the end")
            journal.close()
            self._report.verdict = judged(cluster, journal_path, recorder)
        self._report.seconds = clock.monotonic() - started
        return self._report

    def _strike(self, fault: Fault) -> Happened | None:
        """Let it happen, undo it, and wait until all is as before."""
        cluster = self._cluster
        before_ms = clock.now_ms()
        try:
            fault.start(cluster)
        except NotStruckError as reason:
            self._tell(f"{fault.name}: did not happen: {reason}")
            return None
        struck_ms = clock.now_ms()
        self._tell(f"{fault.name}: {fault.target}")
        clock.wait(never, fault.lasts)
        fault.heal(cluster)
        healed_ms = clock.now_ms()
        lasted = round((healed_ms - before_ms) / 1000, 1)
        happened = Happened(self._report.seed, fault.name, fault.target, rfc3339(before_ms), lasted, None)
        try:
            wait_until(self._fires_since(healed_ms), lambda: self._stuck(healed_ms), RECOVERY_SECONDS)
            happened.recovery_ms = self._watch.recovery_ms(healed_ms if fault.outage else struck_ms)
            cluster.wait_until_in_sync()
            cluster.wait_until_owned()
        except NotInTimeError as error:
            self._find(f"after {fault.name} ({fault.target}): {error}")
        else:
            calm_seconds = (clock.now_ms() - healed_ms) / 1000
            self._tell(f"    recovered in {happened.recovery_ms / 1000:.1f} s, calm {calm_seconds:.1f} s after its end")
        cluster.fleet.look()
        self._hear(f"after {fault.name} ({fault.target})")
        while len(cluster.fleet.running) < REPLICAS:
            cluster.fleet.start()
        clock.wait(never, self._dice.uniform(*PAUSE_SECONDS))
        return happened

    def _hear(self, when: str) -> None:
        """Take over what the fleet has found."""
        for finding in self._cluster.fleet.findings:
            self._find(f"{when}: {finding}")
        self._cluster.fleet.findings.clear()

    def _look(self) -> None:
        self._watch.look()
        faults = f"{len(self._report.faults)} faults, {len(self._report.findings)} findings"
        self.figures = f"{len(self._watch.firings)} fired, {self._watch.unended()} in force, {faults}"

    def _fires_since(self, since_ms: int) -> Callable[[], bool]:
        def fires() -> bool:
            self._look()
            return not self._watch.silent(since_ms)

        return fires

    def _stuck(self, since_ms: int) -> str:
        standing = {member.name: sorted(member.replica.partitions()) for member in self._cluster.fleet.running}
        return f"partitions {self._watch.silent(since_ms)} fire again; replicas fire in {standing}"

    def _quiesce(self) -> None:
        """Wait until whatever was written has ended, then let the replicas stop in order."""

        def ended() -> bool:
            self._look()
            return self._watch.unended() == 0

        try:
            wait_until(ended, lambda: f"{self._watch.unended()} schedules have ended", END_SECONDS + LAST_DUE_MS / 1000)
        except NotInTimeError as error:
            self._find(str(error))
        try:
            self._cluster.kafka.check()
        except LocalKafkaError as error:
            self._find(str(error))

    def _find(self, finding: str) -> None:
        self._tell(f"FINDING: {finding}")
        self._report.findings.append(finding)
