"""Another attempt at a message that a consumer could not handle: when, and the schedule that brings it back.

Pure: values in, a `Write` out. The headers are those of etf1's client library: `retry-attempt` is 1 on the first
retry, `retry-original-timestamp` is the first message's Kafka timestamp, in whole Unix seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from scheduler import drafts, wire
from scheduler.backoff import grown, jitter_of
from scheduler.durations import MAX_DURATION_MS, parse_duration
from scheduler.errors import InputError, RetriesExhaustedError
from scheduler.schedule import display

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.engine.targets import TargetPolicy
    from scheduler.records import Write
    from scheduler.schedule import Header

ATTEMPT = "retry-attempt"
ORIGINAL_TIMESTAMP = "retry-original-timestamp"

_LONGEST = timedelta(milliseconds=MAX_DURATION_MS)
_COUNT = re.compile(rb"[0-9]{1,9}")
_SECONDS = re.compile(rb"[0-9]{1,12}")


class NewRetry(TypedDict, total=False):
    """What may be said of a retry; `SchedulerClient.schedule_retry` says what each means."""

    delay: str | timedelta | None
    key: str | bytes | None
    target_topic: str | None
    headers: Mapping[str, str | bytes] | Sequence[Header]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a message is tried again, and after how long.

    The first retry comes after `min_delay`, each further one `factor` times later than the one before, up to
    `max_delay`. `jitter` stretches each delay by up to that part of itself, so that messages that failed together do
    not return together: another part for each message and attempt, and the same one whoever asks.
    """

    max_attempts: int = 50
    """Retries, not counting the message's first delivery."""
    min_delay: timedelta = timedelta(seconds=5)
    max_delay: timedelta = timedelta(hours=1)
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what makes no delay.

        Raises:
            InputError: the field is named.
        """
        if self.max_attempts < 0:
            raise InputError(f"max_attempts: {self.max_attempts} is below 0")
        if not timedelta(0) <= self.min_delay <= self.max_delay <= _LONGEST:
            raise InputError(
                f"min_delay, max_delay: {self.min_delay} and {self.max_delay} are not in order, negative or over "
                "100 years"
            )
        if not 1 <= self.factor < float("inf"):
            raise InputError(f"factor: {self.factor} is not a number from 1 on: delays would shrink")
        if not 0 <= self.jitter <= 1:
            raise InputError(f"jitter: {self.jitter} is not between 0 and 1")

    def delay_ms(self, attempt: int, of: str) -> int:
        """Milliseconds before a retry.

        Args:
            attempt: which one, from 1.
            of: what is tried again; the jitter comes from it.
        """
        least, most = (each / timedelta(milliseconds=1) for each in (self.min_delay, self.max_delay))
        return round(grown(least, self.factor, most, attempt) * (1 + self.jitter * jitter_of(of, attempt)))


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a consumer got it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Its Kafka timestamp; negative where it has none."""
    key: bytes | None
    value: bytes | None
    headers: list[Header]

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.topic}-{self.partition}@{self.offset}"


def schedule_of(
    failed: Received,
    topic: str,
    now_ms: int,
    targets: TargetPolicy,
    policy: RetryPolicy,
    *,
    delay: str | timedelta | None = None,
    key: str | bytes | None = None,
    target_topic: str | None = None,
    headers: Mapping[str, str | bytes] | Sequence[Header] = (),
) -> Write:
    """The schedule that brings a message back; see `SchedulerClient.schedule_retry`.

    Raises:
        RetriesExhaustedError: it has had all its attempts.
        InputError: the message's headers or what is given make no schedule.
    """
    try:
        attempt = attempts(failed.headers) + 1
        original_ms = original_timestamp_ms(failed.headers)
    except InputError as error:
        raise InputError(f"{failed.place}: {error}") from None
    if attempt > policy.max_attempts:
        raise RetriesExhaustedError(
            f"{failed.place}: its {policy.max_attempts} retries are used up; put it aside, or raise max_attempts"
        )
    target = failed.topic if target_topic is None else target_topic
    chain = _chain(failed, target)
    if original_ms is None:
        original_ms = failed.timestamp_ms if failed.timestamp_ms >= 0 else now_ms
    added = drafts.listed(headers)
    replaced = {ATTEMPT, ORIGINAL_TIMESTAMP, *(name for name, _ in added)}
    kept = [each for each in failed.headers if each[0] not in replaced and not each[0].startswith(wire.PREFIX)]
    return drafts.new(
        topic,
        f"{chain}#{attempt}" if key is None else key,
        failed.value or b"",
        target,
        now_ms,
        targets,
        at=now_ms + (policy.delay_ms(attempt, chain) if delay is None else _milliseconds(delay)),
        target_key=failed.key,
        target_tombstone=failed.value is None,
        headers=[
            *kept,
            *added,
            (ATTEMPT, b"%d" % attempt),
            (ORIGINAL_TIMESTAMP, b"%d" % (original_ms // 1000)),
        ],
    )


def attempts(headers: Sequence[Header]) -> int:
    """How often the message has been retried; 0 on its first delivery.

    Raises:
        InputError: the header is there and is no number. Taken for 0, it would be retried for ever.
    """
    raw = value_of(headers, ATTEMPT)
    return 0 if raw is None else int(_matched(_COUNT, raw, ATTEMPT, "a number of retries"))


def original_timestamp_ms(headers: Sequence[Header]) -> int | None:
    """When the message that failed first was written; None where this one is no retry.

    Raises:
        InputError: the header is there and is no instant.
    """
    raw = value_of(headers, ORIGINAL_TIMESTAMP)
    return None if raw is None else 1000 * int(_matched(_SECONDS, raw, ORIGINAL_TIMESTAMP, "Unix seconds"))


def value_of(headers: Sequence[Header], name: str) -> bytes | None:
    """The first header of that name; empty where it is null, None where there is none."""
    return next((value or b"" for each, value in headers if each == name), None)


def _chain(failed: Received, target: str) -> str:
    """What all retries of one message have in common in their ids: where it came from, and to which topic it goes.

    The same message that fails twice (its offset was not committed) so replaces its own retry, and those of two
    consumers with topics of their own do not replace each other.
    """
    schedule_id = value_of(failed.headers, wire.KEY)
    if schedule_id is not None and value_of(failed.headers, ATTEMPT) is not None:
        chain = display(schedule_id).removesuffix(f"#{attempts(failed.headers)}")
    else:
        chain = display(value_of(failed.headers, wire.FIRE_ID)) or failed.place
    return chain if target == failed.topic else f"{chain}>{target}"


def _milliseconds(delay: str | timedelta) -> int:
    if isinstance(delay, timedelta):
        if not timedelta(0) <= delay <= _LONGEST:
            raise InputError(f"delay: {delay} is negative or over 100 years")
        return -(-delay // timedelta(milliseconds=1))  # rounded down it would be early
    try:
        return parse_duration(delay)
    except ValueError as error:
        raise InputError(f"delay: {error}") from None


def _matched(pattern: re.Pattern[bytes], raw: bytes, name: str, what: str) -> bytes:
    if pattern.fullmatch(raw) is None:
        raise InputError(f"{name}: {display(raw[:40])!r} is not {what}")
    return raw
