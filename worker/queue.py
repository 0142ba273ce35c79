"""The job queue: enqueue calls of registered functions, now or later, and run a worker that makes them.

Enqueuing needs no registration: the worker has it. Where the program that enqueues has it too, the arguments are
checked before they are sent.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from scheduler import wire
from scheduler.client import SchedulerClient
from scheduler.clock import SystemClock
from scheduler.drafts import instant_ms
from scheduler.durations import format_duration
from scheduler.errors import ConfigurationError, InputError
from scheduler.job import Job, describe_validation
from scheduler.records import Write
from scheduler.runtime.settings import Settings
from worker.context import seconds
from worker.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType

    from scheduler.clock import Clock
    from scheduler.records import Receipt


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Where a job queue lives. What is not given comes from the environment, as for every program here."""

    default_queue: str = "default-job-queue"
    """Jobs to be run; their retries are on the topic with `-retry` behind it."""
    delayed_queue: str = "default-delayed-queue"
    """Jobs that wait: a schedules topic, which a scheduler has to serve."""
    dead_queue: str = "default-dead-queue"
    """Jobs that were given up."""
    results: str = "default-job-results"
    """How each attempt ended."""
    configuration_file: str | Path | None = None
    """librdkafka properties, such as ~/.confluent/librdkafka.config."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings by their names, such as bootstrap_servers, partitions, replication_factor."""

    def load(self) -> Settings:
        """All settings.

        Raises:
            ConfigurationError: one is wrong, or there is none of that name.
        """
        file = self.configuration_file
        own = {
            "clusters": [self.default_queue],
            "schedules_topics": [self.delayed_queue],
            "dead_letter_topic": self.dead_queue,
            "results_topic": self.results,
            "configuration_file": None if file is None else Path(file).expanduser(),
        }
        for name in self.settings:
            if name in own or name not in Settings.model_fields:
                why = "QueueConfig has a field of its own for it" if name in own else "there is no such setting"
                raise ConfigurationError(f"QueueConfig(settings=...): {name}: {why}")
        return Settings.load(**own, **self.settings)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job that Kafka has acknowledged."""

    run_id: str
    receipt: Receipt


class JobQueue:
    """Enqueues calls; any thread may use it.

    ```python
    from worker import JobQueue, QueueConfig, Registry

    jobs = Registry()

    @jobs.register("Add", retries=3)
    def add(x: int, y: int) -> int:
        return x + y

    with JobQueue(jobs, QueueConfig(settings={"bootstrap_servers": "127.0.0.1:9092"})) as queue:
        queue.init()
        queue.enqueue("Add", 3, 5)
        queue.enqueue("Add", 3, 5, delay="15m")
    ```
    """

    def __init__(
        self, registry: Registry | None = None, config: QueueConfig | None = None, *, clock: Clock | None = None
    ) -> None:
        self.registry = registry or Registry()
        self.config = config or QueueConfig()
        self.settings = self.config.load()
        self._clock = clock or SystemClock()
        self._client = SchedulerClient(self.settings, clock=self._clock, client_id="job-queue")

    def init(self) -> list[str]:
        """Create the topics that are missing; their names. When it returns, all of them can be used.

        Raises:
            InputError: Kafka refuses one.
            BrokerUnavailableError: it does not answer.
        """
        return self._client.create_topics()

    def enqueue(
        self,
        name: str,
        *args: Any,
        delay: str | float | timedelta | None = None,
        at: datetime | int | None = None,
        key: str | None = None,
        keywords: Mapping[str, Any] | None = None,
        then: str | Sequence[str] = (),
        run_id: str | None = None,
        **options: Any,
    ) -> Enqueued:
        """Have a handler called, at once or later; return when Kafka has acknowledged it.

        Args:
            name: of the handler.
            args: what to call it with: whatever pydantic can write as JSON.
            delay: `15m`, seconds or a timedelta, counted from the record's Kafka timestamp.
            at: a datetime with an offset, or Unix milliseconds. A time that has passed is now.
            key: jobs with the same key run one at a time, in the order in which they were enqueued.
            keywords: arguments by name.
            then: handlers to call afterwards, each with what the one before returned.
            run_id: what its runs are known by; a new one without it. The same again while the job waits in the
                delayed queue replaces it.
            options: other fields of the job message, instead of those that are registered: `max_attempts`, `retry`,
                `timeout_seconds`, `overlap`, `delivery`.

        Raises:
            InputError: it is no job, or the arguments do not fit where the handler is registered here.
            BrokerUnavailableError: Kafka does not answer.
        """
        write, made = self._draft(name, args, delay, at, key, keywords, then, run_id, options)
        (receipt,) = self.send([write])
        return Enqueued(made, receipt)

    def draft(
        self,
        name: str,
        *args: Any,
        delay: str | float | timedelta | None = None,
        at: datetime | int | None = None,
        key: str | None = None,
        keywords: Mapping[str, Any] | None = None,
        then: str | Sequence[str] = (),
        run_id: str | None = None,
        **options: Any,
    ) -> Write:
        """What `enqueue` would write: for `send`, or for a transaction of the caller's."""
        return self._draft(name, args, delay, at, key, keywords, then, run_id, options)[0]

    def send(self, writes: Sequence[Write]) -> list[Receipt]:
        """Write drafts together: thousands in the time of a few; return when each is acknowledged."""
        return self._client.write(writes)

    def close(self) -> None:
        """Drop the connection; the queue may be used again afterwards."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draft(
        self,
        name: str,
        args: Sequence[Any],
        delay: str | float | timedelta | None,
        at: datetime | int | None,
        key: str | None,
        keywords: Mapping[str, Any] | None,
        then: str | Sequence[str],
        run_id: str | None,
        options: Mapping[str, Any],
    ) -> tuple[Write, str]:
        due_ms, waits = when(delay, at)
        topic = self.config.default_queue
        job = new_job(self.registry, topic, name, args, key=key, keywords=keywords, then=then, run_id=run_id, **options)
        made = job.run_id or ""
        lane = job.id.encode()
        if due_ms is None and waits is None:
            return Write(topic, lane, job.to_json()), made
        headers = wire.schedule_headers(topic, due_ms=due_ms, delay=waits, target_key=lane)
        return Write(self.config.delayed_queue, made.encode(), job.to_json(), headers), made


def new_job(
    registry: Registry,
    cluster: str,
    name: str,
    args: Sequence[Any],
    *,
    key: str | None,
    keywords: Mapping[str, Any] | None,
    then: str | Sequence[str],
    run_id: str | None,
    **options: Any,
) -> Job:
    """The job that calls a handler, with a run id of its own unless one is given.

    Raises:
        InputError: it is none, or the arguments do not fit where the handler is known.
    """
    known = registry.find(name) if name in registry else None
    try:
        stated = {
            "arguments": to_jsonable_python(list(args)),
            "keyword_arguments": to_jsonable_python(dict(keywords or {})),
        }
    except (PydanticSerializationError, ValueError) as error:
        raise InputError(f"arguments of {name}: {error}") from None
    if known is not None:
        known.arguments(stated["arguments"], stated["keyword_arguments"])
        if known.fifo and key is None:
            key = name
    chain = [then] if isinstance(then, str) else list(then)
    run_id = run_id or uuid.uuid4().hex
    found: dict[str, Any] = {
        "id": key or run_id,
        "job": name,
        "cluster": cluster,
        "handler": name,
        "run_id": run_id,
        **{field: value for field, value in stated.items() if value},
        **({"chain": chain} if chain else {}),
        **options,
    }
    unknown = sorted(options.keys() - Job.model_fields.keys())
    if unknown:
        raise InputError(f"{name}: {', '.join(unknown)}: no field of a job; arguments by name go into keywords={{}}")
    try:
        job = Job.model_validate(found)
    except ValidationError as error:
        raise InputError(f"{name}: {describe_validation(error)}") from None
    if known is not None:
        known.complete(job)
    return job


def when(delay: str | float | timedelta | None, at: datetime | int | None) -> tuple[int | None, str | None]:
    """When a job is due: Unix ms, or a delay as a header has it; neither is at once.

    Raises:
        InputError: it cannot be read, or both are given.
    """
    if delay is not None and at is not None:
        raise InputError("delay and at are both given; one says when")
    waits = None if delay is None else format_duration(round(seconds(delay) * 1000))
    return None if at is None else instant_ms(at), waits
