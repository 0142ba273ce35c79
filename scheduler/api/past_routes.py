"""The routes of `/api/v1` about the past: history, runs, dead letters, versions."""

import asyncio
from typing import Annotated, Any

from confluent_kafka import KafkaException
from fastapi import APIRouter, Body, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from scheduler.api import past_models as models
from scheduler.api import past_rows
from scheduler.api.answers import CHANGING, LOOKING, problems
from scheduler.api.desk import Desk
from scheduler.api.ids import keys_shown_as
from scheduler.api.past import Past
from scheduler.api.problems import unavailable
from scheduler.api.replica import Replica
from scheduler.archive.store import Kind
from scheduler.clock import rfc3339
from scheduler.errors import SchedulerError
from scheduler.letters import Action


def routes(replica: Replica, counter: Desk, router: APIRouter) -> None:
    """Add what is known of the past to the routes of `/api/v1`."""
    past = Past(replica)
    _history(router, past)
    _runs(router, past)
    _letters(router, past)
    _settling(router, past)
    _versions(router, replica, counter)


class _PlaceConvertor(StringConvertor):
    """A partition and an offset; anything else is another path."""

    regex = models.PLACE.strip("^$")


register_url_convertor("place", _PlaceConvertor())

Place = Annotated[str, Path(pattern=models.PLACE, description="partition and offset", examples=["0-17"])]
MISSING = problems({404: "that record is not kept"})
GONE = problems({404: "one is no dead letter, or it has been dealt with"})
SEVERAL = problems({409: "the id stands in several partitions, `places` says which"})


def _history(router: APIRouter, past: Past) -> None:
    @router.get("/history", tags=["the past"], responses=LOOKING)
    async def history(query: Annotated[models.EventQuery, Query()]) -> models.Events:
        """What became of schedules, the newest first."""
        equal = {"schedule_id": query.id, "target": query.target, "outcome": query.outcome}
        rows, rest = await past.page(Kind.EVENT, query, equal, query.prefix, query.contains)
        return models.Events(events=[models.Event(**past_rows.event(row)) for row in rows], **rest)

    @router.get("/history/{place:place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_event(place: Place) -> models.WholeEvent:
        """One record of the history, with its payload."""
        return past_rows.whole_event(await past.one(Kind.EVENT, place))

    @router.get("/outcomes", tags=["the past"], responses=LOOKING)
    async def outcomes() -> models.Outcomes:
        """How schedules ended in the last hour, and how many dead letters wait for somebody."""
        return await past.outcomes()


def _runs(router: APIRouter, past: Past) -> None:
    @router.get("/jobs", tags=["the past"], responses=LOOKING)
    async def jobs() -> models.Jobs:
        """Jobs that have run, each with its last attempts."""
        return await past.jobs()

    @router.get("/runs", tags=["the past"], responses=LOOKING)
    async def runs(query: Annotated[models.RunQuery, Query()]) -> models.Runs:
        """Attempts of jobs, the newest first."""
        equal = {"job_id": query.id, "run_id": query.run_id, "cluster": query.cluster, "outcome": query.outcome}
        rows, rest = await past.page(Kind.RUN, query, equal)
        return models.Runs(runs=list(map(past_rows.run, rows)), **rest)

    @router.get("/runs/{place:place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_run(place: Place) -> models.WholeRun:
        """One attempt, with the end of what it said."""
        return past_rows.whole_run(await past.one(Kind.RUN, place))


def _letters(router: APIRouter, past: Past) -> None:
    @router.get("/dead-letters", tags=["the past"], responses=LOOKING)
    async def letters(query: Annotated[models.LetterQuery, Query()]) -> models.Letters:
        """What was given up and nobody has dealt with, the newest first."""
        equal: dict[str, Any] = {"kind": query.kind, "name": query.name, "cluster": query.cluster}
        if query.settled:
            equal["settled"] = [action.value for action in Action]
        rows, rest = await past.page(Kind.LETTER, query, equal)
        waiting = await asyncio.to_thread(past.open_letters)
        return models.Letters(letters=[models.Letter(**past_rows.letter(row)) for row in rows], open=waiting, **rest)

    @router.get("/dead-letters/{place:place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_letter(place: Place) -> models.WholeLetter:
        """All that is known of a dead letter."""
        return models.WholeLetter(**past_rows.letter(await past.one(Kind.LETTER, place)))


def _settling(router: APIRouter, past: Past) -> None:
    @router.post("/dead-letters/redrive", tags=["the past"], responses=CHANGING | GONE)
    async def redrive(which: Annotated[models.LetterIds, Body()]) -> models.Settled:
        """Run dead letters again, once, whoever else does so: all of them or none."""
        return await past.settle(Action.REDRIVEN, which.ids)

    @router.post("/dead-letters/discard", tags=["the past"], responses=CHANGING | GONE)
    async def discard(which: Annotated[models.LetterIds, Body()]) -> models.Settled:
        """Put dead letters away: they stay on the topic and are listed no more. All of them or none."""
        return await past.settle(Action.DISCARDED, which.ids)


def _versions(router: APIRouter, replica: Replica, counter: Desk) -> None:
    one_at_a_time = asyncio.Lock()

    @router.get("/versions", tags=["the past"], responses=LOOKING | SEVERAL)
    async def versions(query: Annotated[models.VersionQuery, Query()]) -> models.Versions:
        """Every record of a schedule that its topic still holds; reads the partition for it, so it may take seconds."""
        where = await counter.place(query.id, query)
        keys = frozenset(keys_shown_as(query.id))
        topics = counter.topics([] if query.topic is None else [query.topic])
        places = [(topic, None) for topic in topics] if where is None else [where]
        found: list[models.VersionEntry] = []
        async with one_at_a_time:
            for topic, partition in places:
                try:
                    entries = await asyncio.to_thread(replica.kafka.log, topic, partition, keys)
                except (SchedulerError, KafkaException) as error:
                    raise unavailable(str(error)) from error
                found += [
                    models.VersionEntry(
                        topic=topic,
                        partition=entry.partition,
                        offset=entry.offset,
                        written=rfc3339(max(0, entry.timestamp_ms)),
                        what=entry.what,
                        in_force=entry.in_force,
                    )
                    for entry in entries
                ]
        return models.Versions(versions=found)
