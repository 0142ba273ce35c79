"""What the API takes and gives, as JSON; the OpenAPI document is made of this."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scheduler.api.ids import Encoding
from scheduler.api.problems import Place, Unanswered

MAX_PAGE = 1000
MAX_NEXT = 100

_EXAMPLE_BODY: dict[str, Any] = {
    "target_topic": "online-videos",
    "target_key": "vid1",
    "at": "2030-01-01T00:00:00Z",
    "payload": "video 1",
    "headers": [{"name": "customer-header", "value": "dummy"}],
}

Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
At = Annotated[str, Field(description="RFC 3339 with offset", examples=["2030-01-01T00:00:00Z"])]
Epoch = Annotated[
    float,
    Field(
        ge=0, le=253_402_300_799, allow_inf_nan=False, description="Unix seconds", examples=[1893456000, 1893456000.25]
    ),
]
Delay = Annotated[str, Field(description="from now: 250ms, 90s, 1h30m, PT15M", examples=["15m"])]
Cron = Annotated[
    str, Field(description="five fields, @hourly and the like, or @every 90s", examples=["30 2 * * mon-fri"])
]
Timezone = Annotated[str, Field(description="IANA name, for cron; UTC without it", examples=["Europe/Riga"])]
_ENCODING = "what the value is written as: text (UTF-8) or base64"


class Given(BaseModel):
    """A request's body or query: no type is guessed, and no name that is not known is passed over."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        for name, value in self:
            # JSON can spell half of a surrogate pair, which is no character and has no bytes
            if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
                raise ValueError(f"{name} holds half of a surrogate pair, which is no text")
        return self


class Header(Given):
    """A customer's Kafka header; names may repeat."""

    model_config = ConfigDict(strict=True)

    name: str = Field(min_length=1, pattern="^[^\\x00]+$", examples=["traceparent"])
    value: str | None = Field(None, description="null is a header without a value")
    encoding: Encoding = Field("text", description=_ENCODING)


class Times(Given):
    """When it is due: one of `at`, `epoch`, `delay`; or `cron`, alone or with one of them as its first occurrence."""

    model_config = ConfigDict(strict=True)

    at: At | None = None
    epoch: Epoch | None = None
    delay: Delay | None = None
    cron: Cron | None = None
    timezone: Timezone | None = None


class Definition(Times):
    """A schedule: when, where to, and what."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_BODY]})

    target_topic: Topic = Field(description="where it is fired to", examples=["online-videos"])
    target_key: str | None = Field(None, description="the key at the target; null is no key", examples=["vid1"])
    target_key_encoding: Encoding = Field("text", description=_ENCODING)
    target_partition: int | None = Field(
        None, ge=0, le=2**31 - 1, description="without it the key decides, by Java's hash"
    )
    target_tombstone: bool = Field(default=False, description="the target gets a null instead of the payload")
    payload: str = Field("", description="delivered byte for byte")
    payload_encoding: Encoding = Field("text", description=_ENCODING)
    headers: list[Header] = Field([], description="travel with the message")
    misfire: Literal["fire", "once", "all", "skip"] | None = Field(
        None, description="what to do when late. One-shot: fire (default), skip. Recurring: once (default), all, skip"
    )
    misfire_grace: str | None = Field(None, description="how late is still on time", examples=["60s"])
    paused: bool = Field(default=False, description="in force, and does not fire until it is resumed")


class NewSchedule(Definition):
    """A schedule that is not there yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "vid1-online", **_EXAMPLE_BODY}]})

    id: str = Field(min_length=1, description="the key of its record", examples=["vid1-online"])


class Reschedule(Times):
    """Another time, another rule, or both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"delay": "15m"}]})


class PlaceQuery(Given):
    """Where to look; needed only for an id that stands in several places."""

    topic: str | None = Field(None, description="one of SCHEDULES_TOPICS; a new schedule goes to the first without it")
    partition: int | None = Field(None, ge=0, le=2**31 - 1, description="of that topic")


class OneQuery(PlaceQuery):
    """One schedule."""

    next: int = Field(10, ge=0, le=MAX_NEXT, description="so many of its next occurrences")


class TopicsQuery(Given):
    """Which schedules topics."""

    topic: list[str] = Field([], description="all of SCHEDULES_TOPICS without it")


class ListQuery(TopicsQuery):
    """What to list."""

    id: str | None = Field(None, description="exactly this id")
    prefix: str | None = Field(None, description="ids that begin so")
    contains: str | None = Field(None, description="ids that have this in them")
    target: str | None = Field(None, description="this target topic")
    target_key: str | None = Field(None, description="this key at the target, as it is shown")
    due_from: str | None = Field(
        None, description="RFC 3339, due then or later", json_schema_extra={"format": "date-time"}
    )
    due_to: str | None = Field(None, description="RFC 3339, due before then", json_schema_extra={"format": "date-time"})
    paused: bool | None = Field(None, description="only paused ones, or only others")
    limit: int = Field(100, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, description="`next_cursor` of the page before")


class Summary(Place):
    """A schedule in force, without its payload."""

    id: str = Field(description=r"the key; bytes that are not UTF-8 as \xNN", examples=["vid1-online"])
    offset: int = Field(description="where the version in force stands in its partition", examples=[4711])
    written: str = Field(description="the record's Kafka timestamp", examples=["2029-12-01T08:00:00Z"])
    due: str = Field(description="RFC 3339, UTC", examples=["2030-01-01T00:00:00Z"])
    paused: bool
    cron: str | None
    timezone: str | None
    misfire: str = Field(examples=["fire"])
    misfire_grace: str | None = Field(description="null is unlimited", examples=["60s"])
    target_topic: str = Field(examples=["online-videos"])
    target_key: str | None = Field(examples=["vid1"])
    target_key_encoding: Encoding
    target_partition: int | None
    target_tombstone: bool
    payload_bytes: int = Field(examples=[7])


class Schedule(Summary):
    """A schedule in force."""

    payload: str = Field(examples=["video 1"])
    payload_encoding: Encoding
    headers: list[Header]
    next: list[str] = Field(description="its next occurrences; the first is `due`", examples=[["2030-01-01T00:00:00Z"]])


class Page(BaseModel):
    """Schedules by due time, the paused ones last."""

    schedules: list[Summary]
    next_cursor: str | None = Field(
        description="for the next page; null where there is none. A page may be short, even empty, and have one"
    )
    unanswered: list[Unanswered] = Field(description="partitions whose schedules are missing here")


class Cancelled(Place):
    """What was in force is cancelled; whether something newer was written just before is not known."""

    id: str


class Fired(Place):
    """What became of `fire`."""

    id: str
    outcome: Literal["fired"]
    fire_id: str = Field(examples=["vid1-online@1893456000000"])
    next_due: str | None = Field(description="of a recurring one, which goes on as before")


class Held(BaseModel):
    """Whole schedules topics, paused or not."""

    paused: bool
    topics: list[str]
    unanswered: list[Unanswered] = Field(description="partitions whose replica has not read it yet")


class PartitionStanding(Place):
    """A partition, as the replica that has it sees it."""

    state: Literal["restoring", "running", "recovering", "closed"]
    pending: int = Field(description="schedules in force")
    overdue: int = Field(description="due and not fired yet")
    postponed: int = Field(description="due, and waiting for their target")
    next_due: str | None
    paused: bool = Field(description="whether the whole partition is paused")
    restore_seconds: float | None = Field(description="how long the restore took; null until it is over")
    lag: int | None = Field(None, description="records that stand in it and are not read yet, when last noted")


class ReplicaStanding(BaseModel):
    """A member of the group."""

    client_id: str = Field(examples=["scheduler@10.0.0.7:8000"])
    address: str | None = Field(description="where its API answers", examples=["10.0.0.7:8000"])
    me: bool = Field(description="whether it is the one that answers this request")
    why: str | None = Field(description="why it has not answered; null where it has")
    partitions: list[PartitionStanding]


class Replicas(BaseModel):
    """Who has what."""

    replicas: list[ReplicaStanding]
    unanswered: list[Unanswered]


class TargetPending(BaseModel):
    """What is pending for one target."""

    target_topic: str = Field(examples=["online-videos"])
    pending: int


class Pending(BaseModel):
    """What is pending, counted over all partitions of all replicas."""

    counted: int = Field(description="schedules that were counted")
    complete: bool = Field(description="whether there was time to count all of them")
    recurring: int
    paused: int
    later: int = Field(
        description="one-shots that are due later than two minutes from now: their payloads are in Kafka, not in memory"
    )
    targets: list[TargetPending] = Field(
        description="the most first; those whose records are read just now are missing"
    )
    first_minute: str = Field(description="where the first of `minutes` begins", examples=["2030-01-01T00:00:00Z"])
    minutes: list[int] = Field(
        description="occurrences due in each minute of the coming hour; not those that are overdue by now, or paused"
    )
    unanswered: list[Unanswered] = Field(description="partitions whose schedules are missing here")
