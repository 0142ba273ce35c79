"""The routes of `/api/v1`: any replica answers for all of them."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from starlette.convertors import Convertor, register_url_convertor

from scheduler.api import decoded, definitions, desk, models, past_routes
from scheduler.api.answers import CHANGING, FINDING, LOOKING, WRITING, answers, problems
from scheduler.api.desk import Asked, Desk
from scheduler.api.fleet import V1, Fleet
from scheduler.api.paging import Wanted
from scheduler.api.replica import Replica
from scheduler.engine.changes import Change, Verb


class _AnyConvertor(Convertor[str]):
    """Any text: slashes, line ends and all."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyConvertor())

Id = Annotated[
    str,
    Path(min_length=1, description=r"the schedule's id, percent-encoded; bytes that are not UTF-8 as \xNN"),
]
PlaceQuery = Annotated[models.PlaceQuery, Query()]
OneQuery = Annotated[models.OneQuery, Query()]
TopicsQuery = Annotated[models.TopicsQuery, Query()]
ListQuery = Annotated[models.ListQuery, Query()]


def routes(replica: Replica, counter: Desk, fleet: Fleet) -> APIRouter:
    """Every route, for all partitions of all replicas."""
    # where no token is set, none is asked for, and the document says so
    bearer = HTTPBearer(auto_error=False, description="API_TOKEN", scheme_name="API_TOKEN")
    asks = replica.settings.api_token.get_secret_value()
    router = APIRouter(prefix=V1, dependencies=[Security(bearer)] if asks else [])
    _looking(router, counter, fleet)
    _writing(router, counter)
    _changing(router, replica, counter)
    _whole(router, counter, fleet)
    past_routes.routes(replica, counter, router)
    decoded.routes(replica, counter, router)
    return router


def _looking(router: APIRouter, counter: Desk, fleet: Fleet) -> None:
    @router.get("/schedules", tags=["schedules"], responses=LOOKING)
    async def list_schedules(request: Request, query: ListQuery) -> models.Page:
        """What is in force, by due time, over all partitions; the paused ones last."""
        wanted = Wanted.of(query, counter.topics(query.topic))
        part, missing = await fleet.page(wanted, alone=(await Asked.of(request)).alone)
        cursor = None if part.until is None else part.until.cursor()
        return models.Page(schedules=list(part.schedules), next_cursor=cursor, unanswered=missing)

    @router.get(
        "/schedules/{schedule_id:any}", tags=["schedules"], response_model=models.Schedule, responses=LOOKING | FINDING
    )
    async def get_schedule(request: Request, schedule_id: Id, query: OneQuery) -> Response:
        """A schedule in force, with its payload and its next occurrences."""
        return await counter.show(await Asked.of(request), schedule_id, query)


def _writing(router: APIRouter, counter: Desk) -> None:
    @router.post(
        "/schedules",
        tags=["schedules"],
        status_code=201,
        response_model=models.Schedule,
        responses=CHANGING | WRITING | problems({409: "the id is in force already"}),
    )
    async def create_schedule(
        request: Request, query: PlaceQuery, new: Annotated[models.NewSchedule, Body()]
    ) -> Response:
        """A new schedule; refused where its id is in force."""
        return await counter.create(await Asked.of(request), new, query)

    @router.put(
        "/schedules/{schedule_id:any}",
        tags=["schedules"],
        response_model=models.Schedule,
        responses=CHANGING
        | WRITING
        | answers({201: (models.Schedule, "created")})
        | problems({409: "the id stands in several partitions, `places` says which"}),
    )
    async def put_schedule(
        request: Request, schedule_id: Id, query: PlaceQuery, definition: Annotated[models.Definition, Body()]
    ) -> Response:
        """Replace a schedule where it stands, all of it; or create it."""
        return await counter.put(await Asked.of(request), schedule_id, definition, query)


def _changing(router: APIRouter, replica: Replica, counter: Desk) -> None:
    @router.patch(
        "/schedules/{schedule_id:any}", tags=["schedules"], response_model=models.Schedule, responses=CHANGING | FINDING
    )
    async def reschedule(
        request: Request, schedule_id: Id, query: PlaceQuery, times: Annotated[models.Reschedule, Body()]
    ) -> Response:
        """Another due time, another rule, or both; everything else stays."""
        change = definitions.reschedule(times, replica.clock.now_ms())
        return await counter.change(await Asked.of(request), schedule_id, query, change, desk.changed)

    @router.delete(
        "/schedules/{schedule_id:any}",
        tags=["schedules"],
        status_code=204,
        responses=CHANGING
        | FINDING
        | answers({202: (models.Cancelled, "cancelled; a newer version may stand behind an open transaction")}),
    )
    async def cancel_schedule(request: Request, schedule_id: Id, query: PlaceQuery) -> Response:
        """Cancel. 204 promises that nothing of it fires that was acknowledged before this request."""
        return await counter.change(await Asked.of(request), schedule_id, query, Change(Verb.CANCEL), desk.cancelled)

    @router.post(
        "/schedules/{schedule_id:any}/fire",
        tags=["schedules"],
        response_model=models.Fired,
        responses=CHANGING | FINDING,
    )
    async def fire_schedule(request: Request, schedule_id: Id, query: PlaceQuery) -> Response:
        """Fire now, paused or not; a recurring one goes on as before."""
        return await counter.change(await Asked.of(request), schedule_id, query, Change(Verb.FIRE), desk.fired)

    @router.post(
        "/schedules/{schedule_id:any}/pause",
        tags=["schedules"],
        response_model=models.Schedule,
        responses=CHANGING | FINDING,
    )
    async def pause_schedule(request: Request, schedule_id: Id, query: PlaceQuery) -> Response:
        """Keep it in force and do not fire it until it is resumed."""
        return await counter.change(await Asked.of(request), schedule_id, query, Change(Verb.PAUSE), desk.changed)

    @router.post(
        "/schedules/{schedule_id:any}/resume",
        tags=["schedules"],
        response_model=models.Schedule,
        responses=CHANGING | FINDING,
    )
    async def resume_schedule(request: Request, schedule_id: Id, query: PlaceQuery) -> Response:
        """Let it go on. Occurrences of a recurring one that passed meanwhile are left out; a one-shot fires."""
        return await counter.change(await Asked.of(request), schedule_id, query, Change(Verb.RESUME), desk.changed)


def _whole(router: APIRouter, counter: Desk, fleet: Fleet) -> None:
    unread = answers({202: (models.Held, "written; `unanswered` names partitions whose replica has not read it yet")})

    @router.post("/pause", tags=["all of it"], response_model=models.Held, responses=CHANGING | unread)
    async def pause_all(query: TopicsQuery) -> Response:
        """Pause whole topics: nothing fires after the answer 200, whoever has the partitions."""
        return await counter.hold(query.topic, on=True)

    @router.post("/resume", tags=["all of it"], response_model=models.Held, responses=CHANGING | unread)
    async def resume_all(query: TopicsQuery) -> Response:
        """Let whole topics go on. What was missed follows each schedule's misfire policy."""
        return await counter.hold(query.topic, on=False)

    @router.get("/pending", tags=["all of it"], responses=LOOKING)
    async def pending(request: Request) -> models.Pending:
        """What is pending, counted by target, and by the minute for the coming hour."""
        return await fleet.pending(alone=(await Asked.of(request)).alone)

    @router.get("/replicas", tags=["all of it"], responses=LOOKING)
    async def replicas(request: Request) -> models.Replicas:
        """Who has which partition, and where it stands."""
        return await fleet.replicas(alone=(await Asked.of(request)).alone)
