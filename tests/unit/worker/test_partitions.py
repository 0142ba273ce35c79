"""What a partition keeps until it is booked is bounded: by number and by size, whatever has ended already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler.clock import SystemClock
from scheduler.job import Job
from worker.offsets import Position
from worker.outcome import Ended, Outcome
from worker.output import Output
from worker.partitions import BOOKED_BYTES, PAUSE_AT, PAUSE_AT_BYTES, Partition
from worker.runner import Finished

if TYPE_CHECKING:
    from worker.runs import Run

SAID = "x" * 64 * 1024


class Message:
    """What the client hands out, as far as a partition needs it."""

    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def topic(self) -> str:
        return "cluster-a"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_893_456_000_000

    def key(self) -> bytes:
        return b"backup"

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None


class Stage:
    def __init__(self) -> None:
        self.partition = Partition("cluster-a", lambda job: job, SystemClock())
        self.partition.restore(Position(0))
        self.partition.booked([], [])
        self.partition.start = None
        self.partition.paused = False
        self._offset = 0

    def receive(self, value: bytes) -> Run | None:
        self._offset += 1
        return self.partition.receive(Message(self._offset - 1, value), lambda: 0)  # type: ignore[arg-type]

    def run(self, *, said: str = "", stopped: bool = False) -> None:
        """One of a job's runs, from its message to its end."""
        run = self.receive(Job(id="backup", job="Backup", cluster="cluster-a", command="true").to_json())
        assert run is not None
        ended = Ended(Outcome.SUCCEEDED, "exit 0", Output(said, "", len(said)), 0, stopped=stopped)
        self.partition.ended(Finished(run, ended, 0, 0, None))

    def book(self) -> int:
        """Put into the books what one transaction takes; how many that were."""
        entries, _ = self.partition.booking()
        self.partition.booked(entries, [])
        return len(entries)

    def book_all(self) -> list[int]:
        """How many each transaction took."""
        counts = []
        while self.partition.finished and (count := self.book()):
            counts.append(count)
        return counts


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_runs_that_ended_count_until_they_are_booked(stage: Stage) -> None:
    for _ in range(PAUSE_AT):
        stage.run()
    assert not stage.partition.wants_pause()

    stage.run()

    assert stage.partition.wants_pause()
    stage.book_all()
    assert not stage.partition.wants_pause()


def test_what_ended_runs_have_said_counts_until_it_is_booked(stage: Stage) -> None:
    for _ in range(PAUSE_AT_BYTES // len(SAID)):
        stage.run(said=SAID)

    assert stage.partition.wants_pause()
    stage.book_all()
    assert not stage.partition.wants_pause()
    assert stage.partition.unbooked_bytes == 0


def test_messages_that_are_no_jobs_count_until_they_are_booked(stage: Stage) -> None:
    for _ in range(PAUSE_AT_BYTES // len(SAID) + 1):
        assert stage.receive(SAID.encode()) is None

    assert stage.partition.wants_pause()
    stage.book_all()
    assert not stage.partition.wants_pause()


def test_runs_that_are_given_back_leave_nothing_behind(stage: Stage) -> None:
    for _ in range(PAUSE_AT_BYTES // len(SAID) + 1):
        stage.run(said=SAID, stopped=True)

    assert stage.partition.unbooked_bytes == 0
    assert not stage.partition.wants_pause()


def test_one_transaction_takes_a_bounded_part_and_the_next_the_rest(stage: Stage) -> None:
    runs = 3 * BOOKED_BYTES // len(SAID)
    for _ in range(runs):
        stage.run(said=SAID)

    counts = stage.book_all()

    assert sum(counts) == runs
    assert max(counts) <= BOOKED_BYTES // len(SAID)
    assert len(counts) <= 5


def test_an_entry_larger_than_a_transaction_should_be_has_one_of_its_own(stage: Stage) -> None:
    stage.receive(b"x" * (BOOKED_BYTES + 1))
    stage.run()

    assert stage.book_all() == [1, 1]
