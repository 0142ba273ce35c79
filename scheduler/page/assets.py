"""Serves the files of the admin page as they lie in the package; they hold no data and need no token."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

PREFIX = "/page/"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def routes() -> APIRouter:
    """`/`, and what it loads."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def page(request: Request) -> Response:
        return _answer(request, "index.html")

    @router.get(PREFIX + "{name}")
    def asset(request: Request, name: str) -> Response:
        if name not in _names():
            raise HTTPException(404)
        return _answer(request, name)

    return router


def _answer(request: Request, name: str) -> Response:
    content, etag = _file(name)
    # asked for each time, and sent only where it has changed: a page of the version before never stays
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_type(name))


@cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in (files(__package__) / "static").iterdir() if each.is_file())


@cache
def _file(name: str) -> tuple[bytes, str]:
    content = (files(__package__) / "static" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _type(name: str) -> str:
    # not the machine's own table: some call JavaScript text/plain, which no browser runs
    ending = name[name.rindex(".") :]
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
