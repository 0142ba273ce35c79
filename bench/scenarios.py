"""The scenarios about firing: what is asked of a contender, and the figures that come of it."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.figures import Figure
from bench.installation import OURS, Installation
from bench.load import beside, due_times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bench.load import Beside

LEAD_SECONDS = 3.0
BARE_LEAD_SECONDS = 6.0
"""Until the bare client has started, and has something due."""
WRITTEN_PER_SECOND = 15_000
"""Schedules that any machine writes in time; those that are due at known times are all written before."""
SETTLE_SECONDS = 60.0
QUIET_SECONDS = 1.0
WARM = 3_000
"""Schedules that a contender fires before it counts, 1,000 at each whole second: targets, connections, the path of a
transaction; and the broker's files. The second write or so to a new log is the first to its two indexes, which takes
up to 4 ms each where Linux reads 8 MB ahead: with 24 logs, whatever fires first would come 200 ms late."""
BARE = "bare client, "


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; the names of the figures say it, so that those of two sizes never mix."""

    burst: int = 100_000
    pending: int = 1_000_000
    many: int = 10_000_000
    seconds: int = 10
    """Of the scenarios with a rate."""
    fast: int = 10_000
    fast_seconds: int = 60
    entries: int = 10_000
    idle_seconds: float = 20.0
    warm_seconds: int = 60


SMALL = Sizes(2_000, 20_000, 40_000, 2, 2_000, 3, 200, 2.0, 1)
"""Whether everything works, in some minutes."""


class Bench(NamedTuple):
    """Where it is measured."""

    servers: str
    broker: Sequence[int]
    """Its process ids, where it runs on this machine."""
    peer: tuple[str, ...] | None
    sizes: Sizes

    def installation(self, partitions: int = 8) -> Installation:
        """New topics."""
        return Installation(self.servers, partitions=partitions, broker=self.broker)


class Lateness(NamedTuple):
    """Of every firing of a run, and what it took."""

    ms: list[float]
    cores: dict[str, float]
    cpu_us: float
    """Of the replica, for each firing."""

    def percentile(self, share: float) -> float:
        """So many of a hundred were not later."""
        return self.ms[min(len(self.ms) - 1, math.ceil(len(self.ms) * share) - 1)]

    def figures(self, group: str, who: str = "") -> list[Figure]:
        """As rows."""
        return [
            Figure(group, f"{who}lateness p50, ms", self.percentile(0.5)),
            Figure(group, f"{who}lateness p99, ms", self.percentile(0.99)),
            *(Figure(group, f"cores: {who or 'our '}{kind}", cores) for kind, cores in self.cores.items()),
            Figure(group, f"{who}CPU for each, µs", self.cpu_us),
        ]


def raw_rate(installation: Installation, count: int) -> tuple[float, dict[str, float]]:
    """Schedules per second whose three records the bare client writes, until a reader has them; CPU µs for each."""
    names = (installation.topic, installation.target, installation.history)
    servers = installation.settings.bootstrap_servers
    with beside("raw", servers, *names, count, installation.partitions) as loop:
        reader = installation.reader()
        meter = installation.meter(loop=[loop.pid])
        start = time.time()
        loop.begin()
        end = reader.count(count)
        meter.stop()
        reader.close()
    return count / (end - start), _each(meter.used, count)


def burst(installation: Installation, command: tuple[str, ...], count: int) -> tuple[float, dict[str, float]]:
    """All due at one instant: fired per second until a reader has them all, and CPU µs for each."""
    with installation.replica(command) as replica:
        return drained(installation, count, [replica.pid])


def drained(installation: Installation, count: int, replicas: Sequence[int]) -> tuple[float, dict[str, float]]:
    """The same, by replicas that run."""
    reader = installation.reader()
    due_s = written_ahead(installation, count, lambda start: [start] * count) / 1000
    time.sleep(max(0.0, due_s - time.time()))
    meter = installation.meter(replica=replicas)
    end = reader.count(count)
    meter.stop()
    reader.close()
    return count / (end - due_s), _each(meter.used, count)


def written_ahead(installation: Installation, count: int, dues: Callable[[int], list[int]]) -> int:
    """Write `count` schedules before the first is due, at a whole second: peers may know no others. Tell when."""
    start_ms = math.ceil(time.time() + LEAD_SECONDS + count / WRITTEN_PER_SECOND) * 1000
    installation.schedule(dues(start_ms))
    if time.time() * 1000 > start_ms:
        raise SystemExit(f"writing {count:,} schedules took longer than until they were due: is the machine busy?")
    return start_ms


def lateness(
    installation: Installation, command: tuple[str, ...], count: int, dues: Callable[[int], list[int]]
) -> Lateness:
    """How late each comes to a reader, by a replica that is warm. `dues` makes `count` due times from a start."""
    with installation.replica(command) as replica:
        reader = installation.reader()
        # at whole seconds: peers may know no others
        written_ahead(installation, WARM, lambda start_ms: due_times(start_ms, WARM, 1_000, 1_000))
        reader.lateness_ms(WARM)
        start_ms = written_ahead(installation, count, dues)
        time.sleep(max(0.0, start_ms / 1000 - time.time()))
        meter = installation.meter(replica=[replica.pid])
        late = sorted(reader.lateness_ms(count))
        meter.stop()
        reader.nothing_more(QUIET_SECONDS)
        reader.close()
    return Lateness(late, meter.cores(), meter.used["replica"] / count * 1e6)


def bare_lateness(installation: Installation, count: int, rate: int, at_once: int) -> Lateness:
    """The same by the bare client, which has a producer for each partition and nothing to look up."""
    names = (installation.topic, installation.target, installation.history)
    servers, partitions, run = installation.settings.bootstrap_servers, installation.partitions, installation.run_id()
    with beside("in_time", servers, *names, partitions, count, rate, at_once, run) as loop:
        reader = installation.reader()
        meter = installation.meter(client=[loop.pid])
        loop.begin()
        late = sorted(reader.lateness_ms(count))
        meter.stop()
        reader.close()
    return Lateness(late, meter.cores(), meter.used["client"] / count * 1e6)


def in_turn(
    bench: Bench, installation: Installation, group: str, *, count: int, rate: int, at_once: int
) -> list[Figure]:
    """One round of the bare client, ours, and a peer where what is due is due at whole seconds."""

    def dues(start_ms: int) -> list[int]:
        return due_times(start_ms, count, rate, at_once)

    bare = bare_lateness(installation, count, rate, at_once)
    ours = lateness(installation, OURS, count, dues)
    figures = [*bare.figures(group, BARE), *ours.figures(group)]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        times = ours.percentile(share) / bare.percentile(share)
        figures.append(Figure(group, f"lateness {name}, to the bare client of its round", times))
    if bench.peer is not None and at_once == rate:
        own = bench.installation()
        figures += lateness(own, bench.peer, count, dues).figures(group, "peer, ")
        own.clear()
    return figures


def warm_up(installation: Installation, seconds: int, rate: int = 1_000, at_once: int = 1) -> None:
    """Have the broker do what it will be asked for, by the bare client and then by ours.

    A new one compiles its own code, for a minute altogether and again for each new shape of its work: what a replica
    reads takes half a core for five seconds after a minute of the bare client; of the first 30 whole seconds half take
    60 ms of the broker's processor, 40 of it for that, and 20 ms later on.
    """
    count = rate * seconds // 2
    bare_lateness(installation, count, rate, at_once)
    lateness(installation, OURS, count, lambda start_ms: due_times(start_ms, count, rate, at_once))


def warm(bootstrap_servers: str, seconds: int) -> None:
    """Have a broker whose topics are still to come end as many transactions as it will."""
    standing = Installation(bootstrap_servers)
    bare_lateness(standing, 1_000 * seconds, 1_000, 1)
    standing.clear()


def bursts(bench: Bench, installation: Installation) -> list[Figure]:
    """One round of raw loop, ours and the peer, in turn."""
    count = bench.sizes.burst
    group = f"{count:,} due at one instant"
    limit, loop_cpu = raw_rate(installation, count)
    rate, cpu = burst(installation, OURS, count)
    figures = [
        Figure(group, "raw loop, per second", limit),
        Figure(group, "fired per second", rate),
        Figure(group, "ratio to the raw loop of its round", rate / limit),
        *(Figure(group, f"raw loop: CPU of the {kind} for each, µs", us) for kind, us in loop_cpu.items()),
        *(Figure(group, f"CPU of the {kind} for each, µs", us) for kind, us in cpu.items()),
    ]
    if bench.peer is not None:
        # on topics of its own: what it leaves behind would be fired again by the next contender
        own = bench.installation()
        other, other_cpu = burst(own, bench.peer, count)
        own.clear()
        figures += [
            Figure(group, "peer, fired per second", other),
            Figure(group, "ours to the peer of its round", rate / other),
            *(Figure(group, f"peer: CPU of the {kind} for each, µs", us) for kind, us in other_cpu.items()),
        ]
    return figures


def whole_seconds(bench: Bench, installation: Installation) -> list[Figure]:
    """1,000 due at each of some whole seconds."""
    seconds = bench.sizes.seconds
    group = f"1,000 due at each of {seconds} whole seconds"
    return in_turn(bench, installation, group, count=1_000 * seconds, rate=1_000, at_once=1_000)


def spread(bench: Bench, installation: Installation, rate: int, seconds: int) -> list[Figure]:
    """So many a second, spread over milliseconds."""
    group = f"{rate:,}/s spread over milliseconds for {seconds} s"
    return in_turn(bench, installation, group, count=rate * seconds, rate=rate, at_once=1)


def firing_while_written(bench: Bench) -> list[Figure]:
    """1,000/s fire on time while 50,000 far schedules a second are written; by the bare client, then by ours."""
    seconds = bench.sizes.seconds
    rate = bench.sizes.fast * 5
    count = 1_000 * seconds
    group = f"1,000/s fire while {rate:,}/s are written"

    standing = bench.installation()
    with _written_at(standing, rate, seconds + BARE_LEAD_SECONDS) as writer:
        writer.begin()
        bare = bare_lateness(standing, count, 1_000, 1)
    standing.clear()

    # its replica is not to begin with what was written beside the bare client
    standing = bench.installation()
    with _written_at(standing, rate, seconds + LEAD_SECONDS) as writer:

        def dues(start: int) -> list[int]:
            writer.begin()
            return [start + n for n in range(count)]

        ours = lateness(standing, OURS, count, dues)
        wrote = writer.said()
    standing.clear()
    return [
        Figure(group, "written per second", wrote["count"] / wrote["seconds"]),
        *bare.figures(group, BARE),
        *ours.figures(group),
        Figure(group, "lateness p99, to the bare client of its round", ours.percentile(0.99) / bare.percentile(0.99)),
    ]


def _written_at(installation: Installation, rate: int, seconds: float) -> AbstractContextManager[Beside]:
    """Far schedules at that rate, by a process that is still to begin."""
    names = (installation.topic, installation.target)
    return beside("at_rate", installation.settings.bootstrap_servers, *names, rate, seconds)


def scale(bench: Bench) -> list[Figure]:
    """Bursts from 64 partitions, and by more replicas than one."""
    count = bench.sizes.burst
    group = f"{count:,} due at one instant, by partitions and replicas"
    figures = []
    rates: dict[tuple[int, int], float] = {}
    for partitions, replicas in ((8, 1), (64, 1), (8, 2), (64, 2), (64, 4), (64, 8)):
        installation = bench.installation(partitions)
        rates[partitions, replicas], cpu = burst_of_many(installation, replicas, count)
        name = f"{partitions} partitions, {replicas} replica{'s' * (replicas > 1)}"
        figures.append(Figure(group, f"{name}: per second", rates[partitions, replicas]))
        figures += [Figure(group, f"{name}: CPU of the {kind} for each, µs", us) for kind, us in cpu.items()]
        installation.clear()
    return [
        *figures,
        Figure(group, "64 partitions to 8, one replica", rates[64, 1] / rates[8, 1]),
        Figure(group, "two replicas to one, 8 partitions", rates[8, 2] / rates[8, 1]),
        Figure(group, "eight replicas to one, 64 partitions", rates[64, 8] / rates[64, 1]),
    ]


def burst_of_many(installation: Installation, replicas: int, count: int) -> tuple[float, dict[str, float]]:
    """A burst drained by several replicas that share the partitions and are restored."""
    with ExitStack() as running:
        fleet = [running.enter_context(installation.replica(ready=False)) for _ in range(replicas)]
        end = time.time() + SETTLE_SECONDS
        while True:
            shares = [len(replica.partitions()) for replica in fleet]
            if sum(shares) == installation.partitions and max(shares) - min(shares) <= 1:
                break
            if time.time() > end:
                raise SystemExit(f"{replicas} replicas have not shared the partitions: {shares}")
            time.sleep(0.1)
        installation.probe()
        return drained(installation, count, [replica.pid for replica in fleet])


def _each(used: dict[str, float], count: int) -> dict[str, float]:
    return {kind: seconds / count * 1e6 for kind, seconds in used.items()}
