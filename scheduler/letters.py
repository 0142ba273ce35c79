"""Dead letters as a person deals with them: what each is, and what is written to run it again. Pure.

A letter's id is where it stands in the dead-letter topic, `<partition>-<offset>`. Having dealt with one is a record
too, a **marker**: key = the letter's id, no value, the headers `dead-letter-settles` (that id) and
`dead-letter-action`. It is written in one transaction with whatever runs the letter again. A letter with a marker is
not listed any more, and cannot be run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from scheduler import wire
from scheduler.clock import rfc3339
from scheduler.errors import InputError
from scheduler.headers import read_headers
from scheduler.job import Job
from scheduler.records import Write
from scheduler.schedule import display
from scheduler.topics import RETRY_SUFFIX, retry_topic_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from confluent_kafka import Message

    from scheduler.schedule import Header

DEAD_LETTER_PREFIX = "dead-letter-"
DEAD_LETTER_REASON = "dead-letter-reason"
DEAD_LETTER_FIRST_FAILURE = "dead-letter-first-failure"
DEAD_LETTER_LAST_FAILURE = "dead-letter-last-failure"
DEAD_LETTER_SOURCE = "dead-letter-source"
"""`<topic>-<partition>@<offset>` of the message that was given up."""
DEAD_LETTER_OUTPUT = "dead-letter-output"
"""The end of what the last attempt said."""

SETTLES = "dead-letter-settles"
ACTION = "dead-letter-action"


class Kind(StrEnum):
    """What was given up."""

    JOB = "job"
    """No attempt is left."""
    MESSAGE = "message"
    """It came to a worker and is no job."""
    SCHEDULE = "schedule"
    """The scheduler could not deliver it."""


class Action(StrEnum):
    """How a letter was dealt with."""

    REDRIVEN = "redriven"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    id: str
    partition: int
    at_ms: int
    kind: Kind
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    job: Job | None

    def said(self, name: str) -> str | None:
        """What a header says."""
        return next((display(raw) for header, raw in reversed(self.headers) if header == name), None)

    @property
    def name(self) -> str:
        """The job's name, or the key of what is none."""
        return self.job.job if self.job is not None else display(self.key)

    @property
    def cluster(self) -> str:
        """Where it was to run or to be delivered."""
        if self.job is not None:
            return self.job.cluster
        if self.kind is Kind.SCHEDULE:
            return self.said(wire.TARGET_TOPIC) or ""
        return self._source_topic().removesuffix(RETRY_SUFFIX)

    @property
    def reason(self) -> str:
        """Why it was given up."""
        if self.kind is Kind.SCHEDULE:
            return " ".join(filter(None, (self.said(wire.REASON), self.said(wire.REASON_DETAIL))))
        return self.said(DEAD_LETTER_REASON) or ""

    def summary(self) -> dict[str, Any]:
        """In a list."""
        return {
            "id": self.id,
            "time": rfc3339(self.at_ms),
            "kind": self.kind.value,
            "name": self.name,
            "cluster": self.cluster,
            "run_id": self.job.run_id if self.job is not None else self.said(wire.FIRE_ID),
            "attempts": None if self.job is None else self.job.attempt,
            "reason": self.reason,
        }

    def everything(self) -> dict[str, Any]:
        """All that is known of it."""
        return {
            **self.summary(),
            "first_failure": self.said(DEAD_LETTER_FIRST_FAILURE),
            "last_failure": self.said(DEAD_LETTER_LAST_FAILURE),
            "source": self.said(DEAD_LETTER_SOURCE),
            "output_tail": self.said(DEAD_LETTER_OUTPUT),
            "errors": [] if self.job is None else [error.model_dump() for error in self.job.errors],
            "headers": {name: display(raw) for name, raw in self.headers if not name.startswith(DEAD_LETTER_PREFIX)},
            "value": None if self.value is None else display(self.value),
        }

    def again(self, *, now_ms: int, schedules_topics: Sequence[str]) -> Write:
        """What runs it again: a job from its first attempt on under the same run id, anything else as it was.

        Raises:
            InputError: that cannot be.
        """
        if self.value is None:
            raise InputError(
                f"{self.id}: its value was too large to be kept; it may still be at {self.said(DEAD_LETTER_SOURCE)}"
            )
        match self.kind:
            case Kind.JOB if self.job is not None:
                job = self.job.model_copy(update={"attempt": 1, "errors": ()})
                return Write(
                    retry_topic_name(job.cluster), job.id.encode(), job.to_json(), self._headers(DEAD_LETTER_PREFIX)
                )
            case Kind.SCHEDULE:
                return self._schedule(now_ms, schedules_topics)
            case _:
                return Write(self._source_topic(), self.key, self.value, self._headers(DEAD_LETTER_PREFIX))

    def marker(self, topic: str, action: Action) -> Write:
        """That it has been dealt with."""
        headers: list[Header] = [(SETTLES, self.id.encode()), (ACTION, action.value.encode())]
        return Write(topic, self.id.encode(), None, headers, self.partition)

    def _schedule(self, now_ms: int, schedules_topics: Sequence[str]) -> Write:
        # under a key of its own: under the old one a newer version may be in force
        partition, key = self.said(wire.TARGET_PARTITION), self._raw(wire.TARGET_KEY)
        headers = wire.schedule_headers(
            self.said(wire.TARGET_TOPIC) or "",
            due_ms=now_ms,
            target_key=key,
            target_partition=None if partition is None else int(partition),
            target_tombstone=self.said(wire.TARGET_TOMBSTONE) == "true",
            headers=self._headers(wire.PREFIX),
        )
        came_from = self.said(wire.TOPIC)
        topic = came_from if came_from is not None and came_from in schedules_topics else schedules_topics[0]
        schedule_id = f"{self.said(wire.FIRE_ID) or self.id}#redriven"
        return Write(topic, schedule_id.encode(), self.value, headers)

    def _raw(self, name: str) -> bytes | None:
        return next((raw for header, raw in reversed(self.headers) if header == name), None)

    def _headers(self, without: str) -> list[Header]:
        return [header for header in self.headers if not header[0].startswith(without)]

    def _source_topic(self) -> str:
        return (self.said(DEAD_LETTER_SOURCE) or "").rpartition("@")[0].rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; None lets all through."""

    ids: frozenset[str] | None = None
    name: str | None = None
    cluster: str | None = None
    since_ms: int | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            (self.ids is None or letter.id in self.ids)
            and (self.name is None or letter.name == self.name)
            and (self.cluster is None or letter.cluster == self.cluster)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """That a letter was dealt with."""

    letter_id: str
    action: str
    at_ms: int


def read_letter(message: Message) -> Letter | Marker:
    """What a record of the dead-letter topic is."""
    try:
        headers: list[Header] = read_headers(message)
    except UnicodeDecodeError:
        headers = []  # a poison message keeps its own; they cannot be shown
    names = dict(headers)
    if SETTLES in names:
        return Marker(display(names[SETTLES]), display(names.get(ACTION)), message.timestamp()[1])
    return _letter(message, headers)


def open_letters(messages: Iterable[Message]) -> list[Letter]:
    """The letters that nobody has dealt with, oldest first, out of all records of the topic."""
    letters: dict[str, Letter] = {}
    settled: set[str] = set()
    for found in map(read_letter, messages):
        if isinstance(found, Marker):
            settled.add(found.letter_id)
        else:
            letters[found.id] = found
    return sorted((it for it in letters.values() if it.id not in settled), key=lambda it: (it.at_ms, it.id))


def _letter(message: Message, headers: list[Header]) -> Letter:
    names = {name for name, _ in headers}
    job: Job | None = None
    if wire.OUTCOME in names and DEAD_LETTER_SOURCE not in names:
        kind = Kind.SCHEDULE
    else:
        try:
            job = Job.from_json(message.value() or b"")
            kind = Kind.JOB
        except InputError:
            kind = Kind.MESSAGE
    return Letter(
        f"{message.partition()}-{message.offset()}",
        message.partition(),
        message.timestamp()[1],
        kind,
        message.key(),
        message.value(),
        headers,
        job,
    )
