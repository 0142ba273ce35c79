"""`/clock`: what the virtual clock shows, and moving it."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, model_validator

from scheduler.api.problems import Problem, ProblemError
from scheduler.clock import rfc3339
from scheduler.durations import parse_duration
from scheduler.instants import LATEST_MS, parse_instant
from scheduler.mini.timekeeper import NotSettledError, Time, Timekeeper


class Clock(BaseModel):
    """What the clock shows."""

    now: str = Field(examples=["2030-01-01T00:00:00Z"])
    running: bool = Field(description="whether its time passes by itself")
    fired: int = Field(description="messages that were delivered while it was moved")
    next_due: str | None = Field(description="when the next schedule is due", examples=["2030-01-01T02:30:00Z"])
    postponed: int = Field(description="due, and waiting for a target that does not exist")


class Move(BaseModel):
    """How to move the clock."""

    model_config = ConfigDict(extra="forbid")

    advance: str | None = Field(None, description="by so much", examples=["1d", "90s", "PT15M"])
    now: str | None = Field(None, description="to this instant (RFC 3339)", examples=["2030-01-01T00:00:00Z"])
    run: bool | None = Field(None, description="let its time pass by itself afterwards, or not")
    jump: bool = Field(
        default=False, description="go there at once, as after a standstill: what was due on the way is late"
    )
    timeout: str = Field("60s", description="how long it may take, by the machine's clock")

    @model_validator(mode="after")
    def _something_to_do(self) -> "Move":
        if self.advance is not None and self.now is not None:
            raise ValueError("advance or now, not both")
        if self.advance is None and self.now is None:
            if self.run is None:
                raise ValueError("to when? Give advance or now, or run")
            if self.jump:
                raise ValueError("jump to when? Give advance or now")
        return self


def routes(timekeeper: Callable[[], Timekeeper]) -> APIRouter:
    """The routes; the timekeeper is there once the replica is."""
    router = APIRouter(tags=["clock"])
    faults: dict[int | str, dict[str, Any]] = {
        422: {"model": Problem, "description": "the body is wrong, `detail` says how; or it would go back"},
        504: {"model": Problem, "description": "not everything due has been fired in time; the clock shows how far"},
    }

    @router.get("/clock")
    async def show_clock() -> Clock:
        """What the clock shows."""
        return _shown(timekeeper().time())

    @router.post("/clock", responses=faults)
    async def move_clock(move: Annotated[Move, Body()]) -> Clock:
        """Move the clock. After the answer everything that was due on the way is fired and can be consumed."""
        keeper = timekeeper()
        by_ms = 0 if move.advance is None else _duration_ms("advance", move.advance)
        seconds = _duration_ms("timeout", move.timeout) / 1000
        to_ms = None if move.now is None else _instant_ms(move.now)
        if (to_ms or keeper.time().now_ms + by_ms) > LATEST_MS:
            raise ProblemError(422, "body.advance: that is after the year 9999")
        try:
            time = await asyncio.to_thread(keeper.move, to_ms, by_ms=by_ms, jump=move.jump, seconds=seconds)
        except ValueError as error:
            raise ProblemError(422, f"body.now: {error}") from None
        except NotSettledError as error:
            raise ProblemError(504, str(error)) from None
        if move.run is not None:
            await asyncio.to_thread(keeper.run, on=move.run)
            time = time._replace(running=move.run)
        return _shown(time)

    return router


def _shown(time: Time) -> Clock:
    return Clock(
        now=rfc3339(time.now_ms),
        running=time.running,
        fired=time.fired,
        next_due=None if time.next_due_ms is None else rfc3339(time.next_due_ms),
        postponed=time.postponed,
    )


def _duration_ms(name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ProblemError(422, f"body.{name}: {error}") from None


def _instant_ms(text: str) -> int:
    instant_ms = parse_instant(text)
    if instant_ms is None:
        raise ProblemError(422, f"body.now: {text!r} is not an instant such as 2030-01-01T00:00:00Z")
    return instant_ms
