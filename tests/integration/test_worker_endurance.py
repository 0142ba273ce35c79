"""A worker that is given much, output or jobs: its memory, descriptors and processes stay what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from tests.support.schedules import wait_until
from tests.support.workers import PARTITIONS, Bench, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Broker, Topics

MB = 10**6
GB = 10**9
KEPT = 64 * 1024
"""Bytes of a command's output that its result keeps: half of them its beginning, half its end."""
MUCH_SECONDS = 100.0
A_FEW = 4


@pytest.fixture
def bench(broker: Broker, topics: Topics) -> Iterator[Bench]:
    made = Bench(broker, topics)
    yield made
    made.close()


@dataclass(frozen=True)
class Held:
    """What a worker holds, and what its guardian holds."""

    memory: list[int]
    descriptors: list[int]
    threads: list[int]

    @classmethod
    def by(cls, worker: WorkerProcess) -> Self:
        processes = [psutil.Process(worker.pid), guardian_of(worker)]
        return cls(
            [process.memory_info().rss for process in processes],
            [process.num_fds() for process in processes],
            [process.num_threads() for process in processes],
        )

    def grown_since(self, before: Held) -> int:
        """By how many bytes the one that has grown more has grown."""
        return max(now - then for now, then in zip(self.memory, before.memory, strict=True))


def guardian_of(worker: WorkerProcess) -> psutil.Process:
    (guardian,) = psutil.Process(worker.pid).children()
    return guardian


def watched(bench: Bench, command: str) -> tuple[dict[str, Any], int]:
    """The result of a command, and by how many bytes its worker or the guardian has grown at most."""
    worker = bench.ready_worker()
    bench.send("echo warm")
    bench.read_results(1)
    before = Held.by(worker)
    growth = [0]

    def ended() -> bool:
        growth.append(Held.by(worker).grown_since(before))
        return len(worker.all("run finished")) == 2

    bench.send(command)
    wait_until(ended, "the command has ended", MUCH_SECONDS)
    _, result = bench.read_results(2)
    growth.append(Held.by(worker).grown_since(before))
    return result, max(growth)


def test_a_gigabyte_of_output_takes_no_memory_and_its_beginning_and_end_are_kept(bench: Bench) -> None:
    line = "0123456789" * 10

    result, growth = watched(bench, f"echo first; yes {line} | head -c {GB}; echo; echo last; exit 3")

    assert growth < 50 * MB
    assert (result["exit"], result["error"]) == ("exit 3", "exit 3: last")
    size = GB + len("first\n") + len("\nlast\n")
    assert result["output_bytes"] == size
    head, mark, tail = result["output"].partition(f"\n[... {size - KEPT} bytes left out ...]\n")
    assert mark, "it is told how much is left out"
    assert len(head) + len(tail) == KEPT
    assert head.startswith(f"first\n{line}\n{line}\n")
    assert tail.endswith(f"\n{line}\n{line[: GB % (len(line) + 1)]}\nlast\n")


def test_a_line_without_an_end_and_bytes_that_are_no_text_take_no_memory_either(bench: Bench) -> None:
    no_text = r"\377\376\303caf\351\0\n"
    commands = [
        f"head -c {10 * MB} /dev/zero | tr '\\0' x",
        f"head -c {20 * MB} /dev/urandom",
        f"head -c {10 * MB} /dev/zero | tr '\\0' y",
        f"printf '{no_text}'",
    ]

    result, growth = watched(bench, "; ".join(commands))

    assert growth < 50 * MB
    assert (result["outcome"], result["output_bytes"]) == ("succeeded", 40 * MB + 9)
    head, _, tail = result["output"].partition("\n[... ")
    assert set(head) == {"x"}
    assert tail.endswith("yyy\\xff\\xfe\\xc3caf\\xe9\x00\n")


def test_thousands_of_short_jobs_leave_no_zombie_no_descriptor_no_thread_and_no_memory(bench: Bench) -> None:
    kinds: list[tuple[Any, dict[str, Any]]] = [
        ("true", {}),
        (["echo", "said"], {}),
        ("cat", {"stdin": "said"}),
        ("cat", {}),
        ("exit 3", {"max_attempts": 2}),
        ("kill -9 $$", {}),
        (["/does/not/exist"], {}),
    ]
    warm, jobs = 700, 2_100
    worker = bench.worker("--slots", "8", LOG_LEVEL="warning")

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            command, more = kinds[number % len(kinds)]
            bench.put(command, partition=number % PARTITIONS, name=f"job-{number}", **more)
        bench.flush()
        wait_until(lambda: sum(bench.committed(p) for p in range(PARTITIONS)) == last, "all are done", MUCH_SECONDS)

    run(0, warm)
    before = Held.by(worker)

    run(warm, warm + jobs)

    wait_until(lambda: not guardian_of(worker).children(), "every process is reaped")
    after = Held.by(worker)
    assert after.threads == before.threads
    # a leak would be hundreds of each; the Kafka client may have opened a connection meanwhile
    assert max(now - then for now, then in zip(after.descriptors, before.descriptors, strict=True)) <= A_FEW
    assert after.grown_since(before) < 15 * MB
    assert len(bench.read_results(warm + jobs)) == warm + jobs
