"""What the routes of `/api/v1` answer beside what was asked for, as the OpenAPI document says it."""

from typing import Any

from scheduler.api import models
from scheduler.api.problems import Problem

Responses = dict[int | str, dict[str, Any]]


def problems(said: dict[int, str]) -> Responses:
    """Problem documents, by status."""
    return {code: {"model": Problem, "description": text} for code, text in said.items()}


def answers(said: dict[int, tuple[Any, str]]) -> Responses:
    """Other answers, by status."""
    return {code: {"model": model, "description": text} for code, (model, text) in said.items()}


LOOKING = problems(
    {
        400: "not a name of this server",
        401: "the token is missing or wrong",
        421: "passed on to a replica that has the partition no more",
        422: "a parameter or the body is wrong, `detail` says which; or the target refuses what was to fire",
        503: "Kafka or another replica does not answer; nothing has happened",
    }
)
CHANGING = LOOKING | problems(
    {
        403: "no token is set and this is another machine, or another site's page asks",
        413: "the body, or the record, is too large",
        415: "a body is no JSON",
        504: "nobody knows whether it took effect",
    }
)
FINDING = problems(
    {404: "nothing of that id is in force", 409: "the id stands in several partitions, `places` says which"}
)
WRITING = answers({202: (models.Schedule, "written, and not read by its replica yet")})
