"""Writes the crontab that a sync would find unchanged, from the schedules that stand in Kafka."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from planner.crontab import read_crontab
from planner.job_settings import NAME_PATTERN, READERS
from planner.lines import looks_like_time
from planner.standing import JITTER, standing
from scheduler.durations import format_duration
from scheduler.errors import InputError
from scheduler.job import Job, Retry
from scheduler.schedule import display
from scheduler.wire import MISFIRE, MISFIRE_GRACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.schedule import Schedule

_PLAIN_NAME = re.compile(r"[A-Za-z_][^ \t=]*")
_ESCAPED = re.compile(r"%|\\(?=[\\%]|$)")


class Left(NamedTuple):
    """A schedule that no line can state, and why."""

    schedule_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Exported:
    """A crontab, whether it has a user column, and what could not be put into it."""

    text: str
    system: bool
    count: int
    left: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class _Lines:
    """What one schedule needs: settings and variables in force, and the line itself."""

    schedule: Schedule
    settings: dict[str, str]
    variables: dict[str, str]
    name: str | None
    entry: str

    @property
    def order(self) -> tuple[object, ...]:
        """Entries with the same variables and settings side by side, those with fewer variables first."""
        return (
            len(self.variables),
            sorted(self.variables.items()),
            sorted(self.settings.items()),
            self.name or "",
            self.entry,
        )


class _CannotError(Exception):
    """There is no line for it; the message says why."""


def export(schedules: Sequence[Schedule], source: str, *, clusters: Sequence[str]) -> Exported:
    """Write the standing schedules of a source as a crontab.

    Every line is read back and compared with its schedule: what is in the text, a sync keeps as it is.
    """
    system = any(_user(schedule) for schedule in schedules)
    written: list[_Lines] = []
    left: list[Left] = []
    for schedule in schedules:
        try:
            lines = _lines(schedule, source, system=system)
            _check(lines, source, clusters, system=system)
            written.append(lines)
        except _CannotError as error:
            left.append(Left(schedule.schedule_id, str(error)))
    written.sort(key=lambda lines: lines.order)
    return Exported(_text(written), system, len(written), tuple(left))


def _check(lines: _Lines, source: str, clusters: Sequence[str], *, system: bool) -> None:
    crontab = read_crontab(_text([lines]).encode(), clusters=clusters, system=system)
    if crontab.errors:
        raise _CannotError(crontab.errors[0].what)
    (entry,) = crontab.entries
    read_back = standing(entry, source)
    if read_back.key != lines.schedule.key or not read_back.matches(lines.schedule):
        raise _CannotError("it is not as a sync writes it; a sync would change it")


def _text(entries: Sequence[_Lines]) -> str:
    """The lines, with what changes from one entry to the next above it."""
    text: list[str] = []
    settings: dict[str, str] = {}
    variables: dict[str, str] = {}
    for lines in entries:
        above = [f'{name}=""' for name in settings if name not in lines.settings]
        above += _assignments(lines.settings, settings)
        above += [f"UNSET={_quoted(name)}" for name in variables if name not in lines.variables]
        above += _assignments(lines.variables, variables)
        if above and text:
            text.append("")
        text += above
        settings, variables = lines.settings, lines.variables
        if lines.name:
            text.append(f"NAME={lines.name}")
        text.append(lines.entry)
    return "".join(f"{line}\n" for line in text)


def _assignments(wanted: dict[str, str], there: dict[str, str]) -> list[str]:
    return [f"{_quoted_name(name)}={_quoted(text)}" for name, text in wanted.items() if there.get(name) != text]


def _lines(schedule: Schedule, source: str, *, system: bool) -> _Lines:
    job = _job(schedule)
    own_id = display(schedule.key).removeprefix(f"{source}/")
    if schedule.rule is None or not isinstance(job.command, str):
        raise _CannotError("it is not as a sync writes it")
    if system and job.user is None:
        raise _CannotError("it has no user, and others of the source have one")
    settings = _settings(schedule, job)
    fields = [schedule.rule.text, *([job.user or ""] if system else [])]
    if looks_like_time(job.cluster):
        settings["CLUSTER"] = job.cluster
    else:
        fields.append(job.cluster)
    return _Lines(
        schedule=schedule,
        settings=settings,
        variables={name: job.environment[name] for name in sorted(job.environment)},
        name=own_id if job.job == own_id and NAME_PATTERN.fullmatch(own_id) else None,
        entry=f"{'  '.join(fields)}  {_command(job.command, job.stdin)}",
    )


def _settings(schedule: Schedule, job: Job) -> dict[str, str]:
    """The settings that a crontab must state; those at their default are left out."""
    headers = {name: display(value) for name, value in (*schedule.headers, *schedule.own_headers)}
    plain = Retry()
    retry = job.retry
    timezone = schedule.rule.timezone if schedule.rule else "UTC"
    stated = {
        "CRON_TZ": timezone if timezone != "UTC" else None,
        "MAX_ATTEMPTS": str(job.max_attempts) if job.max_attempts > 1 else None,
        "TIMEOUT": None if job.timeout_seconds is None else _duration(job.timeout_seconds),
        "RETRY_DELAY": _duration(retry.delay_seconds) if retry.delay_seconds != plain.delay_seconds else None,
        "RETRY_FACTOR": f"{retry.factor!r}".removesuffix(".0") if retry.factor != plain.factor else None,
        "RETRY_MAX_DELAY": (
            _duration(retry.max_delay_seconds) if retry.max_delay_seconds != plain.max_delay_seconds else None
        ),
        "MISFIRE": headers.get(MISFIRE),
        "MISFIRE_GRACE": headers.get(MISFIRE_GRACE),
        "OVERLAP": job.overlap,
        "JITTER": headers.get(JITTER),
    }
    return {name: text for name in READERS if (text := stated.get(name)) is not None}


def _job(schedule: Schedule) -> Job:
    try:
        return Job.from_json(schedule.value)
    except InputError as error:
        raise _CannotError(f"its payload is no job: {error}") from None


def _user(schedule: Schedule) -> str | None:
    try:
        return Job.from_json(schedule.value).user
    except InputError:
        return None  # left out later, with the reason


def _duration(seconds: float) -> str:
    return format_duration(round(seconds * 1000))


def _command(command: str, stdin: str | None) -> str:
    written = _ESCAPED.sub(lambda found: "\\" + found.group(), command)
    if stdin is None:
        return written
    lines = stdin.removesuffix("\n")
    if not lines or lines.endswith("\n"):
        lines += "\n"
    return written + "%" + lines.replace("%", "\\%").replace("\n", "%")


def _quoted_name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    return f'"{name}"' if '"' not in name else f"'{name}'"


def _quoted(value: str) -> str:
    if value and value[0] not in "\"' \t" and value[-1] not in " \t":
        return value
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
