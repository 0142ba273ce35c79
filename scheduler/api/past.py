"""The routes of `/api/v1` about the past: history, runs, dead letters. Every replica reads it all from Kafka itself."""

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Annotated, Any

from confluent_kafka import KafkaException
from fastapi import APIRouter, Body, Path, Query

from scheduler.api import past_models as models
from scheduler.api.answers import CHANGING, LOOKING, problems
from scheduler.api.desk import Desk
from scheduler.api.ids import Encoding, as_text, keys_shown_as
from scheduler.api.problems import ProblemError, unavailable
from scheduler.api.replica import Replica
from scheduler.archive.store import Kind, Row, Spot, Wanted
from scheduler.clock import Deadline, rfc3339
from scheduler.errors import BrokerUnavailableError, InputError, SchedulerError
from scheduler.instants import parse_instant
from scheduler.letters import Action
from scheduler.settling import NoLetterError

if TYPE_CHECKING:
    from scheduler.archive.archive import Archive

READY_SECONDS = 2.0
"""How long the first answers wait for the reading that they have begun; what is there by then goes out."""
TICK_SECONDS = 0.02
HOUR_MS = 3_600_000
RECENT_RUNS = 20
MOST_JOBS = 500
_EVENT = [
    "at_ms",
    "place",
    "schedule_id",
    "outcome",
    "due_ms",
    "lateness_ms",
    "target",
    "fire_id",
    "reason",
    "detail",
    "payload_bytes",
]
_RUN = ["at_ms", "place", "run_id", "job_id", "job", "cluster", "outcome", "told"]


class Past:
    """Answers from the archive; used on one event loop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._archive: Archive = replica.archive

    async def look(self, kind: Kind) -> None:
        """Let it be read, and wait a moment for that."""
        deadline = Deadline(self._replica.clock, READY_SECONDS)
        while True:
            if self._archive.look(kind) or deadline.passed:
                return
            await asyncio.sleep(TICK_SECONDS)

    async def page(
        self,
        kind: Kind,
        query: models.PageQuery,
        equal: dict[str, Any],
        *,
        columns: list[str],
        prefix: str | None = None,
    ) -> tuple[list[Row], dict[str, Any]]:
        """Rows, newest first, and what goes with every page."""
        await self.look(kind)
        newest = self._archive.store.newest()  # before the rows: what comes meanwhile is told twice, not never
        wanted = Wanted(
            {name: value for name, value in equal.items() if value not in (None, [])},
            None if prefix is None else ("schedule_id", prefix),
            _instant("since", query.since),
            _instant("until", query.until),
            _spot(query.cursor),
            query.after,
            query.limit + 1,
        )
        if kind is Kind.LETTER and "settled" not in equal:
            wanted.equal["settled"] = None
        rows = await asyncio.to_thread(self._archive.rows, kind, wanted, columns)
        more = len(rows) > query.limit
        del rows[query.limit :]
        cursor = f"{rows[-1]['at_ms']}-{rows[-1]['seq']}" if more else None
        return rows, {"next_cursor": cursor, "newest": newest, "known": self.known(kind)}

    async def one(self, kind: Kind, place: str) -> Row:
        """The row of a record.

        Raises:
            ProblemError: it is not kept.
        """
        await self.look(kind)
        rows = await asyncio.to_thread(self._archive.rows, kind, Wanted({"place": place}, limit=1))
        if not rows:
            known = self.known(kind)
            since = f"from {known.since} on" if known.since else "nothing yet"
            raise ProblemError(404, f"{place} is not among the records of {known.topic} that are kept ({since})")
        return rows[0]

    def known(self, kind: Kind) -> models.Known:
        """How far back is known."""
        extent = self._archive.extent(kind)
        return models.Known(
            topic=extent.reading.topic,
            reading=not extent.reading.caught_up,
            records=extent.records,
            since=None if extent.since_ms is None else rfc3339(extent.since_ms),
            whole=extent.whole,
            why=extent.reading.why,
        )

    async def jobs(self) -> models.Jobs:
        """Jobs and their last attempts."""
        await self.look(Kind.RUN)
        rows = await asyncio.to_thread(self._archive.store.jobs, RECENT_RUNS, MOST_JOBS)
        jobs: dict[str, models.JobRuns] = {}
        for row in rows:
            run = _run(row)
            job = jobs.setdefault(
                run.id, models.JobRuns(id=run.id, job=run.job, cluster=run.cluster, kept=row["kept"], recent=[])
            )
            job.recent.append(run)
        return models.Jobs(jobs=list(jobs.values()), known=self.known(Kind.RUN))

    async def outcomes(self) -> models.Outcomes:
        """What ended in the last hour."""
        await self.look(Kind.EVENT)
        since_ms = self._replica.clock.now_ms() - HOUR_MS
        store = self._archive.store
        outcomes = await asyncio.to_thread(store.outcomes, since_ms)
        return models.Outcomes(
            since=rfc3339(since_ms),
            outcomes=outcomes,
            open_letters=await asyncio.to_thread(self.open_letters),
            known=self.known(Kind.EVENT),
        )

    def open_letters(self) -> int:
        """How many dead letters wait for somebody, of those that are kept."""
        return self._archive.store.open_letters()

    async def settle(self, action: Action, ids: list[str]) -> models.Settled:
        """Deal with letters, all of them or none."""
        try:
            letters = await asyncio.to_thread(self._replica.kafka.settle, action, frozenset(ids))
        except NoLetterError as error:
            raise ProblemError(404, str(error)) from None
        except InputError as error:
            raise ProblemError(422, str(error)) from None
        except BrokerUnavailableError as error:
            raise ProblemError(
                504, f"{error}; nobody knows whether the letters were dealt with: look at them before trying again"
            ) from error
        return models.Settled(action=action.value, ids=[letter.id for letter in letters])


def routes(replica: Replica, counter: Desk, router: APIRouter) -> None:
    """Add what is known of the past to the routes of `/api/v1`."""
    past = Past(replica)
    _history(router, past)
    _runs(router, past)
    _letters(router, past)
    _settling(router, past)
    _versions(router, replica, counter)


Place = Annotated[str, Path(pattern=models.PLACE, description="partition and offset", examples=["0-17"])]
MISSING = problems({404: "that record is not kept"})
GONE = problems({404: "one is no dead letter, or it has been dealt with"})
SEVERAL = problems({409: "the id stands in several partitions, `places` says which"})


def _history(router: APIRouter, past: Past) -> None:
    @router.get("/history", tags=["the past"], responses=LOOKING)
    async def history(query: Annotated[models.EventQuery, Query()]) -> models.Events:
        """What became of schedules, the newest first."""
        equal = {"schedule_id": query.id, "target": query.target, "outcome": query.outcome}
        rows, rest = await past.page(Kind.EVENT, query, equal, columns=_EVENT, prefix=query.prefix)
        return models.Events(events=[models.Event(**_event(row)) for row in rows], **rest)

    @router.get("/history/{place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_event(place: Place) -> models.WholeEvent:
        """One record of the history, with its payload."""
        row = await past.one(Kind.EVENT, place)
        raw, size = row["payload"], row["payload_bytes"]
        payload, encoding = (None, "text") if raw is None else as_text(raw)
        cut = raw is not None and size > len(raw)
        if cut and encoding == "base64":
            payload, encoding = _cut_text(raw)
        return models.WholeEvent(
            **_event(row),
            payload=payload,
            payload_encoding=encoding,
            payload_is_cut=cut,
            headers=[models.EventHeader(name=name, value=value) for name, value in json.loads(row["headers"])],
        )

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
        rows, rest = await past.page(Kind.RUN, query, equal, columns=_RUN)
        return models.Runs(runs=list(map(_run, rows)), **rest)

    @router.get("/runs/{place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_run(place: Place) -> models.WholeRun:
        """One attempt, with the end of what it said."""
        row = await past.one(Kind.RUN, place)
        output = row["output"]
        cut = isinstance(row["output_bytes"], int) and row["output_bytes"] > len(output.encode())
        return models.WholeRun(**_run(row).model_dump(), output=output, output_is_cut=cut)


def _letters(router: APIRouter, past: Past) -> None:
    @router.get("/dead-letters", tags=["the past"], responses=LOOKING)
    async def letters(query: Annotated[models.LetterQuery, Query()]) -> models.Letters:
        """What was given up and nobody has dealt with, the newest first."""
        equal: dict[str, Any] = {"kind": query.kind, "name": query.name, "cluster": query.cluster}
        if query.settled:
            equal["settled"] = [action.value for action in Action]
        columns = ["at_ms", "place", "told", "settled", "settled_at_ms"]
        rows, rest = await past.page(Kind.LETTER, query, equal, columns=columns)
        waiting = await asyncio.to_thread(past.open_letters)
        return models.Letters(letters=[models.Letter(**_letter(row)) for row in rows], open=waiting, **rest)

    @router.get("/dead-letters/{place}", tags=["the past"], responses=LOOKING | MISSING)
    async def one_letter(place: Place) -> models.WholeLetter:
        """All that is known of a dead letter."""
        return models.WholeLetter(**_letter(await past.one(Kind.LETTER, place)))


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


# -- rows as JSON ------------------------------------------------------------------------------------


def _event(row: Row) -> dict[str, Any]:
    return {
        "place": row["place"],
        "time": rfc3339(row["at_ms"]),
        "id": row["schedule_id"],
        "outcome": row["outcome"],
        "due": None if row["due_ms"] is None else rfc3339(row["due_ms"]),
        "lateness_ms": row["lateness_ms"],
        "target_topic": row["target"],
        "fire_id": row["fire_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "payload_bytes": row["payload_bytes"],
    }


def _cut_text(raw: bytes) -> tuple[str, Encoding]:
    """The beginning of a payload, which may end within a character."""
    for end in range(len(raw) - 1, len(raw) - 4, -1):
        text, encoding = as_text(raw[:end])
        if encoding == "text":
            return text, encoding
    return base64.b64encode(raw).decode("ascii"), "base64"


def _run(row: Row) -> models.Run:
    told = json.loads(row["told"])
    own = {name: row[name] for name in ("place", "run_id", "job", "cluster", "outcome")}
    return models.Run(**{**told, **own, "id": row["job_id"], "time": rfc3339(row["at_ms"])})


def _letter(row: Row) -> dict[str, Any]:
    settled_ms = row["settled_at_ms"]
    return {
        **json.loads(row["told"]),
        "settled": row["settled"],
        "settled_at": None if settled_ms is None else rfc3339(settled_ms),
    }


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    instant_ms = parse_instant(text)
    if instant_ms is None:
        raise ProblemError(422, f"query.{name}: not an RFC 3339 instant with offset: 2030-01-01T00:00:00Z")
    return instant_ms


def _spot(cursor: str | None) -> Spot | None:
    if cursor is None:
        return None
    at_ms, _, seq = cursor.partition("-")
    if not (at_ms.isascii() and at_ms.isdecimal() and seq.isascii() and seq.isdecimal() and len(cursor) < 37):  # noqa: PLR2004
        raise ProblemError(422, "query.cursor: not one that this API has given")
    return Spot(int(at_ms), int(seq))
