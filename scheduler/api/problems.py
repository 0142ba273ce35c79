"""Errors as RFC 9457 problem documents: a title, a status, and a sentence that says what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

MEDIA_TYPE = "application/problem+json"

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

log = logging.getLogger("scheduler.api")


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="the parameter, or the field of the body", examples=["body.due_from"])
    message: str = Field(examples=["Input should be greater than or equal to 1"])


class Place(BaseModel):
    """A partition of a schedules topic."""

    topic: str = Field(examples=["schedules"])
    partition: int = Field(examples=[3])


class Unanswered(Place):
    """A partition that nobody has answered for, and why."""

    why: str = Field(examples=["10.0.0.7:8000 does not answer: ConnectError"])


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "invoice-17 is not in force: it was never there, has fired or was cancelled",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = Field([], description="what is wrong with the request, one by one")
    places: list[Place] = Field([], description="where schedules with this id stand, if in several partitions")
    unanswered: list[Unanswered] = Field([], description="partitions that nobody has answered for")


class ProblemError(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def unavailable(detail: str, **members: Any) -> ProblemError:
    """503: nothing happened, and trying again in a moment may do."""
    return ProblemError(503, detail, headers={"Retry-After": "1"}, **members)


def response(status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> JSONResponse:
    """A problem document."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, **members)
    content = jsonable_encoder(problem, exclude_defaults=True) | {"type": problem.type}
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> JSONResponse:
        return response(error.status, error.detail, error.headers, **error.members)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        detail = {
            404: f"there is nothing at {request.url.path}; /docs lists what there is",
            405: f"{request.url.path} does not take {request.method}; /docs lists what it takes",
        }.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # the framework names those of the first route that fits
            headers["Allow"] = ", ".join(method for method in _METHODS if _takes(app, request, method))
        return response(error.status_code, detail, headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # the input itself is not repeated: it may be a payload
        faults = [
            Fault(where=".".join(map(str, each["loc"])), message=each["msg"].removeprefix("Value error, "))
            for each in error.errors()
        ]
        return response(422, "; ".join(f"{fault.where}: {fault.message}" for fault in faults), errors=faults)

    @app.exception_handler(Exception)
    async def _defect(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", exc_info=error, extra=fields(method=request.method, path=request.url.path))
        return response(500, "this is a defect of the scheduler; its log has the details")


def _takes(app: FastAPI, request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)
