"""Makes Kafka hold what a source states: look, compare, wait for what is about to fire, write, all or nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from planner.apply import apply_plan, transactional_id
from planner.horizon import make_horizon_plan
from planner.plan import make_plan, work
from planner.snapshot import source_of, take_snapshot
from planner.standing import standing
from planner.steps import LEAD_MS, Change
from scheduler.clock import Deadline
from scheduler.errors import BrokerUnavailableError, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from planner.apply import Writer
    from planner.entry import Entry
    from planner.snapshot import Snapshot
    from planner.standing import Standing
    from planner.steps import Plan
    from scheduler.client import SchedulerClient
    from scheduler.clock import Clock
    from scheduler.runtime.progress import Progress
    from scheduler.runtime.settings import Settings

PATIENCE_SECONDS = 10.0
"""How long a sync waits for schedules that are about to fire, beyond its lead."""
TICK_SECONDS = 0.25
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001 - librdkafka's public code
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


class TakenOverError(SchedulerError):
    """Another planner of the same source came in between."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a source states."""

    source: str
    entries: Sequence[Entry]
    horizon_ms: int | None = None
    """How far ahead each occurrence is planned as a schedule of its own; None: one standing schedule an entry."""

    def standings(self) -> list[Standing]:
        """The standing schedule of each entry."""
        return [standing(entry, self.source) for entry in self.entries]


class Reconciler:
    """Plans for one source, and carries it out."""

    def __init__(
        self,
        client: SchedulerClient,
        settings: Settings,
        clock: Clock,
        *,
        tell: Callable[[str], None] = lambda _: None,
        reading: Progress | None = None,
    ) -> None:
        """Prepare.

        Args:
            client: reads and writes schedules.
            settings: which topics.
            clock: for due times and patience.
            tell: is told what takes its time, for people who wait.
            reading: is told how far a reading of the schedules is.
        """
        self._client = client
        self._topics = settings.schedules_topics
        self._clock = clock
        self._tell = tell
        self._reading = reading

    def plan(self, wanted: Wanted) -> Plan:
        """What a sync would do now.

        Raises:
            InputError: it cannot be done.
            BrokerUnavailableError: the brokers do not answer.
        """
        return self._plan(wanted, wanted.standings())

    def sync(self, wanted: Wanted, *, confirm: Callable[[str], None], certain: bool = False) -> Plan:
        """Do it, in one transaction; what could not be done safely is left for later, see `Plan.waits`.

        Args:
            wanted: what the source states.
            confirm: is told what a person should have meant, see `Plan.doubts`; raises to refuse.
            certain: whether nothing needs to be confirmed.

        Raises:
            InputError: it cannot be done; nothing was written.
            TakenOverError: another planner of the source came in between; nothing was written.
            BrokerUnavailableError: the brokers do not answer; if so while the transaction was committed, nobody
                knows whether it was, and the next sync will see.
        """
        desired = wanted.standings()
        # the fence comes before the look: what the plan stands on cannot be changed by another planner any more
        with self._writer(wanted.source) as writer:
            plan = self._settled(wanted, desired)
            if plan.doubts and not certain:
                confirm("; ".join(plan.doubts))
                plan = self._settled(wanted, desired)  # while it was asked, time has passed
            if plan.changes:
                self._tell("writing")
                apply_plan(writer, plan, topic=self._topics[0])
        return plan

    def _settled(self, wanted: Wanted, desired: Sequence[Standing]) -> Plan:
        """A plan in which nothing is left for later, if one can be had in time."""
        plan = self._plan(wanted, desired)
        patience, never = Deadline(self._clock, PATIENCE_SECONDS + plan.lead_ms / 1000), threading.Event()
        while plan.waits and not patience.passed:
            self._tell("waiting for schedules that are about to fire")
            self._clock.wait(never, TICK_SECONDS)
            plan = self._plan(wanted, desired)
        return plan

    def _plan(self, wanted: Wanted, desired: Sequence[Standing]) -> Plan:
        self._tell("reading what is in force")
        snapshot = take_snapshot(self._client, self._topics, wanted.source, reading=self._reading)
        # after the look: what it has not seen and is due later than now has not fired
        now_ms = self._clock.now_ms()
        plan = _make(wanted, desired, snapshot, now_ms, LEAD_MS)
        if plan.needed_lead_ms > plan.lead_ms:
            plan = _make(wanted, desired, snapshot, now_ms, plan.needed_lead_ms)
        return replace(plan, doubts=(*_namesakes(desired, snapshot), *_losses(plan, wanted.source)))

    @contextmanager
    def _writer(self, source: str) -> Iterator[Writer]:
        try:
            with self._client.writer(transactional_id(source)) as writer:
                yield writer
        except BrokerUnavailableError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() in _FENCED:
                raise TakenOverError(
                    f"another planner of the source {source} has taken over; nothing was written by this one"
                ) from error
            raise


def _make(wanted: Wanted, desired: Sequence[Standing], snapshot: Snapshot, now_ms: int, lead_ms: int) -> Plan:
    if wanted.horizon_ms is None:
        return make_plan(desired, snapshot, now_ms, lead_ms)
    return make_horizon_plan(desired, snapshot, now_ms, horizon_ms=wanted.horizon_ms, lead_ms=lead_ms)


def _losses(plan: Plan, source: str) -> Iterator[str]:
    if plan.dropped * 2 > plan.held:
        yield f"{plan.dropped} of the {plan.held} entries of {source} would be cancelled"


def _namesakes(desired: Sequence[Standing], snapshot: Snapshot) -> Iterator[str]:
    """Whether a source that holds nothing yet is another one under a new name: then its entries would run twice."""
    if snapshot.own or snapshot.planned or not desired:
        return
    mine = {_sameness(each.entry.id, each.payload) for each in desired}
    shared: dict[str, int] = {}
    for stored in snapshot.others:
        schedule = stored.schedule
        source = source_of(schedule) or ""
        if _sameness(schedule.schedule_id.rpartition("/")[2], schedule.value) in mine:
            shared[source] = shared.get(source, 0) + 1
    other, count = max(shared.items(), key=lambda item: item[1], default=("", 0))
    if count * 2 >= len(desired):
        yield (
            f"the source {other} holds {count} of these {len(desired)} entries already, and they would run twice "
            f"(if the file was renamed, give --source {other})"
        )


def _sameness(entry_id: str, payload: bytes) -> tuple[object, ...]:
    return entry_id, work(payload)


def handed_over_late(plan: Plan, now_ms: int) -> list[str]:
    """Ids of schedules that took another key and may have fired under the former one, because writing took so long."""
    return [
        step.current.schedule.schedule_id
        for step in plan.steps
        if isinstance(step, Change) and step.hands_over and step.due_ms <= now_ms
    ]
