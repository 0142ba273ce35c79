"""`make bench-workers`: short jobs through a worker, and the same commands in a bare spawn loop, in turn.

A job costs the machine what its process costs; what the worker adds is the job's record, its result and its offset in
a transaction, and two lines of log. The ratio of the two rates of one round says how much that is: on a processor that
neither the broker nor the reader has, and beside them on all of the machine's. The loop runs before the worker and
after it, as a machine that others share is not the same from one second to the next.

How soon a slot is used again is seen by the jobs themselves: each says what time it is, one after the other in one
slot, and in a loop that starts the next when the last has ended.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic_core import from_json

from bench.amounts import spread
from bench.processors import MEASURED, OTHERS, move, on
from bench.reader import Reader
from bench.scenarios import warm
from dev.local_kafka import LocalKafka
from scheduler.job import Job
from scheduler.runtime.cli import echo_json, echo_table
from scheduler.runtime.kafka import producer_conf
from scheduler.runtime.settings import Settings
from scheduler.topics import cluster_topic, dead_letter_topic, results_topic, schedules_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PARTITIONS = 8
STAMP = ["date", "+%s%N"]
STAMPS = 500
STAMPS_WARM = 100
WARM = 2_000
"""The first runs of a worker are not counted: it starts, and notes what an earlier worker may have begun."""


def spawn_loop(count: int, slots: int) -> tuple[float, float]:
    """One loop that has as many at once as there are slots, and waits for the oldest.

    Returns:
        Processes per second, and the CPU of loop and process for each in ms.
    """
    start, before = time.monotonic(), sum(os.times()[:4])
    running: list[subprocess.Popen[bytes]] = []
    for _ in range(count):
        if len(running) == slots:
            running.pop(0).wait()
        running.append(subprocess.Popen(["true"]))
    for process in running:
        process.wait()
    cpu = sum(os.times()[:4]) - before
    return count / (time.monotonic() - start), cpu / count * 1000


def spawn_threads(count: int, slots: int) -> float:
    """The same from as many threads as slots."""
    start = time.monotonic()
    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(lambda _: subprocess.Popen(["true"]).wait(), range(count)))
    return count / (time.monotonic() - start)


def stamps(count: int) -> list[int]:
    """When each of so many processes was, one after the other in a bare loop; Unix nanoseconds."""
    with tempfile.TemporaryFile() as said:
        for _ in range(count):
            subprocess.Popen(STAMP, stdout=said).wait()
        said.seek(0)
        return [int(line) for line in said]


def steps_ms(said: Iterable[int]) -> list[float]:
    """From one to the next, ascending."""
    return sorted((later - earlier) / 1e6 for earlier, later in pairwise(sorted(said)))


class Rate(NamedTuple):
    """What a worker does in a second, and what each run costs."""

    per_second: float
    """By the results, as a reader sees them."""
    own_cpu_ms: float
    """Of the worker and its guardian."""
    cpu_ms: float
    """With the commands."""


class Cluster:
    """A cluster's topics, with jobs in them that nobody has run yet.

    Args:
        bootstrap_servers: where the broker is.
        number: tells it from others of this run.
        processors: for its workers; all by default.
    """

    def __init__(self, bootstrap_servers: str, number: int, processors: set[int] | None = None) -> None:
        self._processors = processors or MEASURED | OTHERS
        self._settings = Settings.load(bootstrap_servers=bootstrap_servers)
        name = f"bench-{time.time_ns()}-{number}"
        specs = [
            cluster_topic(name),
            schedules_topic(f"{name}-schedules"),
            results_topic(f"{name}-results"),
            dead_letter_topic(f"{name}-dead-letters"),
        ]
        self._name, self._schedules, self._results, self._dead = (spec.name for spec in specs)
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        wanted = [NewTopic(spec.name, PARTITIONS, 1, config=spec.config) for spec in specs]
        for future in admin.create_topics(wanted).values():
            future.result()

    def rate(self, count: int, slots: int, handlers: str | None = None, **environment: str) -> Rate:
        """How fast a worker is.

        Args:
            count: how many are counted.
            slots: of the worker.
            handlers: `MODULE:NAME` of a registry with a handler `nothing`, to be called instead of commands.
            environment: more settings of the worker.
        """
        what: dict[str, Any] = {"handler": "nothing"} if handlers else {"command": ["true"]}
        registry = ["--handlers", handlers] if handlers else []
        self.put(count + WARM, [what])
        reader = self.reader()
        worker = self.worker("--slots", str(slots), *registry, **environment)
        try:
            (*_, (start, first)) = reader.arrivals(WARM)
            own, every = _cpu(worker.pid)
            (*_, (end, more)) = reader.arrivals(count + WARM - first)
            own_after, every_after = _cpu(worker.pid)
        finally:
            worker.terminate()
            worker.wait(30)
            reader.close()
        return Rate(more / (end - start), (own_after - own) / more * 1000, (every_after - every) / more * 1000)

    def stamps(self, count: int) -> list[int]:
        """When each of so many jobs was, in one slot, and all of them waiting from the beginning; Unix nanoseconds."""
        self.put(count, [{"command": STAMP}])
        reader = self.reader()
        worker = self.worker("--slots", "1")
        try:
            return [int(from_json(result)["output"]) for result in reader.values(count)]
        finally:
            worker.terminate()
            worker.wait(30)
            reader.close()

    def put(self, count: int, kinds: Sequence[Mapping[str, Any]], first: int = 0) -> None:
        """Put jobs into the topic: of each kind in turn, over all partitions."""
        producer = Producer(producer_conf(self._settings, "bench"))
        for number in range(first, first + count):
            job = Job(id=f"job-{number}", job="short", cluster=self._name, **kinds[number % len(kinds)])
            producer.produce(self._name, job.to_json(), partition=number % PARTITIONS)
        producer.flush()

    def reader(self) -> Reader:
        """Of the results, from now on."""
        return Reader(self._settings, self._results)

    def worker(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A worker on the cluster's topic."""
        with on(self._processors):
            return subprocess.Popen(
                [sys.executable, "-m", "worker", "--cluster", self._name, *arguments],
                env={
                    **os.environ,
                    "BOOTSTRAP_SERVERS": self._settings.bootstrap_servers,
                    "SCHEDULES_TOPICS": self._schedules,
                    "RESULTS_TOPIC": self._results,
                    "DEAD_LETTER_TOPIC": self._dead,
                    "METRICS_HTTP_ADDR": "off",
                    **environment,
                },
                stderr=subprocess.DEVNULL,
            )


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of the worker and its guardian, and the same with those of the commands that have ended."""
    process = psutil.Process(pid)
    own = every = 0.0
    for one in (process, *process.children()):
        try:
            if one == process or "guardian" in " ".join(one.cmdline()):
                used = one.cpu_times()
                own += used.user + used.system
                every += used.children_user + used.children_system
        except psutil.Error:
            continue
    return own, own + every


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[round((len(values) - 1) * share)]


def beside_the_broker(servers: str, number: int, jobs: int, slots: int) -> dict[str, float]:
    """The figures of one round in which broker and reader have the same processors and take their part."""
    before, cpu_before = spawn_loop(jobs, slots)
    rate = Cluster(servers, number).rate(jobs, slots)
    after, cpu_after = spawn_loop(jobs, slots)
    loop, loop_cpu = (before + after) / 2, (cpu_before + cpu_after) / 2
    threads = spawn_threads(jobs, slots)
    return {
        "bare loop, processes per second": loop,
        f"bare loop with {slots} threads, processes per second": threads,
        "worker, jobs per second": rate.per_second,
        "ratio to the bare loop of its round": rate.per_second / loop,
        "ratio to the loop with threads": rate.per_second / threads,
        "CPU of the worker for each, commands not counted, ms": rate.own_cpu_ms,
        "CPU of worker and command for each, ms": rate.cpu_ms,
        "CPU of bare loop and command for each, ms": loop_cpu,
        "CPU for each: the bare loop's to the worker's": loop_cpu / rate.cpu_ms,
    }


def alone(servers: str, number: int, jobs: int, slots: int) -> dict[str, float]:
    """The figures of one round in which the loop, and then the worker, has a processor of its own."""
    with on(MEASURED):
        before, _ = spawn_loop(jobs, slots)
    with on(OTHERS):
        rate = Cluster(servers, number, MEASURED).rate(jobs, slots)
    with on(MEASURED):
        after, _ = spawn_loop(jobs, slots)
        in_loop = steps_ms(stamps(STAMPS))
    loop = (before + after) / 2
    with on(OTHERS):
        # the first are those of a worker that is still starting
        in_slot = steps_ms(sorted(Cluster(servers, number, MEASURED).stamps(STAMPS + STAMPS_WARM))[STAMPS_WARM:])
    # the end of a job, and the time until the next looks at its clock, are in both
    usual = statistics.median(in_loop)
    return {
        "one processor: bare loop, processes per second": loop,
        "one processor: worker, jobs per second": rate.per_second,
        "one processor: ratio to the bare loop of its round": rate.per_second / loop,
        "one processor: CPU of the worker for each, commands not counted, ms": rate.own_cpu_ms,
        "one processor: bare loop, from one process to the next, p50, ms": usual,
        "one processor: bare loop, from one process to the next, p99, ms": _percentile(in_loop, 0.99),
        "one processor: slot reused after, p50, ms": _percentile(in_slot, 0.5) - usual,
        "one processor: slot reused after, p99, ms": _percentile(in_slot, 0.99) - usual,
    }


def measured(servers: str, broker: Sequence[int], number: int, jobs: int, slots: int) -> dict[str, float]:
    """All figures of one round.

    Args:
        servers: where the broker is.
        broker: its process ids, where it is on this machine.
        number: of the round.
        jobs: how many in a measurement.
        slots: how many at once.
    """
    figures = beside_the_broker(servers, number, jobs, slots)
    if OTHERS:
        move(broker, OTHERS)
        figures |= alone(servers, number, jobs, slots)
        move(broker, MEASURED | OTHERS)
    return figures


def show(rounds: Sequence[Mapping[str, float]], about: str, *, as_json: bool) -> None:
    """The figures of all rounds, for people or for `bench.report`."""
    figures = {name: [figures[name] for figures in rounds] for name in rounds[0]}
    machine = (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total // 2**30} GiB, {platform.platform()}, "
        f"Python {platform.python_version()}; broker on the same machine, {PARTITIONS} partitions, {about}"
    )
    if as_json:
        echo_json({"machine": machine, "figures": figures})
    else:
        echo_table(("figure", "median (range)"), [(name, spread(values)) for name, values in figures.items()])
        click.echo("\n" + machine)


@click.command()
@click.option("--rounds", default=9, show_default=True, help="Of each in turn; the median counts.")
@click.option("--jobs", default=3_000, show_default=True, help="Short jobs in a round.")
@click.option("--slots", default=8, show_default=True, help="Of the worker, and of the loop.")
@click.option("--warm-seconds", default=60, show_default=True, help="The broker ends transactions for so long first.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(*, rounds: int, jobs: int, slots: int, warm_seconds: int, as_json: bool) -> None:
    """Measure how many commands that do nothing a worker runs, against a bare loop that spawns them."""
    given = os.environ.get("BOOTSTRAP_SERVERS")
    found = []
    with ExitStack() as until_the_end:
        broker: list[int] = []
        if given:
            servers = given
        else:
            kafka = until_the_end.enter_context(LocalKafka())
            servers, broker = kafka.bootstrap_servers, list(kafka.pids.values())
        warm(servers, warm_seconds)
        Cluster(servers, rounds).rate(jobs, slots)
        for number in range(rounds):
            click.echo(f"round {number + 1} of {rounds}", err=True)
            found.append(measured(servers, broker, number, jobs, slots))
    show(found, f"{slots} slots, {jobs:,} times `true`", as_json=as_json)


if __name__ == "__main__":
    main()
