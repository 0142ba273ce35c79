"""The route of `/api/v1` that shows a payload as the payload decoder reads it."""

import base64
import json
from typing import Annotated, Any, Self
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, model_validator

from scheduler import wire
from scheduler.api import models
from scheduler.api.answers import FINDING, LOOKING, problems
from scheduler.api.decoder import NAME, Decoder
from scheduler.api.desk import Asked, Desk
from scheduler.api.fleet import V1
from scheduler.api.ids import as_bytes
from scheduler.api.past import Past
from scheduler.api.past_models import RecordPlace
from scheduler.api.problems import ProblemError
from scheduler.api.replica import Replica
from scheduler.archive.store import Kind, Row
from scheduler.instants import parse_instant
from scheduler.schedule import display

ANSWERS = problems(
    {
        404: "no decoder is set, nothing of that id is in force, or that record is not kept",
        502: "the decoder cannot be reached, or answers with anything but 200 and text",
        504: "the decoder has not answered in time",
    }
)


class DecodedQuery(models.PlaceQuery):
    """Whose payload: a schedule's, or that of a record of the history."""

    id: str | None = Field(None, min_length=1, description="of this schedule, in force")
    place: RecordPlace | None = Field(None, description="of this record of the history: partition and offset")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.id is None) == (self.place is None):
            raise ValueError("one of id and place says whose payload")
        if self.place is not None and (self.topic, self.partition) != (None, None):
            raise ValueError("topic and partition go with id; place says all of a record of the history")
        return self


class Decoded(BaseModel):
    """A payload as the decoder reads it."""

    text: str | None = Field(
        description="null where there is no payload, or the decoder answers with nothing: it leaves it as it is",
        examples=['{"title": "video 1"}'],
    )


def routes(replica: Replica, counter: Desk, router: APIRouter) -> None:
    """Add it to the routes of `/api/v1`.

    It takes whose payload, and not the payload: looking is enough for it then, as for the payload itself, and nobody
    can send the decoder what is on no topic. The replica that is asked asks the decoder, whoever has the partition.
    """
    past = Past(replica)
    url = replica.settings.payload_decoder_url.get_secret_value()
    decoder = Decoder(url) if url else None

    @router.get("/decoded", tags=["schedules"], response_model=Decoded, responses=LOOKING | FINDING | ANSWERS)
    async def decoded(request: Request, query: Annotated[DecodedQuery, Query()]) -> Response:
        """One payload as text, by the decoder at PAYLOAD_DECODER_URL."""
        if decoder is None:
            raise ProblemError(404, f"no payload decoder is set: {NAME} names one")
        if query.place is not None:
            record = of_event(await past.one(Kind.EVENT, query.place))
        else:
            answer = await _schedule(request, query, counter)
            if answer.status_code != 200:  # noqa: PLR2004 - what another replica has said
                return answer
            record = of_schedule(models.Schedule.model_validate_json(bytes(answer.body)))
        text = await decoder.decode(record) if record["value"] else None
        return JSONResponse(Decoded(text=text).model_dump())


async def _schedule(request: Request, query: DecodedQuery, counter: Desk) -> Response:
    """As `GET /schedules/{id}` answers."""
    schedule_id = query.id or ""
    path = f"{V1}/schedules/{quote(schedule_id, safe='').replace('.', '%2E')}"
    asked = Asked("GET", path, {"next": "0"}, b"", (await Asked.of(request)).alone)
    return await counter.show(asked, schedule_id, models.OneQuery(next=0, topic=query.topic, partition=query.partition))


def of_schedule(shown: models.Schedule) -> dict[str, Any]:
    """What the decoder is sent of a schedule: what etf1's admin sends, and its headers."""
    key, encoding = shown.target_key, shown.target_key_encoding
    headers = [
        (each.name, None if each.value is None else display(as_bytes(each.value, each.encoding)))
        for each in shown.headers
    ]
    return {
        "id": shown.id,
        "epoch": _seconds(parse_instant(shown.due)),
        "timestamp": _seconds(parse_instant(shown.written)),
        "topic": shown.topic,
        "target-topic": shown.target_topic,
        "target-key": "" if key is None else display(as_bytes(key, encoding)),
        "value": _base64(as_bytes(shown.payload, shown.payload_encoding)),
        "headers": _headers(headers),
    }


def of_event(row: Row) -> dict[str, Any]:
    """The same of a record of the history.

    Raises:
        ProblemError: not all of its payload is kept.
    """
    payload, size = row["payload"] or b"", row["payload_bytes"] or 0
    if size > len(payload):
        raise ProblemError(
            422,
            f"of the payload of {row['place']} the first {len(payload):,} of {size:,} bytes are kept, and the decoder "
            "needs all of them: scheduler history shows the record",
        )
    headers = [(name, value) for name, value in json.loads(row["headers"])]
    said = dict(headers)
    return {
        "id": row["schedule_id"],
        "epoch": _seconds(row["due_ms"]),
        "timestamp": _seconds(row["at_ms"]),
        "topic": said.get(wire.TOPIC) or "",
        "target-topic": row["target"] or "",
        "target-key": said.get(wire.TARGET_KEY) or "",
        "value": _base64(payload),
        "headers": _headers(headers),
    }


def _seconds(instant_ms: int | None) -> int | None:
    return None if instant_ms is None else instant_ms // 1000


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _headers(pairs: list[tuple[str, str | None]]) -> list[dict[str, str | None]]:
    return [{"name": name, "value": value} for name, value in pairs]
