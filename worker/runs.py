"""From a Kafka message to a run: the job, which run and attempt it is, and when it was due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scheduler import wire
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.headers import read_headers
from scheduler.instants import LATEST_MS, epoch_ms, parse_instant
from scheduler.job import Job
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from scheduler.schedule import Header


class Source(NamedTuple):
    """The place of a message."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """`topic-partition@offset`."""
        return f"{self.topic}-{self.partition}@{self.offset}"


class Suspicion:
    """How many more runs of a partition are to be noted before they begin; to be used under one lock."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self) -> bool:
        """Take one off; tell whether there was one."""
        if not self.left:
            return False
        self.left -= 1
        return True


@dataclass(slots=True, eq=False)  # not frozen: that makes a new one three times as dear
class Run:
    """One attempt to make, equal only to itself. The job has its run id and intended start filled in."""

    source: Source
    job: Job
    run_id: str
    intended_start: str
    """When the first attempt was due, RFC 3339: the same for every attempt."""
    due_ms: int
    """When this attempt was due."""
    headers: Sequence[Header] = ()
    """The customer's; they travel with a retry and a dead letter."""
    lost: int = 0
    """How many attempts at this message were lost with their workers."""
    given_up: bool = False
    """Too many were lost: it is not to be begun again."""
    careful: bool = False
    """To be noted as begun before it is: an earlier worker has begun it, or nobody may begin it twice."""
    suspicion: Suspicion | None = None
    """An earlier worker may have begun it: the first such runs are noted before they begin."""
    size: int = 0
    """Bytes of its message's value."""

    def log_fields(self) -> dict[str, object]:
        """What every event of the attempt is told with."""
        return {
            "cluster": self.job.cluster,
            "job": self.job.job,
            "id": self.job.id,
            "run_id": self.run_id,
            "attempt": self.job.attempt,
            "max_attempts": self.job.max_attempts,
        }

    @property
    def lane(self) -> str:
        """Whose turn it takes."""
        return self.job.id


@dataclass(frozen=True, slots=True, eq=False)
class Poison:
    """A message that is not a job, as it came, and why."""

    source: Source
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp_ms: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Started:
    """A run that is about to begin, and that nobody may begin a second time."""

    run: Run
    at_ms: int


def read(message: Message, cluster: str, accept: Callable[[Job], Job] = lambda job: job) -> Run | Poison:
    """Read a message of the cluster's topic; never raises for what it holds.

    The cluster is the topic's: a job that names another one was sent here, and is retried here.

    Args:
        message: as it was consumed.
        cluster: whose topic it came from.
        accept: fills in what the job leaves to this worker, or raises InputError.
    """
    source = Source(message.topic() or "", _whole(message.partition()), _whole(message.offset()))
    # a producer may state any timestamp, also none
    timestamp_ms = min(max(0, message.timestamp()[1]), LATEST_MS)
    value = _bytes(message.value())
    key = _bytes(message.key())
    headers: list[Header] = []
    try:
        # once only: a second call on a message whose header names are not UTF-8 crashes the process
        headers = _headers(message)
        return _run(source, value, headers, timestamp_ms, cluster, accept)
    except InputError as error:
        return Poison(source, key, value, headers, timestamp_ms, str(error))


def _run(
    source: Source,
    value: bytes | None,
    headers: list[Header],
    timestamp_ms: int,
    cluster: str,
    accept: Callable[[Job], Job],
) -> Run:
    if value is None:
        raise InputError("the message has no value; a job is JSON")
    job = accept(Job.from_json(value))
    reported = dict(headers) if headers else {}
    due_ms = _instant(reported[wire.EPOCH]) if wire.EPOCH in reported else timestamp_ms
    run_id = job.run_id or display(reported.get(wire.FIRE_ID)) or str(source)
    if job.intended_start is not None and parse_instant(job.intended_start) is None:
        raise InputError(f"intended_start: {job.intended_start[:40]!r} is not RFC 3339 such as 2030-01-01T00:00:00Z")
    intended_start = job.intended_start or rfc3339(due_ms)
    # written into the job that was just read: a copy would be a third of what reading it costs
    job.fill_in({"cluster": cluster, "run_id": run_id, "intended_start": intended_start})
    customer = [header for header in headers if not header[0].startswith(wire.PREFIX)] if headers else ()
    return Run(source, job, run_id, intended_start, due_ms, customer, size=len(value))


def _headers(message: Message) -> list[Header]:
    try:
        return read_headers(message)
    except UnicodeDecodeError as error:
        raise InputError(f"a header's name is not UTF-8: {error}") from None


def _instant(raw: bytes | None) -> int:
    text = display(raw)
    due_ms = epoch_ms(text)
    if due_ms is None:
        raise InputError(f"{wire.EPOCH}: {text[:40]!r} is not Unix seconds such as 1893456000 or 1893456000.250")
    return due_ms


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw


def _whole(number: int | None) -> int:
    return -1 if number is None else number
