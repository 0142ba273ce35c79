"""Requests about single schedules and whole topics: where they belong, and what is done there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from confluent_kafka import KafkaException
from fastapi import Response
from fastapi.responses import JSONResponse

from scheduler import partitioners
from scheduler.api import definitions, models, views
from scheduler.api.fleet import V1, Fleet, nobody_answers
from scheduler.api.ids import keys_shown_as
from scheduler.api.local import Local, UnansweredError
from scheduler.api.peers import HOP
from scheduler.api.problems import ProblemError, Unanswered, unavailable
from scheduler.api.views import Where
from scheduler.clock import Deadline, rfc3339
from scheduler.errors import SchedulerError
from scheduler.schedule import display, fire_id

if TYPE_CHECKING:
    from fastapi import Request
    from pydantic import BaseModel

    from scheduler.api.replica import Replica
    from scheduler.engine.changes import Change
    from scheduler.engine.settlement import Settlement
    from scheduler.schedule import Schedule

HOLD_SECONDS = 5.0
HOLD_TICK_SECONDS = 0.05

Act = Callable[[Where], Awaitable[Response]]


@dataclass(frozen=True)
class Asked:
    """A request, as it can be passed on to another replica."""

    method: str
    path: str
    params: dict[str, str]
    content: bytes
    alone: bool
    """Whether another replica has passed it on: it goes no further."""

    @classmethod
    async def of(cls, request: Request) -> Asked:
        """Take out what matters."""
        # an id may be `..`, which a client of HTTP takes for the way up unless it is escaped
        path = quote(request.scope["path"]).replace(".", "%2E")
        params = {name: text for name, text in request.query_params.items() if name not in ("topic", "partition")}
        return cls(request.method, path, params, await request.body(), HOP in request.headers)


class Desk:
    """Used on one event loop."""

    def __init__(self, replica: Replica, local: Local, fleet: Fleet) -> None:
        self._replica = replica
        self._local = local
        self._fleet = fleet

    # -- where ---------------------------------------------------------------------------------------

    def topics(self, names: list[str]) -> tuple[str, ...]:
        """The schedules topics of these names; all of them where none is named.

        Raises:
            ProblemError: one is no schedules topic.
        """
        known = self._replica.settings.schedules_topics
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ProblemError(422, f"query.topic: {unknown[0][:250]!r} is not among {', '.join(known)}")
        return tuple(dict.fromkeys(names)) or tuple(known)

    async def place(self, schedule_id: str, query: models.PlaceQuery) -> Where | None:
        """Where a schedule is said to stand, or where it is found."""
        topics = self.topics([] if query.topic is None else [query.topic])
        if query.partition is None:
            return await self._fleet.find(schedule_id, topics)
        if len(topics) > 1:
            raise ProblemError(422, "query.partition: of which topic? Name it with topic")
        count = (await self._fleet.snapshot()).counts[topics[0]]
        if query.partition >= count:
            raise ProblemError(422, f"query.partition: {topics[0]} has {count} partitions, counted from 0")
        return topics[0], query.partition

    async def home(self, schedule_id: str, query: models.PlaceQuery) -> Where:
        """Where a new schedule goes: as Java's client has it, in the first topic where none is named."""
        topic = self.topics([] if query.topic is None else [query.topic])[0]
        count = (await self._fleet.snapshot()).counts[topic]
        if not count:
            raise unavailable(f"the topic {topic} does not exist; create it with: scheduler topics --create")
        return topic, partitioners.java(keys_shown_as(schedule_id)[0], count)

    async def _at(self, asked: Asked, where: Where, act: Act) -> Response:
        """Act where the partition is this replica's; else let the one act that has it."""
        try:
            if self._local.has(where):
                return await act(where)
            if asked.alone:
                raise ProblemError(421, f"{views.name(where)} is not this replica's")
        except UnansweredError as error:
            if asked.alone or self._local.has(where):
                raise nobody_answers([views.unanswered(where, str(error))]) from None
        answer = await self._fleet.pass_on(where, asked.method, asked.path, asked.params, asked.content)
        kept = ("content-type", "location", "retry-after")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        return Response(answer.content, answer.status_code, headers=headers)

    # -- one schedule --------------------------------------------------------------------------------

    async def show(self, asked: Asked, schedule_id: str, query: models.OneQuery) -> Response:
        """A schedule in force."""

        async def act(where: Where) -> Response:
            version = await self._local.get(where, schedule_id)
            if version is None:
                raise ProblemError(404, views.not_in_force(schedule_id))
            return _json(views.whole(where, version, query.next))

        where = await self.place(schedule_id, query)
        if where is None:
            raise ProblemError(404, views.not_in_force(schedule_id))
        return await self._at(asked, where, act)

    async def create(self, asked: Asked, new: models.NewSchedule, query: models.PlaceQuery) -> Response:
        """A schedule that was not there."""
        self._check(new, new.id)
        where = await self.place(new.id, query)
        if query.partition is None and where is not None:
            raise ProblemError(409, f"{new.id} is in force already, in {views.name(where)}; PUT replaces it")
        return await self._put(asked, where or await self.home(new.id, query), new.id, new, new=True)

    async def put(
        self, asked: Asked, schedule_id: str, definition: models.Definition, query: models.PlaceQuery
    ) -> Response:
        """A schedule, whether it was there or not."""
        self._check(definition, schedule_id)
        where = await self.place(schedule_id, query) or await self.home(schedule_id, query)
        return await self._put(asked, where, schedule_id, definition, new=False)

    def _check(self, definition: models.Definition, schedule_id: str) -> None:
        """Refuse it before anybody is asked."""
        definitions.record(definition, schedule_id.encode(), self._replica.policy, self._replica.clock.now_ms())

    async def _put(
        self, asked: Asked, where: Where, schedule_id: str, definition: models.Definition, *, new: bool
    ) -> Response:
        async def act(where: Where) -> Response:
            there = await self._local.get(where, schedule_id)
            key = keys_shown_as(schedule_id)[0] if there is None else there.key
            now_ms = self._replica.clock.now_ms()
            value, headers = definitions.record(definition, key, self._replica.policy, now_ms)
            version, replaced, read = await self._local.put(where, key, value, headers, new=new)
            status = (200 if replaced else 201) if read else 202
            location = {"Location": f"{V1}/schedules/{quote(schedule_id, safe='')}"}
            return _json(views.whole(where, version), status, location)

        return await self._at(asked, where, act)

    async def change(
        self,
        asked: Asked,
        schedule_id: str,
        query: models.PlaceQuery,
        change: Change,
        answer: Callable[[Where, Settlement, Schedule | None, bool], Response],
    ) -> Response:
        """A change of what is in force; `answer` hears how it ended, and whether all written before is read."""

        async def act(where: Where) -> Response:
            read = await self._local.caught_up(where)
            settlement, version = await self._local.change(where, schedule_id, change)
            return answer(where, settlement, version, read)

        # what was written this moment may not be read yet: the replica of its home knows best
        where = await self.place(schedule_id, query) or await self.home(schedule_id, query)
        return await self._at(asked, where, act)

    # -- whole topics --------------------------------------------------------------------------------

    async def hold(self, names: list[str], *, on: bool) -> Response:
        """Pause whole topics or let them go on; done when each replica has read it."""
        topics = self.topics(names)
        counts = (await self._fleet.snapshot()).counts
        try:
            await asyncio.to_thread(self._replica.kafka.hold, {topic: counts[topic] for topic in topics}, on=on)
        except (SchedulerError, KafkaException) as error:
            raise unavailable(f"{error}; GET {V1}/replicas says what is paused") from error
        deadline = Deadline(self._replica.clock, HOLD_SECONDS)
        while True:
            missing = await self._unheld(topics, on=on)
            if not missing or deadline.passed:
                break
            await asyncio.sleep(HOLD_TICK_SECONDS)
        return _json(models.Held(paused=on, topics=list(topics), unanswered=missing), 202 if missing else 200)

    async def _unheld(self, topics: tuple[str, ...], *, on: bool) -> list[Unanswered]:
        now = await self._fleet.replicas(alone=False)
        told = [each for replica in now.replicas for each in replica.partitions if each.topic in topics]
        unread = [
            views.unanswered((each.topic, each.partition), "its replica has not read it yet")
            for each in told
            if each.paused != on or each.state == "restoring"
        ]
        return [*unread, *(each for each in now.unanswered if each.topic in topics)]


def _json(shown: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(shown.model_dump(), status, headers=headers)


def changed(where: Where, _settlement: Settlement, version: Schedule | None, _read: bool) -> Response:  # noqa: FBT001
    """The version in force after a change."""
    if version is None:
        raise AssertionError(f"{views.name(where)}: nothing is in force after a change that ends nothing")
    return _json(views.whole(where, version))


def cancelled(where: Where, settlement: Settlement, _version: Schedule | None, read: bool) -> Response:  # noqa: FBT001
    """204: nothing fires that was acknowledged before; 202: the version that was in force does not."""
    if read:
        return Response(status_code=204)
    return _json(models.Cancelled(id=_id(settlement), topic=where[0], partition=where[1]), 202)


def fired(where: Where, settlement: Settlement, version: Schedule | None, _read: bool) -> Response:  # noqa: FBT001
    """Which occurrence was fired, and when the next one is due."""
    subject = settlement.subject
    return _json(
        models.Fired(
            id=_id(settlement),
            topic=where[0],
            partition=where[1],
            outcome="fired",
            fire_id=fire_id(subject.key or b"", settlement.due_ms),
            next_due=None if version is None else rfc3339(version.due_ms),
        )
    )


def _id(settlement: Settlement) -> str:
    return display(settlement.subject.key)
