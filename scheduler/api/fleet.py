"""Answers for the whole of the topics, whichever replica has which partition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scheduler.api import models, views
from scheduler.api.counting import Counting
from scheduler.api.local import Local, UnansweredError
from scheduler.api.paging import Part, Spot, Wanted, merge
from scheduler.api.peers import PeerError, Peers
from scheduler.api.problems import ProblemError, unavailable
from scheduler.clock import rfc3339
from scheduler.engine.pending import NEVER_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import httpx

    from scheduler.api.directory import Directory, Peer, Snapshot
    from scheduler.api.problems import Unanswered
    from scheduler.api.replica import Replica
    from scheduler.api.views import Where

V1 = "/api/v1"
_NOBODY = "no replica has it now; a group that is changing takes a moment"


class Fleet:
    """This replica and the others; used on one event loop."""

    def __init__(self, replica: Replica, own: str, local: Local, directory: Directory, peers: Peers) -> None:
        self._replica = replica
        self._counting = Counting(local, replica.clock)
        self._own = own
        self._local = local
        self._directory = directory
        self._peers = peers

    # -- lists ---------------------------------------------------------------------------------------

    async def page(self, wanted: Wanted, *, alone: bool) -> tuple[Part, list[Unanswered]]:
        """What is wanted in all partitions, and which nobody has answered for; `alone`: ask no other replica."""
        now = await self._directory.look()
        parts, missing = await self._ask(wanted, now, now.partitions(wanted.topics), alone=alone)
        if missing and not alone:
            # partitions move: look once more who has them
            self._directory.forget()
            now = await self._directory.look()
            more, missing = await self._ask(wanted, now, list(missing), alone=False)
            parts += more
        return merge(parts, wanted.limit), [views.unanswered(*each) for each in sorted(missing.items())]

    async def _ask(
        self, wanted: Wanted, now: Snapshot, wheres: Sequence[Where], *, alone: bool
    ) -> tuple[list[Part], dict[Where, str]]:
        mine = [where for where in wheres if self._local.has(where)]
        others = [where for where in wheres if where not in set(mine)]
        missing: dict[Where, str] = {}
        if alone:
            missing |= dict.fromkeys(others, "it is not this replica's")
            others = []
        missing |= {where: now.fault or _NOBODY for where in others if where not in now.homes}
        peers = {now.homes[where] for where in others if where in now.homes}
        answers = await asyncio.gather(
            *(self._scan(wanted, where) for where in mine),
            *(
                self._page_of(wanted, peer, {where for where in others if now.homes.get(where) == peer})
                for peer in peers
            ),
        )
        for _, unanswered in answers:
            missing |= unanswered
        return [part for part, _ in answers], missing

    async def _scan(self, wanted: Wanted, where: Where) -> tuple[Part, dict[Where, str]]:
        try:
            return await self._local.scan(where, wanted), {}
        except UnansweredError as error:
            return Part([], None), {where: str(error)}

    async def _page_of(self, wanted: Wanted, peer: Peer, wheres: set[Where]) -> tuple[Part, dict[Where, str]]:
        """What another replica has, of the partitions that it is taken to have."""
        try:
            page = await self._peers.get(peer, f"{V1}/schedules", _query(wanted), models.Page)
        except PeerError as error:
            return Part([], None), dict.fromkeys(wheres, str(error))
        missing = {(each.topic, each.partition): each.why for each in page.unanswered}
        found = [shown for shown in page.schedules if (shown.topic, shown.partition) in wheres]
        until = None if page.next_cursor is None else Spot.of_cursor(page.next_cursor)
        return Part(found, until), {where: missing[where] for where in wheres if where in missing}

    # -- one schedule --------------------------------------------------------------------------------

    async def find(self, schedule_id: str, topics: tuple[str, ...]) -> Where | None:
        """The partition where the schedule stands; None where it is in no partition of the topics.

        Raises:
            ProblemError: it stands in several, or may stand in one that nobody has answered for.
        """
        part, missing = await self.page(Wanted(topics, id=schedule_id, limit=models.MAX_PAGE), alone=False)
        places = [(shown.topic, shown.partition) for shown in part.schedules]
        if len(places) > 1:
            raise ProblemError(
                409,
                f"{schedule_id} stands in {' and '.join(map(views.name, places))}: name one with topic and partition",
                places=[{"topic": topic, "partition": partition} for topic, partition in places],
            )
        if not places and missing:
            raise nobody_answers(missing)
        return places[0] if places else None

    async def snapshot(self) -> Snapshot:
        """Who has what."""
        return await self._directory.look()

    async def pass_on(
        self, where: Where, method: str, path: str, params: dict[str, Any], content: bytes
    ) -> httpx.Response:
        """Let the replica that has the partition answer.

        Raises:
            ProblemError: there is none, or it does not.
        """
        params = {**params, "topic": where[0], "partition": where[1]}
        why = _NOBODY
        for _ in range(2):
            now = await self._directory.look()
            peer = now.homes.get(where)
            why = now.fault or _NOBODY
            if peer is not None:
                try:
                    answer = await self._peers.send(peer, method, path, params, content)
                except PeerError as error:
                    if not error.nothing_happened:
                        raise ProblemError(
                            504, f"{error}; nobody knows whether it took effect: look at the schedule and the history"
                        ) from error
                    why = str(error)
                else:
                    if answer.status_code != 421:  # noqa: PLR2004 - Misdirected Request: it has it no more
                        return answer
                    why = f"{peer.address} has it no more"
            self._directory.forget()
        raise nobody_answers([views.unanswered(where, why)])

    # -- counts --------------------------------------------------------------------------------------

    async def pending(self, *, alone: bool) -> models.Pending:
        """What is pending, counted."""
        mine = await self._counting.mine(sorted(self._replica.owners()))
        if alone:
            return mine
        tally = self._counting.start()
        tally.join(mine)
        now = await self._directory.look()
        missing = {(each.topic, each.partition): each.why for each in mine.unanswered}
        everywhere = now.partitions(self._replica.settings.schedules_topics)
        missing |= {
            where: now.fault or _NOBODY for where in everywhere if where not in now.homes and not self._local.has(where)
        }
        for peer, answer in zip(now.peers, await asyncio.gather(*map(self._pending_at, now.peers)), strict=True):
            if isinstance(answer, PeerError):
                missing |= dict.fromkeys(peer.partitions.intersection(everywhere), str(answer))
            else:
                tally.join(answer)
                missing |= {(each.topic, each.partition): each.why for each in answer.unanswered}
        tally.unanswered = [views.unanswered(*each) for each in sorted(missing.items())]
        return tally.shown()

    async def _pending_at(self, peer: Peer) -> models.Pending | PeerError:
        try:
            return await self._peers.get(peer, f"{V1}/pending", {}, models.Pending)
        except PeerError as error:
            return error

    # -- replicas ------------------------------------------------------------------------------------

    def me(self) -> models.ReplicaStanding:
        """This replica."""
        standings, lags = sorted(self._replica.standings().items()), self._replica.lags()
        return models.ReplicaStanding(
            client_id=self._replica.client_id,
            address=self._own,
            me=True,
            why=None,
            partitions=[views.standing(where, seen, lags.get(where)) for where, seen in standings],
        )

    async def replicas(self, *, alone: bool) -> models.Replicas:
        """Who has what, this replica first."""
        if alone:
            return models.Replicas(replicas=[self.me()], unanswered=[])
        now = await self._directory.look()
        mine = self.me()
        others = await asyncio.gather(*(self._standing(peer) for peer in now.peers))
        known = {(each.topic, each.partition) for replica in (mine, *others) for each in replica.partitions}
        missing = {
            where: f"{peer.client_id} has it and does not answer"
            if (peer := now.homes.get(where))
            else now.fault or _NOBODY
            for where in now.partitions(self._replica.settings.schedules_topics)
            if where not in known
        }
        return models.Replicas(
            replicas=[mine, *sorted(others, key=lambda each: each.client_id)],
            unanswered=[views.unanswered(*each) for each in missing.items()],
        )

    async def _standing(self, peer: Peer) -> models.ReplicaStanding:
        try:
            answer = await self._peers.get(peer, f"{V1}/replicas", {}, models.Replicas)
            return answer.replicas[0].model_copy(update={"me": False})
        except (PeerError, IndexError) as error:
            address = None if peer.address is None else str(peer.address)
            return models.ReplicaStanding(
                client_id=peer.client_id, address=address, me=False, why=str(error), partitions=[]
            )


def nobody_answers(missing: Iterable[Unanswered]) -> ProblemError:
    """503, with the partitions that nobody has answered for."""
    missing = list(missing)
    told = "; ".join(f"{each.topic}/{each.partition}: {each.why}" for each in missing[:3])
    return unavailable(f"nobody answers for {told}", unanswered=missing)


def _query(wanted: Wanted) -> dict[str, Any]:
    """The same question for another replica."""
    said = {
        "topic": list(wanted.topics),
        "id": wanted.id,
        "prefix": wanted.prefix,
        "contains": wanted.contains,
        "target": wanted.target,
        "target_key": wanted.target_key,
        "due_from": rfc3339(wanted.due_from_ms) if wanted.due_from_ms else None,
        "due_to": rfc3339(wanted.due_to_ms) if wanted.due_to_ms < NEVER_MS else None,
        "paused": wanted.paused,
        "limit": wanted.limit,
        "cursor": None if wanted.after is None else wanted.after.cursor(),
    }
    return {name: value for name, value in said.items() if value is not None}
