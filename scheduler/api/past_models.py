"""What the API gives of the past, and of dead letters, as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from scheduler.api.ids import Encoding
from scheduler.api.models import Given, PlaceQuery

MAX_PAGE = 500
MAX_LETTERS = 1000

PLACE = "^[0-9]{1,9}-[0-9]{1,18}$"

RecordPlace = Annotated[str, Field(pattern=PLACE, examples=["0-17"])]


class Known(BaseModel):
    """How far back is known."""

    topic: str = Field(examples=["history"])
    reading: bool = Field(description="its end is not reached yet: more is coming")
    records: int = Field(description="records that are kept")
    since: str | None = Field(description="when the oldest of them was written")
    whole: bool = Field(description="whether they are all that the topic holds")
    why: str | None = Field(description="why it cannot be read; null where it can")


class _Page(BaseModel):
    next_cursor: str | None = Field(description="for the next page, of older ones; null where there is none")
    newest: int = Field(description="for `after`: what comes from now on")
    known: Known


class PageQuery(Given):
    """Which part of a list."""

    since: str | None = Field(None, description="RFC 3339, from then on", json_schema_extra={"format": "date-time"})
    until: str | None = Field(None, description="RFC 3339, before then", json_schema_extra={"format": "date-time"})
    limit: int = Field(100, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    after: int | None = Field(None, ge=0, le=2**62, description="`newest` of an earlier answer: only what came since")


class EventQuery(PageQuery):
    """Which events of the history."""

    id: str | None = Field(None, description="exactly this schedule")
    prefix: str | None = Field(None, description="schedules whose id begins so")
    contains: str | None = Field(None, description="schedules whose id has this in it")
    target: str | None = Field(None, description="this target topic")
    outcome: list[str] = Field([], description="fired, misfired, cancelled, rejected, undeliverable; all without it")


class Event(BaseModel):
    """How a version of a schedule ended."""

    place: RecordPlace = Field(description="its partition and offset in the history")
    time: str = Field(description="when it was written", examples=["2030-01-01T00:00:00.004Z"])
    id: str = Field(examples=["vid1-online"])
    outcome: str = Field(examples=["fired"])
    due: str | None
    lateness_ms: int | None
    target_topic: str | None
    fire_id: str | None
    reason: str | None
    detail: str | None
    payload_bytes: int | None = Field(description="null is no payload")


class EventHeader(BaseModel):
    """A header of a record; long values are cut."""

    name: str
    value: str | None


class WholeEvent(Event):
    """With its payload, or the beginning of it."""

    payload: str | None
    payload_encoding: Encoding
    payload_is_cut: bool
    headers: list[EventHeader]


class Events(_Page):
    """The newest first."""

    events: list[Event]


class Run(BaseModel):
    """An attempt of a job, as its worker recorded it."""

    model_config = ConfigDict(extra="allow")

    place: RecordPlace = Field(description="its partition and offset in the results")
    time: str = Field(description="when it was recorded")
    run_id: str = Field(examples=["crontab/nightly@1893456000000"])
    id: str = Field(description="the job's id")
    job: str = Field(description="its name")
    cluster: str
    outcome: str = Field(examples=["succeeded"])


class WholeRun(Run):
    """With the end of what it said."""

    output: str
    output_is_cut: bool


class RunQuery(PageQuery):
    """Which attempts."""

    id: str | None = Field(None, description="of the job with this id")
    run_id: str | None = Field(None, description="of this run")
    cluster: str | None = Field(None, description="of this cluster")
    outcome: list[str] = Field([], description="succeeded, failed, timed-out, ...; all without it")


class Runs(_Page):
    """The newest first."""

    runs: list[Run]


class JobRuns(BaseModel):
    """A job that has run."""

    id: str
    job: str
    cluster: str
    kept: int = Field(description="attempts that are kept")
    recent: list[Run] = Field(description="the last ones, the newest first")


class Jobs(BaseModel):
    """The job that ran last first."""

    jobs: list[JobRuns]
    known: Known


class Letter(BaseModel):
    """A dead letter."""

    id: RecordPlace
    time: str
    kind: Literal["job", "message", "schedule"]
    name: str
    cluster: str
    run_id: str | None
    attempts: int | None
    reason: str
    settled: str | None = Field(description="redriven or discarded; null where nobody has dealt with it")
    settled_at: str | None


class WholeLetter(Letter):
    """With all that is known of it."""

    first_failure: str | None
    last_failure: str | None
    source: str | None
    output_tail: str | None
    errors: list[dict[str, Any]]
    headers: dict[str, str]
    value: str
    value_bytes: int
    value_is_cut: bool
    can_redrive: bool


class LetterQuery(PageQuery):
    """Which dead letters."""

    kind: Literal["job", "message", "schedule"] | None = None
    name: str | None = Field(None, description="the job's name, or the key of what is none")
    cluster: str | None = Field(None, description="of this cluster, or for this target topic")
    settled: bool = Field(default=False, description="those that were dealt with instead")


class Letters(_Page):
    """The newest first."""

    letters: list[Letter]
    open: int = Field(description="letters that nobody has dealt with, of those that are kept")


class LetterIds(Given):
    """Which letters to deal with."""

    model_config = ConfigDict(strict=True)

    ids: list[RecordPlace] = Field(min_length=1, max_length=MAX_LETTERS)


class Settled(BaseModel):
    """What was dealt with."""

    action: Literal["redriven", "discarded"]
    ids: list[str]


class Outcomes(BaseModel):
    """What ended in the last hour, by outcome."""

    since: str
    outcomes: dict[str, int] = Field(examples=[{"fired": 120, "rejected": 1}])
    open_letters: int
    known: Known


class VersionQuery(PlaceQuery):
    """The versions of one schedule."""

    id: str = Field(min_length=1, description="exactly this id")


class VersionEntry(BaseModel):
    """A record of the schedule's key that the topic still holds."""

    topic: str
    partition: int
    offset: int
    written: str
    what: str = Field(examples=["due 2030-01-01T00:00:00Z"])
    in_force: bool


class Versions(BaseModel):
    """In the order in which they were written; compaction removes older ones in time."""

    versions: list[VersionEntry]
