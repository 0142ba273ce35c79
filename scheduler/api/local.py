"""What this replica answers for its own partitions: questions to their owners, and changes settled by them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaError, KafkaException

from scheduler import wire
from scheduler.api import views
from scheduler.api.ids import keys_shown_as
from scheduler.api.paging import Part, Spot, Wanted
from scheduler.api.problems import ProblemError, unavailable
from scheduler.broker.requests import OutcomeUnknownError, PartitionGoneError, TargetWaitedForError
from scheduler.clock import Deadline
from scheduler.engine.changes import Change, NotPendingError, Verb
from scheduler.engine.far import Far
from scheduler.engine.life import State
from scheduler.engine.pending import place
from scheduler.records import Write
from scheduler.runtime.logs import fields
from scheduler.schedule import Outcome, Schedule, display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.api.replica import Partition, Replica
    from scheduler.api.views import Where
    from scheduler.broker.gateway import Written
    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Settlement
    from scheduler.schedule import Header

CHUNK = 1000
"""Versions in one look: about a millisecond of the owner's thread, on which firing waits."""
ANSWER_SECONDS = 2.0
BODIES_SECONDS = 10.0
"""For what is due later to be read from the log again; where it lies far apart, a record takes some milliseconds."""
SCAN_SECONDS = 3.0
"""After this a list goes out as far as it was looked for."""
CHANGE_SECONDS = 12.0
"""For a transaction and one retry."""
READ_SECONDS = 5.0
"""For what was written to be read; another client's open transaction can hold that up."""
TICK_SECONDS = 0.005
_READABLE = (State.RUNNING, State.RECOVERING)
_LOCKS = 64

T = TypeVar("T")

log = logging.getLogger("scheduler.api")


class UnansweredError(Exception):
    """This replica cannot answer for the partition now; a sentence that says why."""


class Local:
    """The partitions of this replica; used on one event loop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        """By key: what is there must not change between the look and the writing."""

    def has(self, where: Where) -> bool:
        """Whether the partition is this replica's."""
        return where in self._replica.owners()

    def _partition(self, where: Where) -> Partition:
        partition = self._replica.owners().get(where)
        if partition is None:
            raise UnansweredError("it was given to another replica just now")
        if partition.standing.state not in _READABLE:
            raise UnansweredError(f"it is {partition.standing.state}")
        return partition

    async def ask(self, where: Where, question: Callable[[PartitionEngine], T]) -> T:
        """The answer of the partition's engine.

        Raises:
            UnansweredError: there is none.
        """

        def checked(engine: PartitionEngine) -> T:
            if engine.state not in _READABLE:
                raise UnansweredError(f"it is {engine.state}")
            return question(engine)

        future = self._partition(where).requests.ask(checked)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_SECONDS)
        except TimeoutError:
            raise UnansweredError(f"its owner did not answer within {ANSWER_SECONDS:g} s") from None
        except PartitionGoneError:
            raise UnansweredError("it was given to another replica just now") from None

    # -- looking -------------------------------------------------------------------------------------

    async def get(self, where: Where, schedule_id: str) -> Schedule | None:
        """The version in force of the id, which may be shown with escapes."""
        keys = keys_shown_as(schedule_id)

        def found(engine: PartitionEngine) -> Schedule | Far | None:
            return next((version for key in keys if (version := engine.pending.get(key)) is not None), None)

        version = await self.ask(where, found)
        if not isinstance(version, Far):
            return version
        return next(iter(await self._bodies(where, [version])), None)

    async def _bodies(self, where: Where, versions: Sequence[Schedule | Far]) -> list[Schedule]:
        """The same versions with their bodies, in order.

        What is not in the log any more, or could not be read in time, is left out.
        """
        far = [version.offset for version in versions if isinstance(version, Far)]
        if not far:
            return [version for version in versions if isinstance(version, Schedule)]
        read = await asyncio.to_thread(self._replica.read_again, where, far, BODIES_SECONDS)
        bodies = {version.offset: version for version in read}
        found = (bodies.get(version.offset) if isinstance(version, Far) else version for version in versions)
        return [version for version in found if version is not None]

    async def scan(self, where: Where, wanted: Wanted) -> Part:
        """What is wanted in one partition."""
        if wanted.id is not None:
            version = await self.get(where, wanted.id)
            fits = version is not None and wanted.fits(version) and place(version) > wanted.starts(where)
            return Part([views.summary(where, version)] if version is not None and fits else [], None)
        deadline = Deadline(self._replica.clock, SCAN_SECONDS)
        found: list[Schedule] = []
        after: int | None = wanted.starts(where)
        count = min(CHUNK, wanted.limit + 1)
        while after is not None:
            versions = await self._page(where, after, count)
            found += filter(wanted.fits, await self._bodies(where, versions))
            after = wanted.goes_on_at(place(versions[-1])) if len(versions) == count else None
            if len(found) >= wanted.limit:
                del found[wanted.limit :]
                last = place(found[-1])
                after = last if after is not None or place(versions[-1]) > last else None
                break
            if deadline.passed:
                break
            count = CHUNK
        until = None if after is None else Spot(after >> 48, *where, after & (1 << 48) - 1)
        return Part([views.summary(where, version) for version in found], until)

    async def _page(self, where: Where, after: int, count: int) -> list[Schedule | Far]:
        return await self.ask(where, lambda engine: engine.page(after, count))

    # -- changing ------------------------------------------------------------------------------------

    async def caught_up(self, where: Where) -> bool:
        """Wait until all that was acknowledged before this call is read; tell whether it is.

        Raises:
            UnansweredError: the partition is given up meanwhile.
        """
        try:
            end = await asyncio.to_thread(self._replica.kafka.end, *where)
        except KafkaException as error:
            raise UnansweredError(f"Kafka does not say where it ends: {error.args[0].str()}") from error
        return await self._read(where, end)

    async def _read(self, where: Where, end: int) -> bool:
        deadline = Deadline(self._replica.clock, READ_SECONDS)
        while self._partition(where).read_to < end:
            if deadline.passed:
                return False
            await asyncio.sleep(TICK_SECONDS)
        return True

    async def put(
        self, where: Where, key: bytes, value: bytes, headers: list[Header], *, new: bool
    ) -> tuple[Schedule, bool, bool]:
        """Write a version as a client does; the version, whether it replaced one, and whether it is read already.

        Raises:
            ProblemError: `new`, and there is one; or Kafka does not take it.
            UnansweredError: the partition is given up before it is written.
        """
        async with self._locks[hash(key) % _LOCKS]:
            replaced = await self.ask(where, lambda engine: engine.pending.get(key)) is not None
            if new and replaced:
                raise ProblemError(409, f"{display(key)} is in force already; PUT replaces it")
            written = await self._write(Write(where[0], key, value, headers, where[1]))
            try:
                read = await self._read(where, written.offset + 1)
            except UnansweredError:
                read = False  # it stands: whoever has the partition next reads it
        self._told("replaced" if replaced else "created", where, key)
        version = wire.decode(key, value, headers, timestamp_ms=written.timestamp_ms, offset=written.offset)
        if not isinstance(version, Schedule):
            # it was sound by this clock; Kafka's stamp, from which a delay counts, may lie beyond the year 9999
            raise ProblemError(422, f"written, and rejected: {getattr(version, 'detail', '')}")
        if read:
            in_force = await self._after(where, key, version)
            version = in_force if in_force.offset == version.offset else version
        return version, replaced, read

    async def _write(self, write: Write) -> Written:
        try:
            return await asyncio.to_thread(self._replica.kafka.append, write)
        except KafkaException as error:
            fault = error.args[0]
            if fault.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise ProblemError(413, "too large for the schedules topic (max.message.bytes)") from error
            if fault.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise ProblemError(503, f"Kafka does not let this replica write to {write.topic}") from error
            raise ProblemError(
                504, f"Kafka has not acknowledged it ({fault.str()}): it may stand or not, look before trying again"
            ) from error

    async def change(self, where: Where, schedule_id: str, change: Change) -> tuple[Settlement, Schedule | None]:
        """Settle a change of what is in force; how it ended, and the version in force afterwards.

        Raises:
            ProblemError: nothing is in force, it cannot be done, or nobody knows whether it was.
            UnansweredError: the partition was given up before; nothing has happened.
        """
        there = await self.get(where, schedule_id)
        key = keys_shown_as(schedule_id)[0] if there is None else there.key
        future = self._partition(where).requests.change(key, change)
        try:
            settlement = await asyncio.wait_for(asyncio.wrap_future(future), CHANGE_SECONDS)
        except NotPendingError:
            raise ProblemError(404, views.not_in_force(schedule_id)) from None
        except TargetWaitedForError:
            raise unavailable(f"the target of {display(key)} takes nothing now; the schedule stays as it was") from None
        except (OutcomeUnknownError, TimeoutError) as error:
            why = "its transaction took too long" if isinstance(error, TimeoutError) else str(error)
            raise ProblemError(
                504, f"nobody knows whether it took effect ({why}): look at the schedule and the history"
            ) from None
        except PartitionGoneError:
            raise UnansweredError("it was given to another replica just now") from None
        self._told(change.verb.value, where, key)
        if settlement.outcome is Outcome.UNDELIVERABLE and change.verb is Verb.FIRE:
            raise ProblemError(
                422,
                f"{display(key)} could not be delivered ({settlement.reason}: {settlement.detail}); "
                "it has ended as undeliverable, and a copy is among the dead letters",
            )
        if settlement.successor is None:
            return settlement, None
        return settlement, await self._after(where, key, settlement.successor)

    async def _after(self, where: Where, key: bytes, written: Schedule) -> Schedule:
        try:
            version = await self.ask(where, lambda engine: engine.pending.get(key))
            return next(iter(await self._bodies(where, [version])), written) if version is not None else written
        except UnansweredError:
            return written  # it is committed

    @staticmethod
    def _told(verb: str, where: Where, key: bytes) -> None:
        log.info(
            "changed by request", extra=fields(verb=verb, topic=where[0], partition=where[1], schedule=display(key))
        )
