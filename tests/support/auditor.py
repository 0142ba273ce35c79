"""Judges a run: what a producer was told, against what stands in Kafka afterwards.

A judge that is not the defendant: it knows the contract, written out here once more, and shares no code
with the scheduler. It is for one-shot schedules, each under an id of its own, none cancelled or replaced,
all of them due by the end of the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.support.verdict import Fault, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Header = tuple[str, bytes | None]

OWN = "scheduler-"
KEY = "scheduler-key"
EPOCH = "scheduler-epoch"
FIRE_ID = "scheduler-fire-id"
LATENESS = "scheduler-lateness-ms"
OUTCOME = "scheduler-outcome"
REPLACES = "scheduler-replaces"
TIMESTAMP = "scheduler-timestamp"
TOPIC = "scheduler-topic"


class Submission(NamedTuple):
    """A schedule as its producer wrote it, and where the broker said that it stands. Instants are Unix ms."""

    key: bytes
    due_ms: int
    payload_sha256: bytes
    target_key: bytes | None
    headers: Sequence[Header]
    """The customer's."""
    partition: int | None
    offset: int | None
    """None where no answer came: the schedule may fire once or not at all."""
    timestamp_ms: int | None
    """The record's, from the delivery report."""


class Seen(NamedTuple):
    """A committed record, as a reader was given it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] | None
    """None where the client cannot read them."""
    received_ms: int | None = None
    """When a live reader had it; None where it was read afterwards."""

    def stated(self, name: str) -> bytes | None:
        """The value of the only header of that name; None where there is none, or more than one."""
        values = [value for header, value in self.headers or () if header == name]
        return values[0] if len(values) == 1 else None

    def customers_headers(self) -> list[Header] | None:
        """Those that do not begin with `scheduler-`, in order."""
        return None if self.headers is None else [header for header in self.headers if not header[0].startswith(OWN)]

    def __str__(self) -> str:
        """Where it stands and when it was stamped."""
        return f"{self.partition}/{self.offset} of {self.timestamp_ms}"


class Hanging(NamedTuple):
    """A partition whose last stable offset stays below its high watermark."""

    topic: str
    partition: int
    last_stable_offset: int
    high_watermark: int


@dataclass(frozen=True)
class Evidence:
    """What stands in Kafka at the end, read committed from the beginning, and what a live reader had."""

    schedules_topic: str
    target: Sequence[Seen]
    history: Sequence[Seen]
    schedules: Sequence[Seen]
    live: Sequence[Seen]
    """The target topic, by a reader that ran the whole time."""
    hanging: Sequence[Hanging] = ()


def judge(submissions: Sequence[Submission], evidence: Evidence) -> Report:
    """Compare what was submitted with what became of it.

    Raises:
        ValueError: an id was submitted twice; this judge could not tell their messages apart.
    """
    by_key = {submission.key: submission for submission in submissions}
    if len(by_key) < len(submissions):
        raise ValueError(f"{len(submissions)} submissions under {len(by_key)} ids: each needs its own")
    gap_ms = _longest_gap(message.timestamp_ms for message in evidence.target)
    silence_ms = _longest_gap(seen.received_ms for seen in evidence.live if seen.received_ms is not None)
    report = Report(len(submissions), len(evidence.target), [], gap_ms, silence_ms)
    fired = _judge_messages(report, by_key, evidence)
    _judge_history(report, by_key, fired, evidence.history)
    _judge_schedules(report, by_key, fired, evidence.schedules)
    _judge_live(report, evidence)
    for hanging in evidence.hanging:
        report.add(
            Fault.HANGING, f"{hanging.topic}/{hanging.partition}: last stable offset {hanging[2]} of {hanging[3]}"
        )
    report.lateness_ms.sort()
    return report


def _longest_gap(instants_ms: Iterable[int]) -> int:
    return max((later - earlier for earlier, later in pairwise(sorted(instants_ms))), default=0)


def _judge_messages(report: Report, by_key: dict[bytes, Submission], evidence: Evidence) -> Counter[bytes]:
    """Judge what the target topic holds; return how often each schedule fired."""
    received = {(seen.partition, seen.offset): seen.received_ms for seen in evidence.live}
    messages: defaultdict[bytes, list[Seen]] = defaultdict(list)
    for message in evidence.target:
        key = message.stated(KEY)
        submission = by_key.get(key) if key is not None else None
        if submission is None:
            report.add(Fault.FOREIGN, f"message {message} of schedule {key!r}")
            continue
        messages[submission.key].append(message)
        wrong = _differences(message, submission, evidence.schedules_topic)
        if wrong:
            report.add(Fault.ALTERED, f"{submission.key!r}: message {message}: {'; '.join(wrong)}")
        received_ms = received.get((message.partition, message.offset))
        if received_ms is not None:
            report.lateness_ms.append(received_ms - submission.due_ms)
        if min(message.timestamp_ms, received_ms or message.timestamp_ms) < submission.due_ms:
            report.add(
                Fault.EARLY, f"{submission.key!r}: due {submission.due_ms}, message {message}, received {received_ms}"
            )
    for key, copies in messages.items():
        if len(copies) > 1:
            report.add(Fault.DOUBLED, f"{key!r}: due {by_key[key].due_ms}, messages {', '.join(map(str, copies))}")
    for submission in by_key.values():
        if submission.key not in messages and submission.offset is not None:
            place = f"{submission.partition}/{submission.offset}"
            report.add(Fault.LOST, f"{submission.key!r}: due {submission.due_ms}, schedule {place}")
    return Counter({key: len(copies) for key, copies in messages.items()})


def _differences(message: Seen, submission: Submission, schedules_topic: str) -> list[str]:
    """What of a message is not as it was submitted, or not as the contract has it."""
    wrong = _altered(message, submission)
    if message.key != submission.target_key:
        wrong.append(f"key {message.key!r}, not {submission.target_key!r}")
    if message.stated(TOPIC) != schedules_topic.encode():
        wrong.append(f"{TOPIC} {message.stated(TOPIC)!r}")
    timestamp_ms = submission.timestamp_ms
    if timestamp_ms is not None and message.stated(TIMESTAMP) != b"%d" % (timestamp_ms // 1000):
        wrong.append(f"{TIMESTAMP} {message.stated(TIMESTAMP)!r} for {timestamp_ms}")
    unknown = {name for name, _ in message.headers or () if name.startswith(OWN)} - {
        *(KEY, TOPIC, EPOCH, FIRE_ID, TIMESTAMP)
    }
    if unknown:
        wrong.append(f"headers {sorted(unknown)}")
    return wrong


def _altered(seen: Seen, submission: Submission) -> list[str]:
    """What of the customer's part, and of the occurrence's name, is not as it was submitted."""
    wrong = []
    if seen.value is None or sha256(seen.value).digest() != submission.payload_sha256:
        wrong.append("payload")
    if seen.customers_headers() != list(submission.headers):
        wrong.append(f"headers {seen.customers_headers()}, not {list(submission.headers)}")
    if _epoch_ms(seen.stated(EPOCH)) != submission.due_ms:
        wrong.append(f"{EPOCH} {seen.stated(EPOCH)!r}, due {submission.due_ms}")
    fire_id = f"{submission.key.decode(errors='backslashreplace')}@{submission.due_ms}"
    if seen.stated(FIRE_ID) != fire_id.encode():
        wrong.append(f"{FIRE_ID} {seen.stated(FIRE_ID)!r}, not {fire_id}")
    return wrong


def _epoch_ms(raw: bytes | None) -> Decimal | None:
    try:
        return None if raw is None else Decimal(raw.decode()) * 1000
    except (InvalidOperation, UnicodeDecodeError):
        return None


def _judge_history(
    report: Report, by_key: dict[bytes, Submission], fired: Counter[bytes], history: Iterable[Seen]
) -> None:
    recorded: Counter[bytes] = Counter()
    for record in history:
        submission = by_key.get(record.key) if record.key is not None else None
        if submission is None:
            report.add(Fault.FOREIGN, f"history {record} of schedule {record.key!r}")
            continue
        recorded[submission.key] += 1
        wrong = _altered(record, submission)
        if record.stated(OUTCOME) != b"fired":
            wrong.append(f"{OUTCOME} {record.stated(OUTCOME)!r}")
        if not (record.stated(LATENESS) or b"").isdigit():
            wrong.append(f"{LATENESS} {record.stated(LATENESS)!r}")
        if wrong:
            report.add(Fault.HISTORY, f"{submission.key!r}: record {record}: {'; '.join(wrong)}")
    _compare(report, Fault.HISTORY, fired, recorded)


def _judge_schedules(
    report: Report, by_key: dict[bytes, Submission], fired: Counter[bytes], schedules: Iterable[Seen]
) -> None:
    """The schedules topic: what was submitted, and a tombstone in its place for whatever has fired."""
    stands: dict[bytes, tuple[int, int]] = {}
    for submission in by_key.values():
        if submission.partition is not None and submission.offset is not None:
            stands[submission.key] = (submission.partition, submission.offset)
    ended: Counter[bytes] = Counter()
    for record in sorted(schedules, key=lambda seen: seen[:2]):
        place = (record.partition, record.offset)
        key = record.key
        if key is None or key not in by_key:
            report.add(Fault.FOREIGN, f"record {record} of schedule {key!r}")
        elif record.value is not None:
            if stands.setdefault(key, place) != place:
                report.add(Fault.FOREIGN, f"{key!r}: record {record} beside the submitted one at {stands[key]}")
        else:
            ended[key] += 1
            partition, offset = stands.get(key, (None, None))
            replaces = record.stated(REPLACES)
            outcome = record.stated(OUTCOME)
            named = partition == record.partition and replaces is not None and replaces == str(offset).encode()
            if not named or outcome != b"fired":
                text = f"{key!r} at {partition}/{offset}: {record}, {REPLACES} {replaces!r}, {OUTCOME} {outcome!r}"
                report.add(Fault.TOMBSTONE, text)
    _compare(report, Fault.TOMBSTONE, fired, ended)


def _compare(report: Report, fault: Fault, fired: Counter[bytes], recorded: Counter[bytes]) -> None:
    for key in fired.keys() | recorded.keys():
        if fired[key] != recorded[key]:
            report.add(fault, f"{key!r}: {fired[key]} messages, {recorded[key]} such records")


def _judge_live(report: Report, evidence: Evidence) -> None:
    live = {seen[:5] for seen in evidence.live}
    final = {seen[:5] for seen in evidence.target}
    for fault, only in ((Fault.RETRACTED, live - final), (Fault.UNSEEN, final - live)):
        for partition, offset, timestamp_ms, key, _ in sorted(only, key=lambda record: record[:2]):
            report.add(fault, f"message {partition}/{offset} of {timestamp_ms}, key {key!r}")
