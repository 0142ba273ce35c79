"""The application of one replica: the admin page, etf1's routes, `/api/v1` and its document, and the guard in front."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi_offline import FastAPIOffline

from scheduler import __version__
from scheduler.api import etf1, problems, v1
from scheduler.api.desk import Desk
from scheduler.api.directory import Directory
from scheduler.api.fleet import Fleet
from scheduler.api.guard import Guard, Rules
from scheduler.api.local import Local
from scheduler.api.peers import Peers
from scheduler.page import assets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx
    from fastapi import APIRouter, FastAPI

    from scheduler.api.replica import Replica
    from scheduler.runtime.settings import Address

_ABOUT = """Schedules in force: look for them, write them, change them. Any replica answers for all of them.

Errors are problem documents (RFC 9457). Changes need `API_TOKEN`, or come from this machine where there is none."""


def make_app(
    replica: Replica,
    address: Address,
    advertised: Address,
    *,
    loopback: bool,
    transport: httpx.AsyncBaseTransport | None = None,
    routers: Sequence[APIRouter] = (),
    anybody: bool = False,
) -> FastAPI:
    """The routes of one replica.

    Args:
        replica: whose they are.
        address: where they are served.
        advertised: where other replicas find them.
        loopback: whether only this machine can reach them.
        transport: how other replicas are reached; over the network without it.
        routers: more routes.
        anybody: whether other machines may change things without a token.
    """
    settings = replica.settings
    local = Local(replica)
    peers = Peers(settings, str(advertised), transport)
    fleet = Fleet(replica, str(advertised), local, Directory(replica), peers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await peers.close()

    app = FastAPIOffline(
        title="Kafka scheduler",
        version=__version__,
        description=_ABOUT,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        static_url="/docs/static",
    )
    problems.install(app)
    app.include_router(assets.routes())
    app.include_router(etf1.routes(replica, str(address)))
    app.include_router(v1.routes(replica, Desk(replica, local, fleet), fleet))
    for router in routers:
        app.include_router(router)
    app.openapi = _document(app)  # type: ignore[method-assign]  # FastAPI's own way to amend the document
    names = frozenset({address.host, advertised.host})
    rules = Rules(settings.api_token.get_secret_value(), loopback=loopback, names=names, anybody=anybody)
    app.add_middleware(Guard, rules=rules)
    return app


def _document(app: FastAPI) -> Any:
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _name_problems(made())
        return made()

    return openapi


def _name_problems(document: dict[str, Any]) -> None:
    """Every error is a problem document, which FastAPI cannot be told."""
    for path in document["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {})
                schema = content.get("application/json", {}).get("schema", {})
                if schema.get("$ref") == "#/components/schemas/Problem":
                    content[problems.MEDIA_TYPE] = content.pop("application/json")
