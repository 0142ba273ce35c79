"""What of a batch can be delivered now, and whom a transaction that failed is to be blamed on."""

from __future__ import annotations

import logging
import math
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from scheduler.broker.failures import Kind, PublishError
from scheduler.broker.targets import Patience
from scheduler.engine.settlement import (
    Settlement,
    Told,
    arrived,
    bookkeeping,
    delivery,
    records,
    refused,
    undeliverable,
)
from scheduler.runtime.logs import fields
from scheduler.schedule import Outcome, Reason, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scheduler.broker.observer import Observer
    from scheduler.broker.targets import Obstacle, Targets
    from scheduler.clock import Clock
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Out, Place

TOPICS_SHOWN = 5
UNANSWERED_MS = 500
"""Before a message that another cluster did not acknowledge is tried again."""

log = logging.getLogger("scheduler.partition")


class Courier(Protocol):
    """Delivers to another cluster than the schedules', where no transaction spans both."""

    def deliver(self, outs: Sequence[Out]) -> list[PublishError | None]:
        """Deliver each message, acknowledged by its topic; for each, what went wrong.

        An error with a `reason` will not pass; one without will.
        """

    def close(self) -> None:
        """Stop; what is not acknowledged is given up."""


class Blame(Enum):
    """Why a transaction failed."""

    TARGET = auto()  # a target is out of order or forbidden: its schedules wait, or are given up, the next time
    RECORD = auto()  # a record is refused: a smaller batch tells which
    NOBODY = auto()  # it passes


class Deliveries:
    """Of one partition; used by its owner's thread.

    Args:
        place: the partition.
        targets: what is known of the topics that schedules name.
        clock: for how long ago something was sure.
        observer: told of messages that another cluster did not take.
        grace_ms: how long a topic that does not exist is waited for.
        courier: delivers to another cluster; None where the transaction itself does.
        is_ours: asked before the courier is sent, unless that was sure `proof_seconds` ago.
        proof_seconds: see `is_ours`.
    """

    def __init__(
        self,
        place: Place,
        targets: Targets,
        clock: Clock,
        observer: Observer,
        *,
        grace_ms: int = 0,
        courier: Courier | None = None,
        is_ours: Callable[[], bool] = lambda: True,
        proof_seconds: float = 0.0,
    ) -> None:
        self._place = place
        self._targets = targets
        self._clock = clock
        self._observer = observer
        self._grace_ms = grace_ms
        self._courier = courier
        self._is_ours = is_ours
        self._proof_seconds = proof_seconds
        self._proven = -math.inf
        """When it was last sure (monotonic) that the partition is ours."""
        self._arrived: dict[tuple[bytes, int], tuple[int, int]] = {}
        """Versions (key, offset) of which the courier has delivered an occurrence (due time, lateness) that the log
        does not tell of yet."""
        self._condemned: dict[tuple[bytes | None, int], list[tuple[Reason, str, frozenset[str]]]] = {}
        """Settlements (key, what they replace) of which a record was refused: why, and by which topics."""

    def prepare(
        self, taken: Sequence[Settlement], engine: PartitionEngine, now_ms: int, running_since_ms: int
    ) -> list[Settlement]:
        """The batch as it can be written; what has to wait is postponed in the engine.

        Raises:
            KafkaException: the cluster does not answer.
            PublishError: the partition is another's, and nothing may be delivered for it.
        """
        batch: list[Settlement] = []
        for settlement in taken:
            deliverable = self._deliverable(settlement, engine, now_ms, running_since_ms)
            if deliverable is not None:
                batch.append(deliverable)
        return batch if self._courier is None else self._send(self._courier, batch, engine, now_ms)

    def records(self, batch: Sequence[Settlement]) -> Iterator[Out]:
        """What the transaction has to hold."""
        place = self._place
        said = records if self._courier is None else bookkeeping
        for settlement in batch:
            yield from said(settlement, place)

    def ail(self, batch: Sequence[Settlement]) -> bool:
        """Whether one of its targets is known to be out of order."""
        return self._targets.ailing(_target_topics(batch))

    def committed(self, batch: Sequence[Settlement]) -> None:
        """The batch stands in the log."""
        self._proven = self._clock.monotonic()
        if self._arrived or self._condemned:
            for settlement in batch:
                self._condemned.pop((settlement.subject.key, settlement.replaces), None)
                self._arrived.pop(_version(settlement), None)

    def blame(self, batch: Sequence[Settlement], error: PublishError) -> Blame:
        """Why it failed; a single settlement that is at fault is given up the next time."""
        topics = _target_topics(batch)
        self._targets.forget(topics)
        ours = {self._place.topic, self._place.history_topic, self._place.dead_letter_topic}
        theirs = error.unanswered - ours
        if theirs and (theirs == error.unanswered or self._targets.ailing(theirs)):
            self._targets.suspect(theirs)
            return Blame.TARGET
        if error.reason is Reason.NOT_AUTHORIZED and not error.refused & ours and self._targets.ailing(topics):
            return Blame.TARGET  # the cluster says which of them, before the next delivery
        if error.reason is None or (error.reason is Reason.NOT_AUTHORIZED and not error.refused - ours):
            return Blame.NOBODY
        if len(batch) == 1:
            # with a courier, a transaction holds nothing for a target
            by = error.refused or frozenset(() if self._courier is None else ours)
            self._condemn(batch[0], error.reason, str(error), by)
        return Blame.RECORD

    def recovered(self, engine: PartitionEngine) -> None:
        """The log has told what became of what was in doubt."""
        self._arrived = {version: told for version, told in self._arrived.items() if engine.owes(*version)}

    @property
    def fenced_with_us(self) -> bool:
        """Whether a fence ends the deliveries as well: not at another cluster."""
        return self._courier is None

    def close(self) -> None:
        """Give up what the courier still holds."""
        if self._courier is not None:
            self._courier.close()

    @property
    def _where(self) -> dict[str, object]:
        return {"topic": self._place.topic, "partition": self._place.partition}

    # -- before the transaction ----------------------------------------------------------------------

    def _deliverable(
        self, settlement: Settlement, engine: PartitionEngine, now_ms: int, running_since_ms: int
    ) -> Settlement | None:
        """The settlement as it can be delivered; None where it has to wait."""
        subject = settlement.subject
        if self._arrived and settlement.outcome is not None and (told := self._arrived.get(_version(settlement))):
            settlement = arrived(settlement, *told)
        elif settlement.outcome is Outcome.FIRED and isinstance(subject, Schedule):
            obstacle = self._targets.obstacle(subject.target_topic, subject.target_partition)
            if obstacle is not None:
                # from when it could first be delivered: what was due during a stop gets its grace as well
                since_ms = max(subject.due_ms, subject.timestamp_ms, running_since_ms)
                return self._held_up(settlement, subject, obstacle, engine, now_ms, since_ms + self._grace_ms)
        if self._condemned:
            for verdict in self._condemned.get((subject.key, settlement.replaces), ()):
                settlement = refused(settlement, *verdict, self._place)
        return settlement

    def _held_up(
        self,
        settlement: Settlement,
        subject: Schedule,
        obstacle: Obstacle,
        engine: PartitionEngine,
        now_ms: int,
        given_up_ms: int,
    ) -> Settlement | None:
        wait_ms = max(1, math.ceil(obstacle.retry_seconds * 1000))
        if obstacle.patience is Patience.GRACE:
            if now_ms >= given_up_ms:
                # once more, for a topic that was made after the last look
                again = self._targets.obstacle(subject.target_topic, subject.target_partition, given_up_ms)
                if again is None:
                    return settlement
                obstacle = again
            wait_ms = min(wait_ms, max(1, given_up_ms - now_ms))
        waits = obstacle.patience is Patience.GRACE and now_ms < given_up_ms
        if waits or obstacle.patience is Patience.ENDLESS:
            engine.postpone(settlement, now_ms + wait_ms)
            return None
        return undeliverable(settlement, obstacle.reason, obstacle.detail)

    # -- to another cluster --------------------------------------------------------------------------

    def _send(
        self, courier: Courier, batch: list[Settlement], engine: PartitionEngine, now_ms: int
    ) -> list[Settlement]:
        """Deliver first; what is left is told at home, so that nothing is lost in between."""
        places = [(index, out) for index, each in enumerate(batch) if (out := self._undelivered(each)) is not None]
        if not places:
            return batch
        self._prove()
        settled: list[Settlement | None] = list(batch)
        failed: dict[str, PublishError] = {}
        for (index, out), error in zip(places, courier.deliver([out for _, out in places]), strict=True):
            settlement = batch[index]
            if error is None:
                subject = settlement.subject
                if isinstance(subject, Schedule) and settlement.due_ms >= subject.due_ms:
                    # an earlier one was asked for out of turn: who asked is told, it is not tried again
                    self._arrived[subject.key, subject.offset] = (settlement.due_ms, settlement.lateness_ms)
            elif error.reason is not None:
                settled[index] = undeliverable(settlement, error.reason, str(error))
            else:
                failed[out.topic] = error
                engine.postpone(settlement, now_ms + UNANSWERED_MS)
                settled[index] = None
        if failed:
            error = next(iter(failed.values()))
            self._observer.failed(self._place, error.kind)
            topics = ",".join(sorted(failed)[:TOPICS_SHOWN])
            log.warning("not delivered", extra=fields(**self._where, targets=topics, detail=str(error)))
            self._targets.suspect(failed)
        return [settlement for settlement in settled if settlement is not None]

    def _prove(self) -> None:
        """Make sure that we are the owner, unless that is known from a moment ago.

        No fence holds at another cluster: a process that was frozen meanwhile would deliver from what it remembers.
        """
        if self._clock.monotonic() - self._proven < self._proof_seconds:
            return
        asked = self._clock.monotonic()
        if not self._is_ours():
            raise PublishError(Kind.ABORTABLE, "the group has given the partition to another")
        self._proven = asked

    def _undelivered(self, settlement: Settlement) -> Out | None:
        out = delivery(settlement, self._place)
        if out is None or self._arrived.get(_version(settlement), (None,))[0] == settlement.due_ms:
            return None
        return out

    # -- after a failure -----------------------------------------------------------------------------

    def _condemn(self, settlement: Settlement, reason: Reason, detail: str, topics: frozenset[str]) -> None:
        verdicts = self._condemned.setdefault((settlement.subject.key, settlement.replaces), [])
        verdicts.append((reason, detail, topics))
        if settlement.told is Told.BARE:
            log.error(
                "no record of how it ends fits in the history",
                extra=fields(**self._where, offset=settlement.replaces, outcome=settlement.outcome, detail=detail),
            )


def _version(settlement: Settlement) -> tuple[bytes, int]:
    return settlement.subject.key or b"", settlement.subject.offset


def _target_topics(batch: Sequence[Settlement]) -> set[str]:
    return {
        settlement.subject.target_topic
        for settlement in batch
        if settlement.outcome is Outcome.FIRED and isinstance(settlement.subject, Schedule)
    }
