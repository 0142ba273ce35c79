"""The past, which every replica reads from Kafka itself: what a request wants of it, and dealing with letters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scheduler.api import past_models as models
from scheduler.api import past_rows
from scheduler.api.problems import ProblemError
from scheduler.archive.store import Kind, Wanted
from scheduler.clock import Deadline, rfc3339
from scheduler.errors import BrokerUnavailableError, InputError
from scheduler.settling import NoLetterError

if TYPE_CHECKING:
    from scheduler.api.replica import Replica
    from scheduler.archive.archive import Archive
    from scheduler.archive.store import Row
    from scheduler.letters import Action

READY_SECONDS = 2.0
"""How long the first answers wait for the reading that they have begun; what is there by then goes out."""
TICK_SECONDS = 0.02
HOUR_MS = 3_600_000
RECENT_RUNS = 20
MOST_JOBS = 500


class Past:
    """Answers from the archive; used on one event loop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    @property
    def _archive(self) -> Archive:
        # asked for each time: routes are kept by the framework, and would keep all of the past with them
        return self._replica.archive

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
        prefix: str | None = None,
        contains: str | None = None,
    ) -> tuple[list[Row], dict[str, Any]]:
        """Rows, newest first, and what goes with every page."""
        await self.look(kind)
        newest = self._archive.store.newest()  # before the rows: what comes meanwhile is told twice, not never
        wanted = Wanted(
            {name: value for name, value in equal.items() if value not in (None, [])},
            None if prefix is None else ("schedule_id", prefix),
            None if contains is None else ("schedule_id", contains),
            past_rows.instant("since", query.since),
            past_rows.instant("until", query.until),
            past_rows.spot(query.cursor),
            query.after,
            query.limit + 1,
        )
        if kind is Kind.LETTER and "settled" not in equal:
            wanted.equal["settled"] = None
        rows = await asyncio.to_thread(self._archive.store.rows, kind, wanted, brief=True)
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
        rows = await asyncio.to_thread(self._archive.store.rows, kind, Wanted({"place": place}, limit=1))
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
            run = past_rows.run(row)
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
